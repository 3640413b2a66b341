"""Sums of rows by all threads: of one map, as of a bias, or of each of a batch, as a mean is."""

import math
from typing import Any

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only
from quatgrad.kernels.numba_cpu.simd.rows import add, zero
from quatgrad.kernels.reference import sums
from quatgrad.kernels.registry import register

#: Fewer numbers are added before a second thread has started.
ALONE = 1 << 15
#: Columns whose sums are the task of a thread: they stay in registers and the L1 cache.
COLUMNS = 64
#: The same, of sums that are many, each a task: the caches look ahead along a row.
WIDE = 1 << 10


@register
def sum_over(x: Array, axis: Any, keepdims: bool = False) -> Any:
    """`reference.sum_over`; sums over neighbouring axes, as there, in the order of the rows."""
    several = range(x.ndim) if axis is None else np.atleast_1d(axis)
    axes = sorted(d + x.ndim * (d < 0) for d in several)
    first, end = (axes[0], axes[-1] + 1) if axes else (0, 0)
    before, M, rest = x.shape[:first], math.prod(x.shape[first:end]), x.shape[end:]
    neighbours = axes == [*range(first, end)] and 0 <= first <= end <= x.ndim  # each once
    plain = neighbours and x.dtype == np.float32 and x.flags.c_contiguous
    if not plain or math.prod(rest) < 2 or x.size < ALONE or M > sums.MOST:
        return call(sums.sum_over, x, axis, keepdims)
    y = empty((*before, *rest), x.dtype)
    N, C = math.prod(before), math.prod(rest)
    _sum_rows(read_only(x).reshape(N, M, C), y.reshape(N, C))
    return y.reshape(*before, *(1,) * len(axes), *rest) if keepdims else y


@parallel
def _sum_rows(x, y):
    (N, C), M = y.shape, x.shape[1]
    width = COLUMNS if N == 1 else WIDE
    blocks = (C + width - 1) // width
    for task in prange(N * blocks):
        n, first = task // blocks, task % blocks * width
        end = min(first + width, C)
        zero(y[n, first:end])
        for m in range(M):
            add(y[n, first:end], x[n, m, first:end])
