"""Patches of maps and their adjoint, and how a window slides over a map.

A forward kernel shares the rows (n, i) of its output among the threads, a gradient the rows
(n, h) of the map it fills. Each row has one owner that adds in a fixed order: nothing races, and
the bits do not depend on the number of threads. The innermost loop runs over memory that is
contiguous (the channels, or the channels of neighbouring pixels), so the compiler vectorises it.
"""

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.rows import add, copy, zero
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.registry import register


@serial
def split_row(row, rows):
    """The image and the row in it. (prange counts in uint64, which with int64 makes a float64.)"""
    return divmod(np.int64(row), rows)


@serial
def inside(start, window, size):
    """The offsets lo <= v < hi of a window at `start` that meet a map of `size` pixels."""
    lo = min(max(0, -start), window)
    return lo, max(lo, min(window, size - start))


@serial
def output_row(h, u, stride, padding, I):
    """The row i of the output whose window meets row h at offset u, or -1 where none does."""
    i, rest = divmod(h + padding - u, stride)
    return i if rest == 0 and 0 <= i < I else -1


# Loops over whole slices: with indices that start at 0, Numba knows that none is negative, and
# the compiler vectorises (a loop over k in range(lo, hi) runs at a tenth of the speed).


@register
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


@parallel
def _patches(x, P, C, stride, padding):
    N, I, J, U, VC = P.shape
    H, W, V = x.shape[1], x.shape[2] // C, VC // C
    for row in prange(N * I):
        n, i = split_row(row, I)
        for j in range(J):
            left = j * stride[1] - padding[1]
            lo, hi = inside(left, V, W)
            for u in range(U):
                h = i * stride[0] + u - padding[0]
                if 0 <= h < H:
                    zero(P[n, i, j, u, : lo * C])
                    copy(P[n, i, j, u, lo * C : hi * C], x[n, h, (left + lo) * C :])
                    zero(P[n, i, j, u, hi * C :])
                else:
                    zero(P[n, i, j, u])


@register
def unpatches(P: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """`reference.unpatches`: each row of x gathers the patches that were taken from it."""
    if P.shape[3:5] == stride == (1, 1) and padding == (0, 0):
        return P[:, :, :, 0, 0]
    N, H, W, C = shape
    x = np.empty((N, H, W * C), P.dtype)
    runs = read_only(P).reshape(*P.shape[:4], P.shape[4] * C)
    _unpatches(runs, x, C, stride, padding)
    return x.reshape(N, H, W, C)


@parallel
def _unpatches(P, x, C, stride, padding):
    _, I, J, U, VC = P.shape
    N, H, WC = x.shape
    W, V = WC // C, VC // C
    for row in prange(N * H):
        n, h = split_row(row, H)
        zero(x[n, h])
        for u in range(U):
            i = output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                lo, hi = inside(left, V, W)
                add(x[n, h, (left + lo) * C : (left + hi) * C], P[n, i, j, u, lo * C :])
