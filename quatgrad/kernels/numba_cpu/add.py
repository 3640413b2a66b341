"""The sum of two maps, in all threads: where two ways through a network meet."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.arguments import empty, read_only

#: Fewer numbers are added before a second thread has started.
ALONE = 1 << 16


def add(a: Array, b: Array) -> Array:
    """`reference.add`."""
    alike = a.shape == b.shape and a.dtype == b.dtype
    if not alike or a.size < ALONE or not a.flags.c_contiguous or not b.flags.c_contiguous:
        return np.add(a, b)
    y = empty(a.shape, a.dtype)
    _add(read_only(a).reshape(-1), read_only(b).reshape(-1), y.reshape(-1))
    return y


@njit(parallel=True, cache=True, error_model="numpy")
def _add(a, b, y):
    for k in prange(len(y)):
        y[k] = a[k] + b[k]
