"""The state of a level in the middle of its training, so that a killed run loses a minute."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from quatgrad.lth import store
from quatgrad.lth.prune import Masks
from quatgrad.lth.rewind import check_pruned, rewind
from quatgrad.lth.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.optim import Optimizer
from quatgrad.train import Epoch

#: A checkpoint is written at the end of an epoch, if the last is so old: seconds.
INTERVAL = 60.0


class Checkpoint:
    """One file, for one start: the ticket whose digest is `start` is in training."""

    def __init__(self, path: Path, start: str):
        self.path, self.start = path, start
        self.saved = time.monotonic()

    def save(self, model: Module, masks: Masks, optimizer: Optimizer, history: list[Epoch]) -> None:
        """Write down where training stands after the epochs of `history`, if it is time."""
        if time.monotonic() - self.saved < INTERVAL:
            return
        now = Ticket(masks, model.state_dict(), optimizer.state_dict())
        said = {"start": self.start, "epochs": [asdict(epoch) for epoch in history]}
        text = np.frombuffer(json.dumps(said).encode(), np.uint8)
        store.write_arrays(self.path, {**now.arrays(), "said": text})
        self.saved = time.monotonic()

    def load(self, model: Module, masks: Masks, optimizer: Optimizer) -> list[Epoch]:
        """Put network and optimizer where the checkpoint stands: the epochs it has behind it.

        None of them, and nothing changes, without a checkpoint of this start.
        """
        if not self.path.exists():
            return []
        arrays = store.read_arrays(self.path)
        said = json.loads(arrays.pop("said").tobytes())
        if said["start"] != self.start:
            return []
        now = Ticket.of(arrays)
        rewind(model, now)
        optimizer.load_state_dict(now.memory)
        check_pruned(model, Ticket(masks, now.state), optimizer)
        return [Epoch(**epoch) for epoch in said["epochs"]]
