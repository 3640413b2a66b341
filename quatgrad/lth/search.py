"""The loop of the lottery ticket hypothesis: train, prune, rewind, repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quatgrad import __version__
from quatgrad.backend import get_backend
from quatgrad.data import Dataset
from quatgrad.errors import RunError
from quatgrad.lth import store
from quatgrad.lth.prune import Masks, full_masks, prune_by_magnitude
from quatgrad.lth.rewind import (
    check_pruned,
    check_pruning,
    check_start,
    check_unchanged,
    rewind,
)
from quatgrad.lth.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.optim import Optimizer
from quatgrad.train import Recipe, train

Record = dict[str, Any]

#: So many levels may end below the floor; one more, and the search ends: the paper's "a few".
LEVELS_BELOW_FLOOR = 2


def search(
    model: Module,
    dataset: Dataset,
    recipe: Recipe,
    directory: Path,
    levels: int,
    keep: float,
    floor: float = 0.2,
    seed: int = 0,
    label: str = "",
    report: Callable[[Record], None] | None = None,
    progress: bool = True,
) -> list[Record]:
    """Iterative magnitude pruning with rewinding to the start; one record for each level.

    Level 0 trains the dense network. Level l prunes the weights that level l-1 ended with to the
    share `keep`, rewinds the survivors to their first values, and trains again. It ends after
    level `levels`, or once the accuracy has stood at `floor` and then ended more than
    `LEVELS_BELOW_FLOOR` levels below it. Levels already finished in `directory` are taken from
    there; those beyond the end are left there. Frankle & Carbin, arXiv:1803.03635.
    """
    store.prepare_directory(directory)
    start = _rewind_state(model, directory)
    weights = dict(model.prunable_parameters())
    masks = full_masks(weights)
    records = store.read_records(directory)[: levels + 1]
    while _finished(records[:-1], floor):
        records.pop()
    if records:
        masks = _trained(model, start, directory, records[-1])
        for record in records:
            _tell(report, record, resumed=True)
    while len(records) <= levels and not _finished(records, floor):
        level = len(records)
        if level > 0:
            old, masks = masks, prune_by_magnitude(weights, masks, keep)
            check_pruning(old, masks, {n: w.components for n, w in weights.items()}, keep)
        ticket = Ticket(masks, start)
        record = _train_level(model, ticket, dataset, recipe, seed, level, label, progress)
        Ticket(masks, model.state_dict()).save(_level_path(directory, level))
        records.append(record)
        store.write_records(directory, records)
        _tell(report, record, resumed=False)
    return records


def _train_level(
    model: Module,
    ticket: Ticket,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    level: int,
    label: str,
    progress: bool,
) -> Record:
    """Rewind, train, and say what came out; the invariants are asserted on the way."""
    began = time.perf_counter()
    digest = ticket.digest()
    rewind(model, ticket)
    check_start(model, ticket)

    def check(optimizer: Optimizer) -> None:
        check_pruned(model, ticket, optimizer)

    name = f"{label} level {level} ({ticket.density:.1%} left)"
    history = train(model, dataset, recipe, seed, name, check, progress)
    check_unchanged(ticket, digest)
    return {
        "level": level,
        "weights_left": ticket.weights_left,
        "weights_total": ticket.weights_total,
        "accuracy": history[-1].test_accuracy,
        "loss": history[-1].test_loss,
        "train_accuracy": history[-1].train_accuracy,
        "train_loss": history[-1].train_loss,
        "seconds": time.perf_counter() - began,
        "backend": get_backend(),
        "version": __version__,
        "ticket": digest,
        "trained": store.digest(model.state_dict()),
        "epochs": [asdict(epoch) for epoch in history],
        "checks": [
            *(["pruning"] if level else []),
            "start",
            *("pruned" for _ in history),
            "unchanged",
        ],
    }


def _finished(records: list[Record], floor: float) -> bool:
    """Did the accuracy fall below the floor, where it once stood, more than a few levels ago?"""
    above = [r["accuracy"] >= floor for r in records]
    return any(above) and above[above.index(True) :].count(False) > LEVELS_BELOW_FLOOR


def _rewind_state(model: Module, directory: Path) -> dict[str, Any]:
    """The state every level starts from: saved by the first run, read by those that resume."""
    path = directory / "start.npz"
    if not path.exists():
        store.write_arrays(path, model.state_dict())
    return store.read_arrays(path)


def _level_path(directory: Path, level: int) -> Path:
    return directory / f"level_{level:02d}.npz"


def _trained(model: Module, start: dict[str, Any], directory: Path, record: Record) -> Masks:
    """Put the network into the state that a finished level ended with; its masks."""
    path = _level_path(directory, record["level"])
    end = Ticket.load(path)
    found = Ticket(end.masks, start).digest(), store.digest(end.state)
    if found != (record["ticket"], record["trained"]):
        raise RunError(
            f"{path} or start.npz is not what levels.jsonl says; delete their directory, run again"
        )
    rewind(model, end)
    return end.masks


def _tell(report: Callable[[Record], None] | None, record: Record, resumed: bool) -> None:
    if report:
        report(record | {"resumed": resumed})
