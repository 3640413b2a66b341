"""The calls of a training step, noted once and made again: see `step_calls`.

Whoever computes with arrays beside compiled functions does it through `call`: a recorder hears it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Recorder(Protocol):
    """What takes note of calls."""

    def call(self, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """f(*args, **options), and a note of it."""


#: Who takes note now, and who gives memory for arrays that are made: as a rule nobody, and NumPy.
recorder: Recorder | None = None
memory: Callable[[int], np.ndarray] | None = None


def call(f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """f(*args, **options). Where a step is recorded, its repetitions do the same."""
    return f(*args, **options) if recorder is None else recorder.call(f, *args, **options)
