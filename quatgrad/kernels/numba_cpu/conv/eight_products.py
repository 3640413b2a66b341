"""Quaternion layers with 8 products of matrices for the 16 of the definition.

Howell and Lafon (1975) found that eight multiplications do for a Hamilton product, in any ring in
which one can divide by 4, so for matrices too. With H = `hadamard` (Cariow and Cariowa 2021),
w = (r, i, j, k), x = (a, b, c, d) and

    h = H (H w * H x) / 4:      w x = (2 r a - h_0, h_1 - 2 k c, h_2 - 2 i d, h_3 - 2 j b)

So each factor becomes eight *planes*, its components and their four sums (`split`), eight pairs of
planes are multiplied (`paired_plane` says which), and the products make the components (`merged`).
The gradients are Hamilton products as well, and cost the same eight:

    y = w x        dx = conj(w) g        dw = g conj(x)

That is half the arithmetic of the expanded weight, and a few additions. Rounding errors are small
relative to the largest component, not to each: 1.4 to 1.7 times as large as by 16 products.
"""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.conv import eight_products_rows as rows
from quatgrad.kernels.numba_cpu.conv.eight_products_rows import merge_run, split_run
from quatgrad.kernels.numba_cpu.conv.products import PRODUCTS
from quatgrad.kernels.numba_cpu.conv.winograd_tiles import paired_plane
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only
from quatgrad.kernels.numba_cpu.machine.cache import L1
from quatgrad.kernels.numba_cpu.simd.partial_sums import sum_of_parts
from quatgrad.kernels.reference.conv import Shape
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.reference.sums import MOST
from quatgrad.kernels.registry import Kernel, register

#: Multiplications saved for each number moved in memory, below which 16 products are as fast.
MIN_SAVINGS = 36
#: Fewest quaternions for rows and 1x1 windows, whose sums stay in cache; and products of a row, but
#: for weight gradients.
ROW_QUATERNIONS, ROW_PRODUCTS = 16, 1024

#: Numbers of a component that a thread splits or merges at a time.
CHUNK = L1 // 2

#: The planes of x and of w that are multiplied.
PAIRS = [(m, paired_plane.py_func(m, 4)) for m in range(8)]


def is_profitable(P: int, Q: int, *size: int, dw: bool = False) -> bool:
    """Whether, for one pixel or row, more time is saved than the sums and the patches take.

    Measured in one thread, the expanded weight's time over ours, on a processor that multiplies 16
    numbers in a cycle; in brackets on one that multiplies 32, where sums weigh more. 4096 rows,
    forward and weight gradient: 16 -> 16 quaternions 0.8, 1.1; 16 -> 32: 1.0, 1.4; 16 -> 64: 1.3,
    1.6 (0.9, 1.3); 32 -> 32: 1.3, 1.6; 32 -> 64: 1.5, 1.7. Vectors that are filled only in part
    cost as much as whole ones: 75 -> 25 has 1.2, 1.3, 24 -> 24 has 0.9, 1.0 (0.7, 0.8).
    3x3 windows of stride 2, forward and both gradients together: 16 -> 32 quaternions 1.4 (0.9; at
    32 multiplications for each number), 32 -> 32: 1.4 (at 38), 32 -> 64: 1.6 (1.3; at 64).
    """
    window = math.prod(size)
    if window == 1:
        return min(P, Q) >= ROW_QUATERNIONS and (dw or P * Q >= ROW_PRODUCTS)
    return 8 * window * P * Q >= MIN_SAVINGS * (12 * (P + Q) + 4 * window * P)


# --------------------------------------------------------------------------------- planes


def _planes(x: Array, sign: int = 1) -> Array:
    """The planes of rows x (N, 4P), of their conjugates for the sign -1: (8, N, P)."""
    N, P = len(x), x.shape[1] // 4
    X = empty((8, N, P), x.dtype)
    _split_rows(read_only(x).reshape(-1), X.reshape(-1), N, P, sign)
    return X


@parallel
def _split_rows(x, X, N, P, sign):
    chunks = (P + CHUNK - 1) // CHUNK
    for task in prange(N * chunks):
        n, chunk = divmod(np.int64(task), chunks)
        p = chunk * CHUNK
        width = min(CHUNK, P - p)
        split_run(x, 4 * n * P + p, P, width, sign, X, n * P + p, N * P)


