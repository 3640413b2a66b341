"""Sums that are made in parts. How many depends on the shape, not on the number of threads.

So each number is always added in the same order, and its bits are the same on any machine with
the same vectors.
"""

from collections.abc import Callable

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, serial
from quatgrad.kernels.numba_cpu.machine.cache import L1
from quatgrad.kernels.reference.sums import MOST

#: Numbers that a thread adds at a time: in cache.
CHUNK = L1 // 4
#: Numbers that are added before a second thread has started.
ALONE = 1 << 18
#: Parts of a sum of few numbers, and of one of more than SMALL.
MANY, FEW, SMALL = 16, 8, 1 << 15


def how_many(numbers: int) -> int:
    """The number of parts for a sum of so many numbers."""
    return MANY if numbers <= SMALL else FEW


def total(parts: Array) -> Array:
    """The sum over the first axis, first to last; 0 of no parts."""
    if not len(parts):
        return np.zeros(parts.shape[1:], parts.dtype)
    y = empty(parts.shape[1:], parts.dtype)
    run = _by_all if parts.size >= ALONE else _by_one
    run(parts.reshape(len(parts), -1), y.reshape(-1))
    return y


@parallel
def _by_all(parts, y):
    for chunk in prange((len(y) + CHUNK - 1) // CHUNK):
        _add(parts, y, np.int64(chunk) * CHUNK)


@serial
def _by_one(parts, y):
    for start in range(0, len(y), CHUNK):
        _add(parts, y, start)


@serial
def _add(parts, y, start):
    """The CHUNK of y from `start` on. Loops that count from 0 become vectors."""
    end = min(len(y), start + CHUNK)
    share = y[start:end]
    share[:] = parts[0, start:end]
    for k in range(1, len(parts)):
        part = parts[k, start:end]
        for n in range(len(share)):
            share[n] += part[n]


def sum_of_parts(f: Callable[[slice], Array], n: int, most: int = 2 * MOST) -> Array:
    """f(slice(0, n)), which is a sum over n entries: at most so many at a time, then in float64."""
    y = f(slice(0, most))
    if n > most and y.dtype == np.float32:
        total = y.astype(np.float64)
        for start in range(most, n, most):
            total += f(slice(start, start + most))
        y = total.astype(y.dtype)
    return y
