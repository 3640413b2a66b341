"""The loop of the lottery ticket hypothesis: train, prune, rewind, repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from quatgrad import __version__
from quatgrad.backend import get_backend, get_precision
from quatgrad.data import Dataset, num_batches
from quatgrad.errors import OptionError, RunError
from quatgrad.lth import store
from quatgrad.lth.checkpoint import Checkpoint
from quatgrad.lth.choose import next_masks
from quatgrad.lth.protocol import Protocol
from quatgrad.lth.prune import Masks, full_masks
from quatgrad.lth.rewind import check_pruned, check_start, check_unchanged, rewind
from quatgrad.lth.ticket import Ticket
from quatgrad.models.costs import costs
from quatgrad.nn import Module
from quatgrad.optim import Optimizer
from quatgrad.train import Epoch, Recipe, train

Record = dict[str, Any]

#: So many levels may end below the floor; one more, and the search ends: the paper's "a few".
LEVELS_BELOW_FLOOR = 2
#: The optimizer's memory beside late.npz, for `--memory restored`.
LATE_MEMORY = "late_memory.npz"


@dataclass(frozen=True)
class Search:
    """Iterative magnitude pruning with rewinding: `run()` gives one record for each level.

    Level 0 trains the dense network. Level l prunes the weights that level l-1 ended with to the
    share `keep`, rewinds the survivors to their first values, and trains again; `Protocol` says
    what else may be chosen. It ends after level `levels`, or once the accuracy has stood at
    `floor` and then ended more than `LEVELS_BELOW_FLOOR` levels below it. Levels already finished
    in `directory` are taken from there; those beyond the end are left there. `report(record)` is
    called after each level. Frankle & Carbin, arXiv:1803.03635.

    With `source`, the directory of another search, its dense level and its masks are taken, and
    nothing is pruned here; `control` changes the ticket of a level before it is trained. With
    `from_scratch`, it is trained for all epochs of the recipe, also after a late rewinding.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    directory: Path
    protocol: Protocol
    seed: int = 0
    label: str = ""
    report: Callable[[Record], None] = lambda record: None
    progress: bool = True
    source: Path | None = None
    control: Callable[[Ticket, int], Ticket] = lambda ticket, level: ticket
    from_scratch: bool = False

    def run(self) -> list[Record]:
        """Train, prune, rewind, repeat."""
        store.prepare_directory(self.directory)
        with store.lock(self.directory):
            return self._run()

    def _run(self) -> list[Record]:
        model, protocol, directory = self.model, self.protocol, self.directory
        protocol.check(model, self.recipe)  # better an error now than after hours
        source = self._first_pass() if protocol.masks == "finetuned" else self.source
        levels = protocol.levels
        if source:
            levels = min(levels, len(_adopt(source, directory)) - 1)
        start = _first_state(model, directory)
        end = Ticket(full_masks(dict(model.prunable_parameters())), start)
        records = store.read_records(directory)[: levels + 1]
        while _finished(records[:-1], protocol.floor):
            records.pop()
        if records:
            end = _trained(model, start, directory, records[-1])
            for record in records:
                self.report(record | {"resumed": True})
        while len(records) <= levels and not _finished(records, protocol.floor):
            level = len(records)
            masks, history = end.masks, []
            if level and not self.from_scratch:
                history = [Epoch(**e) for e in records[0]["epochs"][: protocol.late]]
            first = _late_state(directory) if level and protocol.late else start
            if level:
                masks = (_masks_of(source, level) if source
                         else self._next_masks(end, level, first, start))  # fmt: skip
            restored = level and protocol.memory == "restored"
            memory = store.read_arrays(directory / LATE_MEMORY) if restored else end.memory
            ticket = Ticket(masks, protocol.state(model, first, end.state), memory)
            ticket = self.control(ticket, level) if level else ticket
            record, end = self._train_level(ticket, level, history)
            end.save(_level_path(directory, level))
            records.append(record | {"initial": store.digest(start), "end": end.digest()})
            store.write_records(directory, records)
            _checkpoint_path(directory).unlink(missing_ok=True)
            self.report(records[-1] | {"resumed": False})
        return records

    def _first_pass(self) -> Path:
        """Prune and train on, never rewinding, in a directory below; where its masks are."""
        folder = self.directory / "finetuned"
        replace(
            self,
            directory=folder,
            protocol=replace(self.protocol, masks="retrained", rewind="none"),
            label=f"{self.label} fine-tuned",
            report=lambda record: self.report(record | {"pass": "fine-tuned"}),
        ).run()
        return folder

    def _next_masks(
        self, last: Ticket, level: int, first: dict[str, Any], initial: dict[str, Any]
    ) -> Masks:
        """The masks of a level, by `choose.next_masks`."""
        one_shot = self.protocol.prune_from == "dense"
        dense = Ticket.load(_level_path(self.directory, 0)) if one_shot else last
        return next_masks(
            self.model, self.dataset, self.protocol, self.seed, level, last, dense.state, first,
            initial,
        )  # fmt: skip

    def _train_level(
        self, ticket: Ticket, level: int, history: list[Epoch]
    ) -> tuple[Record, Ticket]:
        """Rewind and train: the record and the end. Invariants are asserted on the way.

        The network goes on after the epochs of `history`, or from this level's checkpoint.
        """
        began = time.perf_counter()
        digest = ticket.digest()
        per_epoch = num_batches(len(self.dataset.train), self.recipe.batch_size)
        recipe = self.protocol.recipe(self.recipe, level, per_epoch)
        optimizer = recipe.make_optimizer(self.model)
        rewind(self.model, ticket)
        optimizer.load_state_dict(ticket.memory)
        check_start(self.model, ticket)
        checkpoint = Checkpoint(_checkpoint_path(self.directory), digest)
        history = checkpoint.load(self.model, ticket.masks, optimizer) or history

        def after_epoch(optimizer: Optimizer, history: list[Epoch]) -> None:
            check_pruned(self.model, ticket, optimizer)
            if level == 0 and len(history) == self.protocol.late:
                store.write_arrays(self.directory / "late.npz", self.model.state_dict())
                if self.protocol.memory == "restored":
                    store.write_arrays(self.directory / LATE_MEMORY, optimizer.state_dict())
            checkpoint.save(self.model, ticket.masks, optimizer, history)

        history = train(
            self.model, self.dataset, recipe, self.protocol.order_seed(self.seed, level),
            f"{self.label} level {level} ({ticket.density:.1%} left)",
            self.progress, optimizer, history, after_epoch,
        )  # fmt: skip
        check_unchanged(ticket, digest)
        memory = optimizer.state_dict() if self.protocol.memory == "kept" else {}
        end = Ticket(ticket.masks, self.model.state_dict(), memory)
        record = {
            "level": level,
            "weights_left": ticket.weights_left,
            "weights_total": ticket.weights_total,
            "costs": _costs(self.model, self.dataset, ticket),
            "accuracy": history[-1].test_accuracy,
            "loss": history[-1].test_loss,
            "train_accuracy": history[-1].train_accuracy,
            "train_loss": history[-1].train_loss,
            "seconds": time.perf_counter() - began,
            "backend": get_backend(),
            "precision": get_precision(),
            "version": __version__,
            "ticket": digest,
            "trained": store.digest(end.state),
            "epochs": [asdict(epoch) for epoch in history],
            "checks": [
                *(["pruning"] if level else []),
                "start",
                *("pruned" for _ in history),
                "unchanged",
            ],
        }
        return record, end


