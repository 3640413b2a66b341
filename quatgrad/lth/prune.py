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


def prune_by_magnitude(
    weights: Mapping[str, Parameter], masks: Masks, keep: float, scope: str = "layer"
) -> Masks:
    """Of the weights alive in each tensor, keep the share `keep` that is largest in magnitude.

    A quaternion weight is four tensors, its 1, i, j and k components, ranked each by itself. With
    scope "global" all weights of the network are ranked together, and a tensor may end empty.
    Of equal magnitudes, the later entry is kept. Source: "Large Neural Networks at a Fraction"
    (layer); "Neural Networks at a Fraction with Pruned Quaternions" (global).
    """
    if not 0 < keep < 1:
        raise OptionError(
            f"keep is the share of weights that survives a level, 0 < keep < 1; got {keep}"
        )
    if scope == "global":
        magnitude = np.concatenate([abs(to_numpy(w.data)).ravel() for w in weights.values()])
        alive = np.concatenate([masks[name].ravel() for name in weights])
        kept = np.split(_largest(magnitude, alive, keep), _ends(weights))
        return {n: k.reshape(w.shape) for (n, w), k in zip(weights.items(), kept[:-1], strict=True)}
    new = {}
    for name, w in weights.items():
        value = to_numpy(w.data).reshape(w.components, -1)
        parts = masks[name].reshape(w.components, -1)
        each = [_largest(abs(v), m, keep) for v, m in zip(value, parts, strict=True)]
        new[name] = np.stack(each).reshape(w.shape)
    return new


def _ends(weights: Mapping[str, Parameter]) -> np.ndarray:
    """Where each weight ends, when all are laid in a row."""
    return np.cumsum([w.size for w in weights.values()])


def _largest(magnitude: np.ndarray, alive: np.ndarray, keep: float) -> np.ndarray:
    """The mask of one tensor: the `survivors` largest of the entries alive."""
    if not np.isfinite(magnitude).all():
        raise InvariantError("cannot rank weights that are not finite: the training diverged")
    candidates = np.flatnonzero(alive)
    values = magnitude[candidates]
    kept = survivors(len(values), keep)
    mask = np.zeros_like(alive)
    if kept:
        least = np.partition(values, len(values) - kept)[len(values) - kept]
        above, equal = candidates[values > least], candidates[values == least]
        mask[above] = True
        mask[equal[len(equal) + len(above) - kept :]] = True  # of equals, the later ones
    return mask
