"""Quaternion layers with 8 products of matrices for the 16 of the definition.

    y = OUT ((LEFT w) (RIGHT x))        four rows of sums, eight products, eight rows of sums

Howell and Lafon (1975) found that eight multiplications do for a Hamilton product, in any ring:
matrices too. LEFT and RIGHT make eight sums of the four components of w and of x, OUT the four
components of y from the eight products. A product is linear in each factor, so the gradients are
the same three tables in other places, and cost the same eight products:

    dx = RIGHT^T ((LEFT w) (OUT^T g))        dw = LEFT^T ((OUT^T g) (RIGHT x))

That is half the arithmetic of the expanded weight, and a few additions. Rounding errors are small
beside the largest component, not beside each: 1.4 to 1.7 times those of 16 products.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from quatgrad.backend import Array, kernel
from quatgrad.kernels import gemm
from quatgrad.kernels.numba_cpu import hamilton8_rows as rows
from quatgrad.kernels.numba_cpu.arguments import read_only
from quatgrad.kernels.reference import Pair

# The form that leaves half of the operands as they are (Cariow and Cariowa 2021): with
# H = HADAMARD, h = H (H w * H x) / 4, w = (r, i, j, k), x = (a, b, c, d),
#     y = (2 r a - h_0, h_1 - 2 k c, h_2 - 2 i d, h_3 - 2 j b).
# All entries are 0 or plus or minus a power of two: multiplying by them rounds nothing.
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
_ONE = np.eye(4, dtype=int)
LEFT = np.vstack([2 * _ONE[[0, 3, 1, 2]], HADAMARD])  # r k i j
RIGHT = np.vstack([_ONE[[0, 2, 3, 1]], HADAMARD / 4])  # a c d b
OUT = np.array([[1], [-1], [-1], [-1]]) * np.hstack([_ONE, -HADAMARD])

#: Multiplications saved for each number moved in memory, below which 16 products are as fast.
PAYS = 40
#: The same for single rows and 1x1 windows, whose sums stay in cache: fewest quaternions.
QUATERNIONS = 24

#: Numbers of a weight that a thread mixes at a time: in cache.
CHUNK = 1 << 12

_parallel = njit(parallel=True, cache=True, error_model="numpy")


def pays(P: int, Q: int, *size: int) -> bool:
    """Whether, for one pixel or row, the saving is large beside the sums and the patches.

    Measured in one thread, the expanded weight's time over ours. Rows, forward and weight gradient:
    16 -> 64 quaternions 1.0, 0.9; 32 -> 128: 1.1, 1.4; 64 -> 256: 1.4, 2.0; 128 -> 512: 2.2, 1.7.
    3x3 windows of stride 2, forward and both gradients together: 16 -> 32 quaternions 0.9 (at 32
    multiplications for each number), 32 -> 64: 1.3 (at 64), 64 -> 128: 1.0 (at 128).
    """
    window = math.prod(size)
    if window == 1:
        return min(P, Q) >= QUATERNIONS
    return 8 * window * P * Q >= PAYS * (12 * (P + Q) + 4 * window * P)


# ------------------------------------------------------------------------- sums of planes


def _mix(table: Array, w: Array) -> Array:
    """sum_b table[a, b] w[b], for weights: (4, ...) -> (8, ...) or back.

    Not by a BLAS, whose threads spin for 25 ms after each product on the cores that ours want.
    """
    y = np.empty((len(table), *w.shape[1:]), w.dtype)
    _mix_rows(table.astype(w.dtype), read_only(w).reshape(len(w), -1), y.reshape(len(y), -1))
    return y


@_parallel
def _mix_rows(table, w, y):
    N = w.shape[1]
    for chunk in prange((N + CHUNK - 1) // CHUNK):
        start = np.int64(chunk) * CHUNK
        for a in range(len(y)):
            to = y[a, start : start + CHUNK]
            to[:] = 0
            for b in range(len(w)):
                factor, row = table[a, b], w[b, start : start + CHUNK]
                for n in range(len(to)):
                    to[n] += factor * row[n]


def _split(table: Array, x: Array) -> Array:
    """The eight sums of the components of x: (..., 4P) -> (8, ..., P)."""
    lead, P = x.shape[:-1], x.shape[-1] // 4
    y = np.empty((8, math.prod(lead), P), x.dtype)
    _split_rows(table.astype(x.dtype), read_only(x).reshape(-1, 4, P), y)
    return y.reshape(8, *lead, P)


@_parallel
def _split_rows(table, x, y):
    _, N, P = y.shape
    for n in prange(N):
        for m in range(8):
            a, b, c, d = table[m]
            for p in range(P):
                y[m, n, p] = (a * x[n, 0, p] + b * x[n, 1, p]) + (c * x[n, 2, p] + d * x[n, 3, p])


def _merge(table: Array, y: Array, out: Array) -> Array:
    """The four components from eight planes, into `out`: (8, ..., Q) -> (..., 4Q)."""
    Q = y.shape[-1]
    _merge_rows(table.astype(y.dtype), y.reshape(8, -1, Q), out.reshape(-1, 4, Q))
    return out


@_parallel
def _merge_rows(table, y, x):
    N, _, Q = x.shape
    for n in prange(N):
        for k in range(4):
            s, t, u, v, a, b, c, d = table[k]
            for q in range(Q):
                own = (s * y[0, n, q] + t * y[1, n, q]) + (u * y[2, n, q] + v * y[3, n, q])
                h = (a * y[4, n, q] + b * y[5, n, q]) + (c * y[6, n, q] + d * y[7, n, q])
                x[n, k, q] = own + h


# --------------------------------------------------------------------------------- linear


def hamilton_linear(x: Array, w: Array) -> Array:
    """w x, by eight products of blocks of rows; float64, for checking gradients, by sixteen."""
    if x.dtype != np.float32 or not pays(*w.shape[1:]):
        return gemm.hamilton_linear(x, w)
    return rows.products(x, w, 1)


def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """conj(w)^T g."""
    if g.dtype != np.float32 or not pays(*w.shape[1:]):
        return gemm.hamilton_linear_dx(g, w)
    return rows.products(g, w.swapaxes(1, 2), -1)


def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """The sum of g conj(x)."""
    if x.dtype != np.float32 or not pays(x.shape[1] // 4, g.shape[1] // 4):
        return gemm.hamilton_linear_dw(x, g)
    return rows.sums(x, g)


# ----------------------------------------------------- convolution: eight of the real ones


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """OUT ((RIGHT x) * (LEFT w)), * the convolution of a plane by a plane."""
    conv, planes = kernel("conv2d"), zip(_split(RIGHT, x), _mix(LEFT, w), strict=True)
    y = np.stack([conv(a, v, stride, padding) for a, v in planes])
    return _merge(OUT, y, np.empty((*y.shape[1:4], 4 * y.shape[4]), x.dtype))


def hamilton_conv2d_dx(
    g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair
) -> Array:
    """RIGHT^T (dx of the planes OUT^T g and LEFT w)."""
    conv, planes = kernel("conv2d_dx"), zip(_split(OUT.T, g), _mix(LEFT, w), strict=True)
    plane = (*shape[:3], shape[3] // 4)
    dx = np.stack([conv(b, v, plane, stride, padding) for b, v in planes])
    return _merge(RIGHT.T, dx, np.empty(shape, g.dtype))


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """LEFT^T (dw of the planes RIGHT x and OUT^T g)."""
    conv, planes = kernel("conv2d_dw"), zip(_split(RIGHT, x), _split(OUT.T, g), strict=True)
    return _mix(LEFT.T, np.stack([conv(a, b, size, stride, padding) for a, b in planes]))