def _costs(model: Module, dataset: Dataset, ticket: Ticket) -> dict[str, int] | None:
    """What the pruned network costs; None for layers whose multiplications nobody counts."""
    try:
        counted = asdict(costs(model, dataset.input_shape, ticket.masks))
    except OptionError:
        return None
    del counted["uses"]
    return counted


def _adopt(source: Path, directory: Path) -> list[Record]:
    """Take over the dense level of another search; all records of that search."""
    records = store.read_records(source)
    if not records:
        raise RunError(f"{source} has no finished level whose masks could be taken")
    if not store.read_records(directory):
        late = [source / name for name in ("late.npz", LATE_MEMORY)]
        for path in (source / "start.npz", *late, _level_path(source, 0)):
            if path.exists():
                store.write_file(directory / path.name, path.read_bytes())
        store.write_records(directory, records[:1])
    return records


def _masks_of(source: Path, level: int) -> Masks:
    return Ticket.load(_level_path(source, level)).masks


def _finished(records: list[Record], floor: float) -> bool:
    """Did the accuracy fall below the floor, where it once stood, more than a few levels ago?"""
    above = [r["accuracy"] >= floor for r in records]
    return any(above) and above[above.index(True) :].count(False) > LEVELS_BELOW_FLOOR


def _first_state(model: Module, directory: Path) -> dict[str, Any]:
    """The state before all training: saved by the first run, read by those that resume."""
    path = directory / "start.npz"
    if not path.exists():
        store.write_arrays(path, model.state_dict())
    return store.read_arrays(path)


def _late_state(directory: Path) -> dict[str, Any]:
    """The state of the dense network after the epochs of `Protocol.late`."""
    return store.read_arrays(directory / "late.npz")


def _checkpoint_path(directory: Path) -> Path:
    return directory / "checkpoint.npz"


def _level_path(directory: Path, level: int) -> Path:
    return directory / f"level_{level:02d}.npz"


def _trained(model: Module, start: dict[str, Any], directory: Path, record: Record) -> Ticket:
    """Put the network into the state that a finished level ended with."""
    path = _level_path(directory, record["level"])
    end = Ticket.load(path)
    if (store.digest(start), end.digest()) != (record["initial"], record["end"]):
        raise RunError(
            f"{path} or start.npz is not what levels.jsonl says; delete their directory, run again"
        )
    rewind(model, end)
    return end
