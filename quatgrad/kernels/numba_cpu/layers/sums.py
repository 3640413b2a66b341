"""Sums of the rows of a map, as the gradient of a bias is, by all threads."""

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


@register
def sum_over(x: Array, axis: Any, keepdims: bool = False) -> Any:
    """`reference.sum_over`; sums over the first axes, as there, in the order of the rows."""
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
    k = len(axes)
    M, rest = math.prod(x.shape[:k]), x.shape[k:]
    first = {d if d >= 0 else d + x.ndim for d in axes} == set(range(k))  # each once
    plain = first and x.dtype == np.float32 and x.flags.c_contiguous
    if not plain or math.prod(rest) < 2 or x.size < ALONE or M > sums.MOST:
        return call(sums.sum_over, x, axis, keepdims)
    y = empty(rest, x.dtype)
    _sum_rows(read_only(x).reshape(M, -1), y.reshape(-1))
    return y.reshape(*(1,) * k, *rest) if keepdims else y


@parallel
def _sum_rows(x, y):
    for task in prange((len(y) + COLUMNS - 1) // COLUMNS):
        first = task * COLUMNS
        end = min(first + COLUMNS, len(y))
        zero(y[first:end])
        for m in range(len(x)):
            add(y[first:end], x[m, first:end])
