"""Eight products of a quaternion layer, block by block of rows: their sums never leave the cache.

A block of rows of x becomes eight planes, these are multiplied by the eight of w, and the products
become a block of y. Written to memory and read back, the planes would cost a narrow layer more
than the eight products save. The form is that of `winograd`, which treats the two factors alike:
y = w x, dx = conj(w) g, dw = g conj(x). float32 only; `hamilton8` has the tables and the story.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from quatgrad.backend import Array
from quatgrad.kernels.numba_cpu.arguments import empty, read_only
from quatgrad.kernels.numba_cpu.multiply import multiply
from quatgrad.kernels.numba_cpu.vector import LANES, load, scratch, store
from quatgrad.kernels.numba_cpu.winograd_tiles import merged, partner, split

_parallel = njit(parallel=True, cache=True, error_model="numpy")
_helper = njit(cache=True, error_model="numpy")

#: Numbers of the planes of a block; but at least FEWEST rows, so that a weight that does not stay
#: in cache beside them is used often enough, and at most MOST.
CACHE, FEWEST, MOST = 1 << 17, 48, 128
#: A weight gradient is summed in at most so many parts, whatever the number of threads, of at most
#: so many numbers together: the bits stay the same.
PARTS, SUMS = 16, 1 << 21


def products(x: Array, w: Array, sign: int) -> Array:
    """w x, or conj(w) x for the sign -1, summed over p: x (N, 4P), w (4, P, Q) -> (N, 4Q)."""
    _, P, Q = w.shape
    y, W = empty((len(x), 4 * Q), x.dtype), empty((8, P * Q), x.dtype)
    _planes(read_only(w).reshape(-1), W, sign)
    _products(read_only(x).reshape(-1), W, y.reshape(-1), len(x), P, Q, _height(P, Q))
    return y


def sums(x: Array, g: Array) -> Array:
    """g conj(x), summed over rows: x (N, 4P), g (N, 4Q) -> (4, P, Q)."""
    N, P, Q = len(x), x.shape[1] // 4, g.shape[1] // 4
    height = _height(P, Q)
    parts = min(PARTS, max(2, SUMS // (8 * P * Q)), -(-N // height))
    W, w = np.zeros((parts, 8, P * Q), x.dtype), empty((4, P, Q), x.dtype)
    _sums(read_only(x).reshape(-1), read_only(g).reshape(-1), W, N, P, Q, height)
    _merge(W.sum(axis=0).reshape(-1), 0, P * Q, w.reshape(-1), 0, P * Q)
    return w


def _height(P: int, Q: int) -> int:
    return min(MOST, max(FEWEST, CACHE // (8 * (P + Q))))


@_helper
def _split(x, at, P, sign, X, to, step):
    """The eight planes, `step` apart, of four runs of P numbers: 1, i, j, k and their Hadamard."""
    for p in range(0, P, LANES):
        width, k, v = min(LANES, P - p), at + p, to + p
        a, b = load(x, k, width), sign * load(x, k + P, width)
        c, d = sign * load(x, k + 2 * P, width), sign * load(x, k + 3 * P, width)
        split(a, b, c, d, X, v, step, width)


@_helper
def _merge(Y, at, step, y, to, Q):
    """Four runs of Q numbers from their eight products."""
    for q in range(0, Q, LANES):
        width, k = min(LANES, Q - q), to + q
        m = merged(Y, at + q, step, width)
        store(m[0], y, k, width)
        store(m[1], y, k + Q, width)
        store(m[2], y, k + 2 * Q, width)
        store(m[3], y, k + 3 * Q, width)


@_helper
def _planes(w, W, sign):
    """The eight planes of a weight: flat (4, P Q) -> (8, P Q)."""
    _split(w, 0, W.shape[1], sign, W.reshape(-1), 0, W.shape[1])


@_parallel
def _products(x, W, y, N, P, Q, height):
    flat_W = W.reshape(-1)
    for task in prange((N + height - 1) // height):
        first = np.int64(task) * height
        count = min(height, N - first)
        X, Y = scratch(8 * height * P), scratch(8 * height * Q)
        for n in range(count):
            _split(x, (first + n) * 4 * P, P, 1, X, n * P, height * P)
        for m in range(8):
            multiply(
                Y, m * height * Q, Q,
                X, m * height * P, P, 1,
                flat_W, partner(m, 4) * P * Q, Q,
                count, P, Q, False,
            )  # fmt: skip
        for n in range(count):
            _merge(Y, n * Q, height * Q, y, (first + n) * 4 * Q, Q)


@_parallel
def _sums(x, g, W, N, P, Q, height):
    flat_W, parts = W.reshape(-1), W.shape[0]
    for part in prange(parts):
        k = np.int64(part)
        X, G = scratch(8 * height * P), scratch(8 * height * Q)
        end = (k + 1) * N // parts
        for first in range(k * N // parts, end, height):
            count = min(height, end - first)
            for n in range(count):
                _split(x, (first + n) * 4 * P, P, -1, X, n * P, height * P)
                _split(g, (first + n) * 4 * Q, Q, 1, G, n * Q, height * Q)
            for m in range(8):
                multiply(
                    flat_W, (8 * k + m) * P * Q, Q,
                    X, m * height * P, 1, P,
                    G, partner(m, 4) * height * Q, Q,
                    P, count, Q, True,
                )  # fmt: skip
