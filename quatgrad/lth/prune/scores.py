"""How much a group of weights matters: the smallest scores go.

A score is computed from arrays (..., members), the members of each group last: the weights as they
are, their initial values, and dF/dw of the function that the score asks for (see `GRADIENTS`).
"""

from collections.abc import Callable

import numpy as np


def rms(w: np.ndarray) -> np.ndarray:
    """sqrt(mean w^2) over the members of each group: |w| of one, half the norm of a quaternion.

    A mean, so that kernels and filters of different sizes compare; in float64, where the squares
    of float32 do not underflow.
    """
    w = abs(w)
    return w[..., 0] if w.shape[-1] == 1 else np.sqrt((w.astype(np.float64) ** 2).mean(axis=-1))


def first_order(w: np.ndarray, g: np.ndarray) -> np.ndarray:
    """|sum w dF/dw| over the members: to first order, how F changes when the group becomes 0."""
    return abs((w.astype(np.float64) * g).sum(axis=-1))


Score = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

#: name -> score(w, w0, g, rng) of groups (..., members).
#: magnitude, initial, increase, movement: Zhou et al., arXiv:1905.01067.
#: sensitivity: Mozer & Smolensky 1988; at the start, SNIP: Lee et al., arXiv:1810.02340.
#: synflow: Tanaka et al., arXiv:2006.05467.
SCORES: dict[str, Score] = {
    "magnitude": lambda w, w0, g, rng: rms(w),
    "initial": lambda w, w0, g, rng: rms(w0),
    "increase": lambda w, w0, g, rng: rms(w) - rms(w0),
    "movement": lambda w, w0, g, rng: rms(w - w0),
    "random": lambda w, w0, g, rng: rng.random(w.shape[:-1]),
    "sensitivity": lambda w, w0, g, rng: first_order(w, g),
    "synflow": lambda w, w0, g, rng: first_order(w, g),
}

#: The scores that ask for dF/dw, and what F is: the loss, or the flow through the network of |w|.
GRADIENTS = {"sensitivity": "loss", "synflow": "flow"}
