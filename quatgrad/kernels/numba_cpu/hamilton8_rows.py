"""Eight products of a quaternion layer, block by block of rows: their sums never leave the cache.

A block of rows of x becomes eight planes, these are multiplied by the eight of w, and the products
become a block of y. Written to memory and read back, the planes would cost a narrow layer more
than the eight products save. The form is that of `winograd`, which treats the two factors alike:
y = w x, dx = conj(w) g, dw = g conj(x). float32 only; `hamilton8` has the story.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from quatgrad.backend import Array
from quatgrad.kernels.numba_cpu.arguments import empty, read_only
from quatgrad.kernels.numba_cpu.matmul import DEPTH, WIDTH
from quatgrad.kernels.numba_cpu.multiply import multiply
from quatgrad.kernels.numba_cpu.parts import how_many, total
from quatgrad.kernels.numba_cpu.vector import LANES, load, scratch, store, transpose
from quatgrad.kernels.numba_cpu.winograd_tiles import merged, partner, split

_parallel = njit(parallel=True, cache=True, error_model="numpy")
_helper = njit(cache=True, error_model="numpy")

#: Rows of a block, at most: so often is a weight used that does not stay in cache beside them.
HEIGHT = 128
#: Rows of a weight gradient that a thread sums at a time, at most: its eight planes stay in cache.
ACROSS = 128


def products(x: Array, w: Array, sign: int) -> Array:
    """w x, or conj(w) x for the sign -1, summed over p: x (N, 4P), w (4, P, Q) -> (N, 4Q)."""
    _, P, Q = w.shape
    panels = -(-Q // WIDTH)
    y, W = empty((len(x), 4 * Q), x.dtype), empty((8, panels * P * WIDTH), x.dtype)
    turned = w.swapaxes(1, 2)
    if turned.flags.c_contiguous:
        _planes_turned(read_only(turned).reshape(-1), W.reshape(-1), P, Q, sign)
    else:
        _planes(read_only(w).reshape(-1), W.reshape(-1), P, Q, sign)
    height = max(1, min(HEIGHT, -(-len(x) // get_num_threads())))
    _products(read_only(x).reshape(-1), W, y.reshape(-1), len(x), P, Q, height)
    return y


def sums(x: Array, g: Array) -> Array:
    """g conj(x), summed over rows: x (N, 4P), g (N, 4Q) -> (4, P, Q)."""
    N, P, Q = len(x), x.shape[1] // 4, g.shape[1] // 4
    if not N:
        return np.zeros((4, P, Q), x.dtype)
    blocks = -(-P // ACROSS)
    parts = min(max(1, how_many(4 * P * Q) // blocks), -(-N // (2 * HEIGHT)))
    threads, w = get_num_threads(), empty((parts, 4, P, Q), x.dtype)
    across = ACROSS if parts * blocks >= threads else -(-P // threads)
    flat_x, flat_g = read_only(x).reshape(-1), read_only(g).reshape(-1)
    _sums(flat_x, flat_g, w.reshape(-1), N, P, Q, parts, across)
    return total(w) if parts > 1 else w[0]


@_helper
def _room(n):
    """Numbers of a row of n, so that rows begin in whole vectors and not on the same lines."""
    return (n + LANES - 1) // LANES * LANES + LANES


@_helper
def split_run(x, at, far, P, sign, X, to, step):
    """X: the eight planes, `step` apart, of four runs of P numbers, `far` apart, in x: see `split`.

    A `sign` of -1 takes the conjugate.
    """
    for p in range(0, P, LANES):
        width, k, v = min(LANES, P - p), at + p, to + p
        a, b = load(x, k, width), sign * load(x, k + far, width)
        c, d = sign * load(x, k + 2 * far, width), sign * load(x, k + 3 * far, width)
        split(a, b, c, d, X, v, step, width)


@_helper
def merge_run(Y, at, step, y, to, far, Q):
    """y: four runs of Q numbers, `far` apart, of their eight products, `step` apart: `merged`."""
    for q in range(0, Q, LANES):
        width, k = min(LANES, Q - q), to + q
        m = merged(Y, at + q, step, width)
        store(m[0], y, k, width)
        store(m[1], y, k + far, width)
        store(m[2], y, k + 2 * far, width)
        store(m[3], y, k + 3 * far, width)


# The eight planes of a weight in panels of WIDTH columns, as `multiply` likes to have them:
# number (p, q) of plane m is at W[m step + q // WIDTH P WIDTH + p WIDTH + q % WIDTH].


@_parallel
def _planes(w, W, P, Q, sign):
    """Of a weight (4, P, Q), flat."""
    step = len(W) // 8
    for row in prange(P):
        p = np.int64(row)
        for q in range(0, Q, WIDTH):
            to = (q // WIDTH * P + p) * WIDTH
            split_run(w, p * Q + q, P * Q, min(WIDTH, Q - q), sign, W, to, step)


@_parallel
def _planes_turned(w, W, P, Q, sign):
    """Of a weight (4, Q, P), flat."""
    step, square = len(W) // 8, LANES * LANES
    for block in prange((P + LANES - 1) // LANES):
        first = np.int64(block) * LANES
        rows, T = min(LANES, P - first), scratch(4 * square)
        for q in range(0, Q, LANES):
            for c in range(4):
                at = (c * Q + q) * P + first
                transpose(w, at, P, Q - q, rows, T, c * square, LANES)
            for r in range(rows):
                to = (q // WIDTH * P + first + r) * WIDTH + q % WIDTH
                split_run(T, r * LANES, square, LANES, sign, W, to, step)


@_parallel
def _products(x, W, y, N, P, Q, height):
    flat_W, step_W, row, line = W.reshape(-1), W.shape[1], _room(P), _room(Q)
    for task in prange((N + height - 1) // height):
        first = np.int64(task) * height
        count = min(height, N - first)
        X, Y = scratch(8 * height * row), scratch(8 * height * line)
        for n in range(count):
            split_run(x, (first + n) * 4 * P, P, P, 1, X, n * row, height * row)
        for m in range(8):
            for q in range(0, Q, WIDTH):
                for p in range(0, P, DEPTH):
                    multiply(
                        Y, m * height * line + q, line,
                        X, m * height * row + p, row, 1,
                        flat_W, partner(m, 4) * step_W + (q // WIDTH * P + p) * WIDTH, WIDTH,
                        count, min(DEPTH, P - p), min(WIDTH, Q - q), p > 0,
                    )  # fmt: skip
        for n in range(count):
            merge_run(Y, n * line, height * line, y, (first + n) * 4 * Q, Q, Q)


@_parallel
def _sums(x, g, w, N, P, Q, parts, across):
    blocks, line = (P + across - 1) // across, _room(Q)
    for task in prange(parts * blocks):
        k, block = divmod(np.int64(task), blocks)
        p, start, end = block * across, k * N // parts, (k + 1) * N // parts
        wide = min(across, P - p)
        row = _room(wide)
        X, G = scratch(8 * HEIGHT * row), scratch(8 * HEIGHT * line)
        W = scratch(8 * wide * line)
        for first in range(start, end, HEIGHT):
            count = min(HEIGHT, end - first)
            for n in range(first, first + count):
                split_run(x, n * 4 * P + p, P, wide, -1, X, (n - first) * row, HEIGHT * row)
                split_run(g, n * 4 * Q, Q, Q, 1, G, (n - first) * line, HEIGHT * line)
            for m in range(8):
                multiply(
                    W, m * wide * line, line,
                    X, m * HEIGHT * row, 1, row,
                    G, partner(m, 4) * HEIGHT * line, line,
                    wide, count, Q, first > start,
                )  # fmt: skip
        for r in range(wide):
            to = (4 * k * P + p + r) * Q
            merge_run(W, r * line, wide * line, w, to, P * Q, Q)
