"""Convolutions and quaternion layers as matrix products: quick on any array module with a BLAS.

A convolution is its patches, laid out as the rows of a matrix, times the weight; a quaternion
layer is the real layer of its expanded weight, and its weight gradient is folded back.
"""

from __future__ import annotations

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference import HAMILTON, Pair, out_size, pad, window
from quatgrad.kernels.registry import kernel

#: For every block (b, c) of the expanded weight: which component stands there, and its sign.
_BLOCK = {
    (b, c): (a, int(HAMILTON[a, b, c]))
    for a in range(4)
    for b in range(4)
    for c in range(4)
    if HAMILTON[a, b, c]
}


def expand(w: Array) -> Array:
    """`reference.expand` without multiplications: each block of W is plus or minus a component."""
    _, *lead, P, Q = w.shape
    W = array_module(w).empty((*lead, 4, P, 4, Q), w.dtype)
    for (b, c), (a, sign) in _BLOCK.items():
        W[..., b, :, c, :] = w[a] if sign > 0 else -w[a]
    return W.reshape(*lead, 4 * P, 4 * Q)


def fold(W: Array) -> Array:
    """`reference.fold`: the sum, with signs, of the four blocks in which each component stands."""
    *lead, P4, Q4 = W.shape
    W = W.reshape(*lead, 4, P4 // 4, 4, Q4 // 4)
    w = array_module(W).zeros((4, *lead, P4 // 4, Q4 // 4), W.dtype)
    for (b, c), (a, sign) in _BLOCK.items():
        w[a] += W[..., b, :, c, :] if sign > 0 else -W[..., b, :, c, :]
    return w


def hamilton_linear(x: Array, w: Array) -> Array:
    """x expand(w)."""
    return kernel("matmul")(x, kernel("expand")(w))


def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """g expand(w)^T."""
    return kernel("matmul")(g, kernel("expand")(w).T)


def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """fold(x^T g)."""
    return kernel("fold")(kernel("matmul")(x.T, g))


def patches(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.patches`, one window offset at a time."""
    out = out_size(x.shape[1:3], size, stride, padding)
    x = pad(x, padding)
    if size == (1, 1):
        return window(x, 0, 0, stride, out)[:, :, :, None, None]
    P = array_module(x).empty((len(x), *out, *size, x.shape[3]), x.dtype)
    for u in range(size[0]):
        for v in range(size[1]):
            P[:, :, :, u, v] = window(x, u, v, stride, out)
    return P


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """Patches (N I J, U V P) times weight (U V P, Q)."""
    size, Q = w.shape[:2], w.shape[3]
    I, J = out_size(x.shape[1:3], size, stride, padding)
    W = w.reshape(-1, Q)
    y = array_module(x).empty((len(x), I, J, Q), x.dtype)
    for block in _blocks(y, len(W)):
        P = kernel("patches")(x[block], size, stride, padding)
        y[block] = kernel("matmul")(P.reshape(-1, len(W)), W).reshape(*P.shape[:3], Q)
    return y


def conv2d_dx(g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """Gradient (N I J, Q) times weight^T (Q, U V P), added back where the patches came from."""
    W = w.reshape(-1, w.shape[3])
    dx = array_module(g).empty(shape, g.dtype)
    for block in _blocks(g, len(W)):
        P = kernel("matmul")(g[block].reshape(-1, g.shape[3]), W.T)
        P = P.reshape(*g[block].shape[:3], *w.shape[:3])
        dx[block] = kernel("unpatches")(P, dx[block].shape, stride, padding)
    return dx


def conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Patches^T (U V P, N I J) times gradient (N I J, Q)."""
    K, Q = size[0] * size[1] * x.shape[3], g.shape[3]
    dw = array_module(x).zeros((K, Q), x.dtype)
    for block in _blocks(g, K):
        P = kernel("patches")(x[block], size, stride, padding)
        dw += kernel("matmul")(P.reshape(-1, K).T, g[block].reshape(-1, Q))
    return dw.reshape(*size, x.shape[3], Q)


def _blocks(y: Array, K: int) -> list[slice]:
    """Images in blocks whose patches, K numbers for each pixel of y (N, I, J, Q), stay in cache.

    Written to memory and read back they cost more than the product: at 64 channels of 32 x 32
    pixels, blocks of 4 MB made the convolution 1.6 times and its dx 2.2 times as fast.
    """
    limit = 4 << 20 if array_module(y) is np else 1 << 30  # on a GPU, few launches count more
    image = max(y[0].size // y.shape[3] * K * y.itemsize, 1) if len(y) else 1
    step = max(1, limit // image)
    return [slice(n, n + step) for n in range(0, len(y), step)]


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """The real convolution with the expanded weight."""
    return conv2d(x, kernel("expand")(w), stride, padding)


def hamilton_conv2d_dx(
    g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair
) -> Array:
    """The real input gradient with the expanded weight."""
    return conv2d_dx(g, kernel("expand")(w), shape, stride, padding)


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """The real weight gradient, folded."""
    return kernel("fold")(conv2d_dw(x, g, size, stride, padding))
