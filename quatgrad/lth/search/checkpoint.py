"""The state of a level in the middle of its training, so that a killed run loses a minute."""

import time
from pathlib import Path

import msgspec
import numpy as np

from quatgrad.arrays import to_numpy
from quatgrad.backend import get_backend, get_precision, notice
from quatgrad.errors import QuatgradError
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.search.selection import Snapshots
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Part, Progress, parse
from quatgrad.lth.ticket.checks import check_pruned
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket, strip_prefix
from quatgrad.nn import Module
from quatgrad.optim import Optimizer
from quatgrad.parallel import processes
from quatgrad.tensor_file import digest
from quatgrad.train import TrainState

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
        checks: dict[str, int],
        snapshots: Snapshots,
    ) -> None:
        """Write where training stands; `snapshots` are the states that may be reported yet."""
        began = time.monotonic()
        now = Ticket(masks, model.state_dict(), optimizer.state_dict())
        sums = to_numpy(state.sums).tolist()
        part = Part(batches=state.batch, sums=sums, seconds=state.seconds)
        progress = Progress(
            start=self.start,
            epochs=list(state.history),
            part=part,
            checks=dict(checks),
            backend=get_backend(),
            precision=get_precision(),
            processes=processes().size,
        )
        text = np.frombuffer(msgspec.json.encode(progress), np.uint8)
        states = {f"kept/{n}/{k}": a for n, arrays in snapshots.items() for k, a in arrays.items()}
        files.write_arrays(self.path, {**now.arrays(), **states, "said": text}, compress=False)
        self.saved = time.monotonic()
        self.pause = max(INTERVAL, SHARE * (self.saved - began)) if INTERVAL else 0.0

    def load(
        self, model: Module, masks: Masks, optimizer: Optimizer
    ) -> tuple[TrainState, dict[str, int], Snapshots] | None:
        """Put network and optimizer where the checkpoint stands; its state, checks and snapshots.

        None, and nothing changes, without a checkpoint of this start, made by the backend and in
        the precision of now: the bits of a level are those of one.
        """
        if not self.path.exists():
            return None
        arrays = files.read_arrays(self.path)
        stored = arrays.pop("said", np.zeros(0, np.uint8)).tobytes()
        progress = parse(stored, self.path, Progress)
        if progress.start != self.start or not self._made_here(progress):
            return None
        now, part = Ticket.of(arrays), progress.part
        if digest(now.masks) != digest(masks):
            raise files.damaged(self.path, "its masks are not those of its level")
        try:
            rewind(model, now)
            optimizer.load_state_dict(now.optimizer_state)
            numbers = {int(name.split("/")[1]) for name in arrays if name.startswith("kept/")}
        except (QuatgradError, KeyError, ValueError) as error:
            raise files.damaged(self.path, error) from error
        check_pruned(model, Ticket(masks, now.state), optimizer)
        snapshots = {n: strip_prefix(arrays, f"kept/{n}/") for n in numbers}
        sums = [np.nan if x is None else x for x in part.sums]
        state = TrainState(progress.epochs, part.batches, sums, part.seconds)
        return state, progress.checks, snapshots

    def _made_here(self, progress: Progress) -> bool:
        """Is it of this backend and precision? Old checkpoints do not say, and count as such."""
        made, here = (progress.backend, progress.precision), (get_backend(), get_precision())
        before, now = progress.processes, processes().size
        if (not progress.backend or made == here) and before == now:
            return True
        counts = (f", {before} processes", f", {now} processes") if before != now else ("", "")
        notice(
            f"{self.path.parent.name} was begun by {' in '.join(made)}{counts[0]} and is trained "
            f"anew by {' in '.join(here)}{counts[1]}"
        )
        return False
