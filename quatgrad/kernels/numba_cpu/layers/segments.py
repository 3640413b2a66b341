"""Sums by key, and products with a matrix in compressed rows: each number has one owner."""

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import parallel, read_only
from quatgrad.kernels.reference.sums import MOST
from quatgrad.kernels.registry import register

#: Columns that a task adds up.
_COLUMNS = 32


@register
def segment_sum(g: Array, keys: Array, K: int) -> Array:
    """`reference.segment_sum`: a task has its columns, and takes the rows in their order."""
    y = np.zeros((K, g.shape[1]), g.dtype if len(g) <= MOST else np.float64)
    _segment_sum(read_only(g), read_only(keys, np.int64), y)
    return y.astype(g.dtype, copy=False)


@parallel
def _segment_sum(g, keys, y):
    M, C = g.shape
    for task in prange((C + _COLUMNS - 1) // _COLUMNS):
        first = task * _COLUMNS
        last = min(first + _COLUMNS, C)
        for m in range(M):
            k = keys[m]
            for c in range(first, last):
                y[k, c] += g[m, c]


@register
def csr_matmul(values: Array, columns: Array, starts: Array, x: Array) -> Array:
    """`reference.csr_matmul`: a task has a row."""
    y = np.zeros((len(starts) - 1, x.shape[1]), x.dtype)
    places = read_only(columns, np.int64), read_only(starts, np.int64)
    _csr_matmul(read_only(values), *places, read_only(x), y)
    return y


@parallel
def _csr_matmul(values, columns, starts, x, y):
    I, C = y.shape
    for i in prange(I):
        for e in range(starts[i], starts[i + 1]):
            j, value = columns[e], values[e]
            for c in range(C):
                y[i, c] += value * x[j, c]
