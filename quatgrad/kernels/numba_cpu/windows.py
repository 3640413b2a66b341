"""Kernels that slide a window over maps: patches and pooling, and the gradients of both.

A forward kernel shares the rows (n, i) of its output among the threads, a gradient the rows
(n, h) of the map it fills. Each row has one owner that adds in a fixed order: nothing races, and
the bits do not depend on the number of threads. The innermost loop runs over memory that is
contiguous (the channels, or the channels of neighbouring pixels), so the compiler vectorises it.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.arguments import read_only
from quatgrad.kernels.reference import Pair, out_size

_parallel = njit(parallel=True, cache=True, error_model="numpy")


@njit(cache=True)
def _split(row, rows):
    """The image and the row in it. (prange counts in uint64, which with int64 makes a float64.)"""
    return divmod(np.int64(row), rows)


@njit(cache=True)
def _inside(start, window, size):
    """The offsets lo <= v < hi of a window at `start` that meet a map of `size` pixels."""
    lo = min(max(0, -start), window)
    return lo, max(lo, min(window, size - start))


@njit(cache=True)
def _output_row(h, u, stride, padding, I):
    """The row i of the output whose window meets row h at offset u, or -1 where none does."""
    i, rest = divmod(h + padding - u, stride)
    return i if rest == 0 and 0 <= i < I else -1


# Loops over whole slices: with indices that start at 0, Numba knows that none is negative, and
# the compiler vectorises (a loop over k in range(lo, hi) runs at a tenth of the speed).


@njit(cache=True)
def _zero(to):
    for k in range(len(to)):
        to[k] = 0


@njit(cache=True)
def _copy(to, a):
    for k in range(len(to)):
        to[k] = a[k]


@njit(cache=True)
def _add(to, a):
    for k in range(len(a)):
        to[k] += a[k]


# ------------------------------------------------------------------------------ patches


def patches(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.patches`: copies whole rows of windows, V C numbers at a time."""
    if size == stride == (1, 1) and padding == (0, 0):
        return x[:, :, :, None, None]  # a map is its own 1 x 1 patches: no copy
    N, H, W, C = x.shape
    I, J = out_size((H, W), size, stride, padding)
    P = np.empty((N, I, J, *size, C), x.dtype)
    runs = P.reshape(N, I, J, size[0], size[1] * C)
    _patches(read_only(x).reshape(N, H, W * C), runs, C, stride, padding)
    return P


@_parallel
def _patches(x, P, C, stride, padding):
    N, I, J, U, VC = P.shape
    H, W, V = x.shape[1], x.shape[2] // C, VC // C
    for row in prange(N * I):
        n, i = _split(row, I)
        for j in range(J):
            left = j * stride[1] - padding[1]
            lo, hi = _inside(left, V, W)
            for u in range(U):
                h = i * stride[0] + u - padding[0]
                if 0 <= h < H:
                    _zero(P[n, i, j, u, : lo * C])
                    _copy(P[n, i, j, u, lo * C : hi * C], x[n, h, (left + lo) * C :])
                    _zero(P[n, i, j, u, hi * C :])
                else:
                    _zero(P[n, i, j, u])


