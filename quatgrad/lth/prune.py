"""Which weights a pruning step removes. Decided on the host in NumPy: the same on every backend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quatgrad.autograd import Parameter
from quatgrad.backend import to_numpy
from quatgrad.errors import InvariantError, OptionError

Masks = dict[str, np.ndarray]


def full_masks(weights: Mapping[str, Parameter]) -> Masks:
    """Masks of a dense network: every weight alive."""
    return {name: np.ones(w.shape, bool) for name, w in weights.items()}


def survivors(n: int, keep: float) -> int:
    """n - round((1 - keep) n), but never fewer than 1 of a tensor that has any.

    The published rule, with Python's rounding of halves to even, in double precision. There it
    could not empty a tensor either, since its keep was at least 0.5.
    """
    return max(n - round((1 - keep) * n), min(n, 1))


def prune_by_magnitude(weights: Mapping[str, Parameter], masks: Masks, keep: float) -> Masks:
    """Of the weights alive in each tensor, keep the share `keep` that is largest in magnitude.

    A quaternion weight is four tensors, its 1, i, j and k components, ranked each by itself.
    Of equal magnitudes, the later entry is kept. Source: "Large Neural Networks at a Fraction"
    (magnitude, layer-wise, component-wise).
    """
    if not 0 < keep < 1:
        raise OptionError(
            f"keep is the share of weights that survives a level, 0 < keep < 1; got {keep}"
        )
    new = {}
    for name, w in weights.items():
        value = to_numpy(w.data).reshape(w.components, -1)
        alive = masks[name].reshape(w.components, -1)
        kept = [_largest(np.abs(v), m, keep) for v, m in zip(value, alive, strict=True)]
        new[name] = np.stack(kept).reshape(w.shape)
    return new


def _largest(magnitude: np.ndarray, alive: np.ndarray, keep: float) -> np.ndarray:
    """The mask of one tensor: the `survivors` largest of the entries alive."""
    if not np.isfinite(magnitude).all():
        raise InvariantError("cannot rank weights that are not finite: the training diverged")
    candidates = np.flatnonzero(alive)
    order = candidates[np.argsort(magnitude[candidates], kind="stable")]
    mask = np.zeros_like(alive)
    mask[order[len(order) - survivors(len(order), keep) :]] = True
    return mask