def _components(Y: Array) -> Array:
    """The rows (N, 4Q) of which Y (8, N, Q) are the products."""
    _, N, Q = Y.shape
    y = empty((N, 4 * Q), Y.dtype)
    _merge_rows(Y.reshape(-1), y.reshape(-1), N, Q)
    return y


@parallel
def _merge_rows(Y, y, N, Q):
    chunks = (Q + CHUNK - 1) // CHUNK
    for task in prange(N * chunks):
        n, chunk = divmod(np.int64(task), chunks)
        q = chunk * CHUNK
        merge_run(Y, n * Q + q, N * Q, y, 4 * n * Q + q, Q, min(CHUNK, Q - q))


# --------------------------------------------------------------------------------- linear


@register
def hamilton_linear(x: Array, w: Array) -> Array:
    """w x, by eight products of blocks of rows; float64, for checking gradients, by sixteen."""
    if x.dtype != np.float32 or not is_profitable(*w.shape[1:]):
        return PRODUCTS.hamilton_linear(x, w)
    return rows.products(x, w, 1)


@register
def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """conj(w)^T g."""
    if g.dtype != np.float32 or not is_profitable(*w.shape[1:]):
        return PRODUCTS.hamilton_linear_dx(g, w)
    return rows.products(g, w.swapaxes(1, 2), -1)


@register
def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """The sum of g conj(x)."""
    if x.dtype != np.float32 or not is_profitable(x.shape[1] // 4, g.shape[1] // 4, dw=True):
        return PRODUCTS.hamilton_linear_dw(x, g)
    if len(x) <= 2 * MOST:
        return rows.sums(x, g)
    return call(sum_of_parts, lambda n: rows.sums(x[n], g[n]), len(x))


# ----------------------------------------------------- convolution: eight of the real ones


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair, conv: Kernel) -> Array:
    """w x; `conv` writes the real conv2d to its first argument."""
    X, W, out = _of_maps(x), _of_weights(w), out_size(x.shape[1:3], w.shape[1:3], stride, padding)
    Y = empty((8, len(x), *out, w.shape[4]), x.dtype)
    for y, (m, n) in zip(Y, PAIRS, strict=True):
        conv(y, X[m], W[n], stride, padding)
    return _to_maps(Y)


def conv2d_dx(
    g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair, conv_dx: Kernel
) -> Array:
    """conj(w) g; `conv_dx` writes the real conv2d_dx to its first argument."""
    G, W, X = _of_maps(g), _of_weights(w, -1), empty((8, *shape[:3], shape[3] // 4), g.dtype)
    for x, (m, n) in zip(X, PAIRS, strict=True):
        conv_dx(x, G[m], W[n], stride, padding)
    return _to_maps(X)


def conv2d_dw(
    x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair, conv_dw: Kernel
) -> Array:
    """g conj(x), summed over the places of the windows; conv_dw is the real conv2d_dw."""
    X, G = _of_maps(x, -1), _of_maps(g)
    dw = call(np.stack, [conv_dw(X[m], G[n], shape[1:], stride, padding) for m, n in PAIRS])
    return _components(dw.reshape(8, 1, -1)).reshape(shape)


def _of_maps(x: Array, sign: int = 1) -> Array:
    """The planes of maps (N, H, W, 4P): (8, N, H, W, P)."""
    *lead, P4 = x.shape
    return _planes(x.reshape(-1, P4), sign).reshape(8, *lead, P4 // 4)


def _of_weights(w: Array, sign: int = 1) -> Array:
    """The planes of a weight (4, U, V, P, Q): (8, U, V, P, Q)."""
    return _planes(w.reshape(1, -1), sign).reshape(8, *w.shape[1:])


def _to_maps(Y: Array) -> Array:
    """Maps (N, I, J, 4Q) of their eight products Y (8, N, I, J, Q)."""
    _, *lead, Q = Y.shape
    return _components(Y.reshape(8, -1, Q)).reshape(*lead, 4 * Q)