def unpatches(P: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """`reference.unpatches`: each row of x gathers the patches that were taken from it."""
    if P.shape[3:5] == stride == (1, 1) and padding == (0, 0):
        return P[:, :, :, 0, 0]
    N, H, W, C = shape
    x = np.empty((N, H, W * C), P.dtype)
    runs = read_only(P).reshape(*P.shape[:4], P.shape[4] * C)
    _unpatches(runs, x, C, stride, padding)
    return x.reshape(N, H, W, C)


@_parallel
def _unpatches(P, x, C, stride, padding):
    _, I, J, U, VC = P.shape
    N, H, WC = x.shape
    W, V = WC // C, VC // C
    for row in prange(N * H):
        n, h = _split(row, H)
        _zero(x[n, h])
        for u in range(U):
            i = _output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                lo, hi = _inside(left, V, W)
                _add(x[n, h, (left + lo) * C :], P[n, i, j, u, lo * C : hi * C])


# -------------------------------------------------------------------------- max pooling


def max_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """`reference.max_pool`: one look at each window, all channels side by side."""
    N, H, W, C = x.shape
    shape = (N, *out_size((H, W), size, stride, padding), C)
    y, winner = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    _max_pool(read_only(x), y, winner, size, stride, padding)
    return y, winner


@_parallel
def _max_pool(x, y, winner, size, stride, padding):
    _, H, W, C = x.shape
    N, I, J, _ = y.shape
    for row in prange(N * I):
        n, i = _split(row, I)
        top = i * stride[0] - padding[0]
        u0, u1 = _inside(top, size[0], H)
        for j in range(J):
            left = j * stride[1] - padding[1]
            v0, v1 = _inside(left, size[1], W)
            for c in range(C):
                y[n, i, j, c] = -np.inf
                winner[n, i, j, c] = 0
            for u in range(u0, u1):
                for v in range(v0, v1):
                    offset = np.int32(u * size[1] + v)
                    for c in range(C):
                        new, best = x[n, top + u, left + v, c], y[n, i, j, c]
                        # The first NaN wins, as in numpy.max; & because `and` would branch.
                        wins = ((new > best) | (new != new)) & (best == best)
                        y[n, i, j, c] = new if wins else best
                        winner[n, i, j, c] = offset if wins else winner[n, i, j, c]


def max_pool_dx(
    g: Array, winner: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """`reference.max_pool_dx`: each pixel asks the windows over it whether it won."""
    dx = np.empty(shape, g.dtype)
    _max_pool_dx(read_only(g), read_only(winner, np.int32), dx, size, stride, padding)
    return dx


@_parallel
def _max_pool_dx(g, winner, dx, size, stride, padding):
    N, H, W, C = dx.shape
    _, I, J, _ = g.shape
    for row in prange(N * H):
        n, h = _split(row, H)
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for u in range(size[0]):
            i = _output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                v0, v1 = _inside(left, size[1], W)
                for v in range(v0, v1):
                    offset = np.int32(u * size[1] + v)
                    for c in range(C):
                        old = dx[n, h, left + v, c]
                        won = winner[n, i, j, c] == offset
                        dx[n, h, left + v, c] = old + g[n, i, j, c] if won else old


# ---------------------------------------------------------------------- average pooling


def avg_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool`: sums each window where it lies."""
    N, H, W, C = x.shape
    y = np.empty((N, *out_size((H, W), size, stride, padding), C), x.dtype)
    _avg_pool(read_only(x), y, x.dtype.type(1 / (size[0] * size[1])), size, stride, padding)
    return y


@_parallel
def _avg_pool(x, y, share, size, stride, padding):
    _, H, W, C = x.shape
    N, I, J, _ = y.shape
    for row in prange(N * I):
        n, i = _split(row, I)
        top = i * stride[0] - padding[0]
        u0, u1 = _inside(top, size[0], H)
        for j in range(J):
            left = j * stride[1] - padding[1]
            v0, v1 = _inside(left, size[1], W)
            for c in range(C):
                y[n, i, j, c] = 0
            for u in range(u0, u1):
                for v in range(v0, v1):
                    for c in range(C):
                        y[n, i, j, c] += x[n, top + u, left + v, c]
            for c in range(C):
                y[n, i, j, c] *= share


def avg_pool_dx(g: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool_dx`: each pixel collects its share from the windows over it."""
    dx = np.empty(shape, g.dtype)
    share = g.dtype.type(1 / (size[0] * size[1]))
    _avg_pool_dx(read_only(g), dx, share, size, stride, padding)
    return dx


@_parallel
def _avg_pool_dx(g, dx, share, size, stride, padding):
    N, H, W, C = dx.shape
    _, I, J, _ = g.shape
    for row in prange(N * H):
        n, h = _split(row, H)
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for u in range(size[0]):
            i = _output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                v0, v1 = _inside(left, size[1], W)
                for v in range(v0, v1):
                    for c in range(C):
                        dx[n, h, left + v, c] += share * g[n, i, j, c]
