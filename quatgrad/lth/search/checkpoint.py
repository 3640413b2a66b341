"""The state of a level in the middle of its training, so that a killed run loses a minute."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.arrays import to_numpy
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.search.selection import Kept
from quatgrad.lth.store import files
from quatgrad.lth.ticket.checks import check_pruned
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.lth.ticket.ticket import part as ticket_part
from quatgrad.nn import Module
from quatgrad.optim import Optimizer
from quatgrad.train import Epoch, TrainState

#: A checkpoint is written if the last is so old: seconds. Where writing one takes long, training
#: takes 50 times as long before the next.
INTERVAL = 60.0
SHARE = 50


class Checkpoint:
    """One file, for one start: the ticket whose digest is `start` is in training."""

    def __init__(self, path: Path, start: str):
        self.path, self.start = path, start
        self.saved, self.pause = time.monotonic(), INTERVAL

    def due(self) -> bool:
        """Is it time for another?"""
        return time.monotonic() - self.saved >= self.pause

    def save(
        self,
        model: Module,
        masks: Masks,
        optimizer: Optimizer,
        state: TrainState,
        checks: Any,
        kept: Kept,
    ) -> None:
        """Write down where training stands; `kept` are the states that may be reported yet."""
        began = time.monotonic()
        now = Ticket(masks, model.state_dict(), optimizer.state_dict())
        said = {
            "start": self.start,
            "epochs": [asdict(epoch) for epoch in state.history],
            "part": {
                "batches": state.batch,
                "sums": to_numpy(state.sums).tolist(),
                "seconds": state.seconds,
            },
            "checks": checks,
        }
        text = np.frombuffer(json.dumps(said).encode(), np.uint8)
        states = {f"kept/{n}/{k}": a for n, arrays in kept.items() for k, a in arrays.items()}
        files.write_arrays(self.path, {**now.arrays(), **states, "said": text}, compress=False)
        self.saved = time.monotonic()
        self.pause = max(INTERVAL, SHARE * (self.saved - began)) if INTERVAL else 0.0

    def load(
        self, model: Module, masks: Masks, optimizer: Optimizer
    ) -> tuple[TrainState, Any, Kept] | None:
        """Put network and optimizer where the checkpoint stands; its state, checks and `kept`.

        None, and nothing changes, without a checkpoint of this start.
        """
        if not self.path.exists():
            return None
        arrays = files.read_arrays(self.path)
        said = json.loads(arrays.pop("said").tobytes())
        if said["start"] != self.start:
            return None
        now = Ticket.of(arrays)
        rewind(model, now)
        optimizer.load_state_dict(now.optimizer_state)
        check_pruned(model, Ticket(masks, now.state), optimizer)
        numbers = {int(name.split("/")[1]) for name in arrays if name.startswith("kept/")}
        kept = {n: ticket_part(arrays, f"kept/{n}/") for n in numbers}
        epochs = [Epoch(**epoch) for epoch in said["epochs"]]
        part = said["part"]
        state = TrainState(epochs, part["batches"], part["sums"], part["seconds"])
        return state, said["checks"], kept
