"""Sums of any number of float32 entries.

Added one by one, ones stand still at 2^24, and other numbers drift long before: a sum of 8000 is
right to 4 digits or more, a sum of a million to one or two. So longer sums are made in blocks, and
the blocks are added in float64. Short ones are added as the array library adds them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register

#: Entries that are added one by one in float32.
MOST = 1 << 13
#: Entries of a block, where there are more.
BLOCK = 1 << 8


@register
def sum_over(x: Array, axis: Any, keepdims: bool = False) -> Any:
    """y = sum of x over an axis, a tuple of axes, or all (None).

    Blocks are cut from the longest axis, such that neighbours in memory are added side by side.
    """
    if x.size <= MOST or x.dtype != np.float32:
        return x.sum(axis=axis, keepdims=keepdims)
    axes = range(x.ndim) if axis is None else [d % x.ndim for d in np.atleast_1d(axis)]
    if math.prod(x.shape[d] for d in axes) <= MOST or _adds_in_pairs(x, axes):
        return x.sum(axis=axis, keepdims=keepdims)
    d = max(axes, key=lambda d: x.shape[d])
    before, L, after = x.shape[:d], x.shape[d], x.shape[d + 1 :]
    rows, at = min(L, BLOCK), (slice(None),) * d
    end = L - L % rows
    blocks = x[(*at, slice(end))].reshape(*before, rows, end // rows, *after).sum(axis=d)
    how: Any = {"axis": axis, "keepdims": keepdims, "dtype": np.float64}
    return (blocks.sum(**how) + x[(*at, slice(end, None))].sum(**how)).astype(x.dtype)


def _adds_in_pairs(x: Array, axes: Sequence[int]) -> bool:
    """Whether NumPy adds neighbours in memory, then these sums, and so on, which is as exact."""
    return array_module(x) is np and x.flags.c_contiguous and min(axes) == x.ndim - len(axes)
