"""One level in training: invariants asserted on the way, checkpoints, and at its end a record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from quatgrad import __version__
from quatgrad.arrays import asarray
from quatgrad.backend import get_backend, get_precision
from quatgrad.costs import costs
from quatgrad.data import Dataset
from quatgrad.errors import OptionError
from quatgrad.lth.search import selection
from quatgrad.lth.search.checkpoint import Checkpoint
from quatgrad.lth.search.signals import Interrupted
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Checks, CostsRecord, Record
from quatgrad.lth.store.stage import Stage, early_path
from quatgrad.lth.ticket.checks import check_pruned, check_start, check_unchanged
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.network import about
from quatgrad.nn import Buffer, Module
from quatgrad.optim import Optimizer
from quatgrad.parallel import processes
from quatgrad.tensor_file import digest
from quatgrad.train import Epoch, Recipe, TrainState, train_steps

#: What is asserted, in words.
MEANING = {
    "pruning": "Masks only shrink, groups stay whole, and as many are left as the rule says.",
    "start": "The state is mask x rewind state, bit for bit: also biases, batch norm and "
    "statistics.",
    "pruned": "Pruned weights, their gradients and their momenta are exactly 0; nothing else is "
    "masked.",
    "unchanged": "Training has not written to the ticket: an aliased rewind state would hold its "
    "results.",
}


def check_scores(epoch: Epoch, dataset: Dataset) -> None:
    """Raise `OptionError` for a score outside of [0, 1]: no record can have it."""
    of = epoch.train_accuracy, epoch.test_accuracy, epoch.validation_accuracy
    if wrong := [score for score in of if score is not None and not 0 <= score <= 1]:
        raise OptionError(
            f"the {dataset.task.score} of {dataset.name} is {wrong[0]:g}; a score is from 0 to 1, "
            f"higher is better: see {type(dataset.task).__name__}.loss"
        )


@dataclass
class Level:
    """A ticket in training, in the folder of its stage, until a signal is in `stop_requests`.

    `seeds` are those of order and augmentation. The network goes on after the epochs of `history`;
    it is also kept as it was after `early` epochs. `checks` counts what was asserted, and when: at
    the start, whenever it might be saved, at the end. A level that goes on from a checkpoint goes
    on counting. `snapshots` are its states that validation images may select. `watch(history)` is
    called after each epoch, and may raise.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    seeds: tuple[int, int]
    stage: Stage
    ticket: Ticket
    history: list[Epoch]
    early: int
    stop_requests: list[int]
    checks: Counter[str] = field(default_factory=Counter)
    snapshots: selection.Snapshots = field(default_factory=dict)
    watch: Callable[[Sequence[Epoch]], None] = lambda history: None

    def __post_init__(self) -> None:
        self.checkpoint = Checkpoint(self.stage.checkpoint, self.ticket.digest())
        self.start_epoch = len(self.history)

    def train(self, label: str | None, remember: bool) -> None:
        """Rewind, train from there or from the checkpoint, and finish the stage.

        `label` names the progress bar, if any; with `remember` the optimizer's state is kept.
        """
        began, model, ticket = time.perf_counter(), self.model, self.ticket
        optimizer = self.recipe.make_optimizer(model)
        rewind(model, ticket)
        optimizer.load_state_dict(ticket.optimizer_state)
        check_start(model, ticket)
        self.checks.update(["start start", *["start pruning"] * self.pruned])
        state = TrainState(self.history)
        if stored := self.checkpoint.load(model, ticket.masks, optimizer):
            state, counted, self.snapshots = stored
            began -= sum(e.seconds for e in state.history[self.start_epoch :]) + state.seconds
            self.checks.update(counted)
        elif not self.stage.parents:
            for old in self.stage.path.glob("epoch_*.npz"):  # of a training that was given up
                old.unlink(missing_ok=True)
        args = model, self.dataset, self.recipe, optimizer, self.seeds, state, label
        with closing(train_steps(*args)) as steps:
            for state in steps:
                self.after(state, optimizer)
        check_unchanged(ticket, self.checkpoint.start)
        self.checks["end unchanged"] += 1
        end = Ticket(ticket.masks, model.state_dict(), optimizer.state_dict() if remember else {})
        record = self.record(state.history, end, time.perf_counter() - began)
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
        check_scores(history[-1], self.dataset)
        if self.dataset.validation:
            self.snapshots = selection.update_snapshots(
                self.snapshots, self.model, history, self.start_epoch
            )
        if len(history) == self.early:
            early = Ticket({}, self.model.state_dict(), optimizer.state_dict())
            files.save_ticket(early_path(self.stage.path, self.early), early)
        self.watch(history)

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

    def record(self, history: Sequence[Epoch], end: Ticket, seconds: float) -> Record:
        """What was measured, and the digests of what it was measured on."""
        model, last, dense = self.model, history[-1], not self.stage.parents
        group = processes()
        weights, state, selected = model.weight_parameters(), model.named_state(), None
        accuracy, loss = last.test_accuracy or 0.0, last.test_loss or 0.0
        if self.dataset.validation:
            selected = selection.measure(
                model, self.dataset, end, self.snapshots, history, self.start_epoch, self.recipe
            )
            accuracy, loss = selected["last"].accuracy, selected["last"].loss
        return Record(
            level=self.stage.level,
            weights_left=end.weights_left,
            weights_total=end.weights_total,
            costs=_costs(model, self.dataset, end),
            accuracy=accuracy,
            loss=loss,
            validation_accuracy=last.validation_accuracy,
            validation_loss=last.validation_loss,
            selection=selected,
            train_accuracy=last.train_accuracy,
            train_loss=last.train_loss,
            backend=get_backend(),
            precision=get_precision(),
            processes=group.size,
            sync_norm=group.sync_norm,
            version=__version__,
            ticket=self.checkpoint.start,
            trained=digest(end.state),
            end=end.digest(),
            made_from=self.stage.made_from(),
            epochs=list(history),
            checks=[*["pruning"] * self.pruned, "start", *["pruned"] * len(history), "unchanged"],
            seconds=seconds,
            components={name: w.components for name, w in weights} if dense else None,
            statistics=[name for name, t in state if isinstance(t, Buffer)] if dense else None,
            network=about(model, self.dataset) if dense else None,
        )


def _input(dataset: Dataset) -> Any:
    """What `costs` lets through a network: an image; where it sees numbers of words, ones."""
    x = dataset.encode(dataset.test.images[:1])
    if x.dtype.kind == "f":
        return dataset.input_shape
    return lambda model: dataset.task.output(model, asarray(np.ones_like(x)))


def _costs(model: Module, dataset: Dataset, ticket: Ticket) -> CostsRecord | None:
    """What the pruned network costs; None for layers whose multiplications nobody counts."""
    try:
        counted = costs(model, _input(dataset), ticket.masks)
    except OptionError:
        return None
    return msgspec.convert(counted, CostsRecord, from_attributes=True)
