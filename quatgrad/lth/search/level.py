"""One level in training: invariants asserted on the way, checkpoints, and at its end a record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quatgrad import __version__
from quatgrad.backend import get_backend, get_precision
from quatgrad.data import Dataset
from quatgrad.errors import OptionError
from quatgrad.lth.search import selection
from quatgrad.lth.search.checkpoint import Checkpoint
from quatgrad.lth.search.signals import Interrupted
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Record, Stage
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


def early_path(dense: Path, epochs: int) -> Path:
    """Where a dense stage keeps its network and optimizer as they were after some epochs."""
    return dense / f"epoch_{epochs:02d}.npz"


@dataclass
class Level:
    """A ticket in training, in the folder of its stage, until a signal is on the list `asked`.

    `seeds` are those of order and augmentation. `checks` counts what was asserted, and when: at
    the start, whenever it might be saved, at the end. A level that goes on from a checkpoint goes
    on counting. `kept` are its states that validation images may choose: `points`.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    seeds: tuple[int, int]
    stage: Stage
    ticket: Ticket
    asked: list[int]
    checks: Counter[str] = field(default_factory=Counter)
    kept: selection.Kept = field(default_factory=dict)

    def train(
        self, history: list[Epoch], label: str, progress: bool, remember: bool, early: int
    ) -> None:
        """Rewind, train, and finish the stage.

        The network goes on after the epochs of `history`, or from the checkpoint. It is also kept
        as it was after `early` epochs, and with `remember` the optimizer's memory at the end.
        """
        began = time.perf_counter()
        model, ticket, ticket_digest = self.model, self.ticket, self.ticket.digest()
        self.early, self.behind = early, len(history)
        optimizer = self.recipe.make_optimizer(model)
        rewind(model, ticket)
        optimizer.load_state_dict(ticket.optimizer_state)
        check_start(model, ticket)
        self.checks.update(["start start", *(["start pruning"] if self.pruned else [])])
        self.checkpoint = Checkpoint(self.stage.checkpoint, ticket_digest)
        state = TrainState(history)
        if found := self.checkpoint.load(model, ticket.masks, optimizer):
            state, counted, self.kept = found
            began -= sum(e.seconds for e in state.history[self.behind :]) + state.seconds
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
        record = self.record(state.history, ticket_digest, end)
        record["seconds"] = time.perf_counter() - began
        self.stage.finish(end, record, self.told())

    @property
    def pruned(self) -> bool:
        """Were its masks made by pruning, and not taken from elsewhere?"""
        return bool(self.stage.parents) and "masks" not in self.stage.parents

    def after(self, state: TrainState, optimizer: Optimizer) -> None:
        """What follows a step or an epoch: asserting, keeping, saving."""
        last = state.epoch == self.recipe.epochs
        save = self.checkpoint.due() or (bool(self.asked) and not last)
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
            self.kept = selection.keep(self.kept, self.model, history, self.behind)
        if len(history) == self.early:
            early = Ticket({}, self.model.state_dict(), optimizer.state_dict())
            files.save_ticket(early_path(self.stage.path, self.early), early)

    def save(self, state: TrainState, optimizer: Optimizer) -> None:
        """Write a checkpoint, and stop there if a signal wants it."""
        masks, checks = self.ticket.masks, self.checks
        self.checkpoint.save(self.model, masks, optimizer, state, checks, self.kept)
        if self.asked:
            where = f"epoch {state.epoch + 1}, after {state.batch} batches"
            raise Interrupted(self.asked[0], f"{self.stage.name} in {where}")

    def told(self) -> dict[str, Any]:
        """`checks.json`: when -> what -> how often; and what that means."""
        told: dict[str, Any] = {"start": {}, "checkpoint": {}, "end": {}, "meaning": MEANING}
        for key, count in sorted(self.checks.items()):
            when, what = key.split()
            told[when][what] = count
        return told

    def record(self, history: Sequence[Epoch], ticket_digest: str, end: Ticket) -> Record:
        """What was measured, and the digests of what it was measured on."""
        ticket, model = self.ticket, self.model
        network = (
            {}
            if self.stage.parents
            else {
                "components": {name: w.components for name, w in model.weight_parameters()},
                "statistics": [name for name, t in model.named_state() if isinstance(t, Buffer)],
            }
        )
        return network | {
            "level": self.stage.parameters.get("level", 0),
            "weights_left": ticket.weights_left,
            "weights_total": ticket.weights_total,
            "costs": _costs(model, self.dataset, ticket),
            **self.measured(history, end),
            "train_accuracy": history[-1].train_accuracy,
            "train_loss": history[-1].train_loss,
            "backend": get_backend(),
            "precision": get_precision(),
            "version": __version__,
            "ticket": ticket_digest,
            "trained": digest(end.state),
            "end": end.digest(),
            "made from": self.stage.made_from(),
            "epochs": [_measured(epoch) for epoch in history],
            "checks": [
                *(["pruning"] if self.pruned else []),
                "start",
                *("pruned" for _ in history),
                "unchanged",
            ],
        }

    def measured(self, history: Sequence[Epoch], end: Ticket) -> dict[str, Any]:
        """Test accuracy and loss at the end; and with validation images, at all `points`."""
        last = history[-1]
        if not self.dataset.validation:
            return {"accuracy": last.test_accuracy, "loss": last.test_loss}
        found = selection.measure(
            self.model, self.dataset, end, self.kept, history, self.behind, self.recipe.batch_size
        )
        return {
            "accuracy": found["last"]["accuracy"],
            "loss": found["last"]["loss"],
            "validation_accuracy": last.validation_accuracy,
            "validation_loss": last.validation_loss,
            "points": found,
        }


def _measured(epoch: Epoch) -> dict[str, float]:
    """What of an epoch there is: without validation images as it always was."""
    return {name: value for name, value in asdict(epoch).items() if value is not None}


def _costs(model: Module, dataset: Dataset, ticket: Ticket) -> dict[str, int] | None:
    """What the pruned network costs; None for layers whose multiplications nobody counts."""
    try:
        counted = asdict(costs(model, dataset.input_shape, ticket.masks))
    except OptionError:
        return None
    del counted["uses"]
    return counted
