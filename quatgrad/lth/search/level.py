"""One level in training: invariants asserted on the way, checkpoints, and at its end a record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from quatgrad import __version__
from quatgrad.backend import get_backend, get_precision
from quatgrad.data import Dataset
from quatgrad.errors import OptionError
from quatgrad.lth.search import selection
from quatgrad.lth.search.checkpoint import Checkpoint
from quatgrad.lth.search.signals import Interrupted
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Checks, CostsRecord, Record
from quatgrad.lth.store.stage import Stage, early_path
from quatgrad.lth.ticket.checks import check_pruned, check_pruning, check_start, check_unchanged
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket, digest
from quatgrad.models.costs import costs
from quatgrad.nn import Buffer, Module
from quatgrad.optim import Optimizer
from quatgrad.train import Epoch, Recipe, TrainState, train_steps

#: What is asserted, in words.
MEANING = {
    name: (check.__doc__ or "").partition("\n")[0]
    for name, check in (
        ("pruning", check_pruning),
        ("start", check_start),
        ("pruned", check_pruned),
        ("unchanged", check_unchanged),
    )
}


@dataclass
class Level:
    """A ticket in training, in the folder of its stage, until a signal is in `stop_requests`.

    `seeds` are those of order and augmentation. `checks` counts what was asserted, and when: at
    the start, whenever it might be saved, at the end. A level that goes on from a checkpoint goes
    on counting. `snapshots` are its states that validation images may select.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    seeds: tuple[int, int]
    stage: Stage
    ticket: Ticket
    stop_requests: list[int]
    checks: Counter[str] = field(default_factory=Counter)
    snapshots: selection.Snapshots = field(default_factory=dict)

    def train(
        self, history: list[Epoch], label: str, progress: bool, remember: bool, early: int
    ) -> None:
        """Rewind, train, and finish the stage.

        The network goes on after the epochs of `history`, or from the checkpoint. It is also kept
        as it was after `early` epochs, and with `remember` the optimizer's memory at the end.
        """
        began = time.perf_counter()
        model, ticket, ticket_digest = self.model, self.ticket, self.ticket.digest()
        self.early, self.start_epoch = early, len(history)
        optimizer = self.recipe.make_optimizer(model)
        rewind(model, ticket)
        optimizer.load_state_dict(ticket.optimizer_state)
        check_start(model, ticket)
        self.checks.update(["start start", *(["start pruning"] if self.pruned else [])])
        self.checkpoint = Checkpoint(self.stage.checkpoint, ticket_digest)
        state = TrainState(history)
        if found := self.checkpoint.load(model, ticket.masks, optimizer):
            state, counted, self.snapshots = found
            began -= sum(e.seconds for e in state.history[self.start_epoch :]) + state.seconds
            self.checks.update(counted)
        name = label if progress else None
        args = model, self.dataset, self.recipe, optimizer, self.seeds, state, name
        with closing(train_steps(*args)) as steps:
            for state in steps:
                self.after(state, optimizer)
        check_unchanged(ticket, ticket_digest)
        self.checks["end unchanged"] += 1
        memory = optimizer.state_dict() if remember else {}
        end = Ticket(ticket.masks, model.state_dict(), memory)
        record = self.record(state.history, ticket_digest, end, time.perf_counter() - began)
        self.stage.finish(end, record, self.summary())

    @property
    def pruned(self) -> bool:
        """Were its masks made by pruning, and not taken from elsewhere?"""
        return bool(self.stage.parents) and "masks" not in self.stage.parents

    def after(self, state: TrainState, optimizer: Optimizer) -> None:
        """What follows a step or an epoch: asserting, keeping, saving."""
        last = state.epoch == self.recipe.epochs
        save = self.checkpoint.due() or (bool(self.stop_requests) and not last)
        if save or not state.batch:
            check_pruned(self.model, self.ticket, optimizer)
            self.checks["end pruned" if last else "checkpoint pruned"] += 1
        if not state.batch:
            self.keep(state.history, optimizer)
        if save:
            self.save(state, optimizer)

    def keep(self, history: Sequence[Epoch], optimizer: Optimizer) -> None:
        """Keep the network of an epoch that somebody may want to report, or to rewind to."""
        if self.dataset.validation:
            self.snapshots = selection.update_snapshots(
                self.snapshots, self.model, history, self.start_epoch
            )
        if len(history) == self.early:
            early = Ticket({}, self.model.state_dict(), optimizer.state_dict())
            files.save_ticket(early_path(self.stage.path, self.early), early)

    def save(self, state: TrainState, optimizer: Optimizer) -> None:
        """Write a checkpoint, and stop there if a signal wants it."""
        masks, checks = self.ticket.masks, self.checks
        self.checkpoint.save(self.model, masks, optimizer, state, checks, self.snapshots)
        if self.stop_requests:
            where = f"epoch {state.epoch + 1}, after {state.batch} batches"
            raise Interrupted(self.stop_requests[0], f"{self.stage.name} in {where}")

    def summary(self) -> Checks:
        """When -> what was asserted -> how often; and what that means."""
        counts: dict[str, dict[str, int]] = {"start": {}, "checkpoint": {}, "end": {}}
        for key, count in sorted(self.checks.items()):
            when, what = key.split()
            counts[when][what] = count
        return Checks(**counts, meaning=MEANING)

    def record(
        self, history: Sequence[Epoch], ticket_digest: str, end: Ticket, seconds: float
    ) -> Record:
        """What was measured, and the digests of what it was measured on."""
        model, dense = self.model, not self.stage.parents
        weights, state = model.weight_parameters(), model.named_state()
        return Record(
            level=self.stage.level,
            weights_left=self.ticket.weights_left,
            weights_total=self.ticket.weights_total,
            costs=_costs(model, self.dataset, self.ticket),
            **self.measured(history, end),
            train_accuracy=history[-1].train_accuracy,
            train_loss=history[-1].train_loss,
            backend=get_backend(),
            precision=get_precision(),
            version=__version__,
            ticket=ticket_digest,
            trained=digest(end.state),
            end=end.digest(),
            made_from=self.stage.made_from(),
            epochs=list(history),
            checks=[
                *(["pruning"] if self.pruned else []),
                "start",
                *("pruned" for _ in history),
                "unchanged",
            ],
            seconds=seconds,
            components={name: w.components for name, w in weights} if dense else None,
            statistics=[name for name, t in state if isinstance(t, Buffer)] if dense else None,
        )

    def measured(self, history: Sequence[Epoch], end: Ticket) -> dict[str, Any]:
        """Test accuracy and loss at the end; with validation images, of all selected epochs."""
        last = history[-1]
        if not self.dataset.validation:
            return {"accuracy": last.test_accuracy, "loss": last.test_loss}
        selected = selection.measure(
            self.model, self.dataset, end, self.snapshots, history, self.start_epoch,
            self.recipe.batch_size,
        )  # fmt: skip
        return {
            "accuracy": selected["last"].accuracy,
            "loss": selected["last"].loss,
            "validation_accuracy": last.validation_accuracy,
            "validation_loss": last.validation_loss,
            "selection": selected,
        }


def _costs(model: Module, dataset: Dataset, ticket: Ticket) -> CostsRecord | None:
    """What the pruned network costs; None for layers whose multiplications nobody counts."""
    try:
        counted = asdict(costs(model, dataset.input_shape, ticket.masks))
    except OptionError:
        return None
    del counted["uses"]
    return CostsRecord(**counted)
