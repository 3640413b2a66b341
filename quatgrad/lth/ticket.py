"""A lottery ticket: which weights live, and the state that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quatgrad.lth.prune import Masks
from quatgrad.lth.store import digest, read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class Ticket:
    """Masks (bool, one for each prunable weight) and the rewind state (`Module.state_dict`).

    The rewind state is the whole of it: weights, biases, batch-norm parameters and running
    statistics. A ticket lives outside the model and is not changed by training it.
    """

    masks: Masks
    state: Mapping[str, np.ndarray]

    @property
    def weights_left(self) -> int:
        """How many prunable weights are alive."""
        return sum(int(m.sum()) for m in self.masks.values())

    @property
    def weights_total(self) -> int:
        """How many prunable weights the dense network has."""
        return sum(m.size for m in self.masks.values())

    @property
    def density(self) -> float:
        """weights_left / weights_total."""
        return self.weights_left / self.weights_total

    def digest(self) -> str:
        """SHA-256 of masks and state: equal for equal tickets, on every machine."""
        return digest({**{f"mask/{k}": m for k, m in self.masks.items()}, **self.state})

    def save(self, path: str | Path) -> None:
        """Write the ticket to one file, whole or not at all."""
        masks = {f"mask/{name}": m for name, m in self.masks.items()}
        state = {f"state/{name}": a for name, a in self.state.items()}
        write_arrays(Path(path), masks | state)

    @staticmethod
    def load(path: str | Path) -> Ticket:
        """Read what `save` wrote; `RunError` for a missing or damaged file."""
        arrays = read_arrays(Path(path))
        return Ticket(part(arrays, "mask/"), part(arrays, "state/"))


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose name starts with the prefix, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
