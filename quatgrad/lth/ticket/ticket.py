"""A lottery ticket: which weights live, and the state that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quatgrad.lth.prune.rule import Masks
from quatgrad.tensor_file import digest

#: `Module.state_dict`: all of a network's state by name.
State = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Ticket:
    """Masks (bool, one for each prunable weight) and the rewind state (`Module.state_dict`).

    The rewind state is the whole of it: weights, biases, batch-norm parameters and running
    statistics. `optimizer_state` is what the optimizer starts with (`Optimizer.state_dict`), as a
    rule nothing. A ticket lives outside the model and is not changed by training it.
    """

    masks: Masks
    state: Mapping[str, np.ndarray]
    optimizer_state: Mapping[str, np.ndarray] = field(default_factory=dict)

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
        """SHA-256 of everything: equal for equal tickets, on every machine."""
        return digest(self.arrays())

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Ticket:
        """The ticket whose `arrays` these are."""
        return Ticket(*(strip_prefix(arrays, kind) for kind in ("mask/", "state/", "memory/")))

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name: mask/..., state/..., memory/..."""
        kinds = {"mask/": self.masks, "state/": self.state, "memory/": self.optimizer_state}
        return {kind + name: a for kind, part in kinds.items() for name, a in part.items()}


def strip_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose name starts with the prefix, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
