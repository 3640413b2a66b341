"""Convolutions and quaternion layers as matrix products: quick on any array module with a BLAS.

A convolution is its patches, laid out as the rows of a matrix, times the weight; a quaternion
layer is the real layer of its expanded weight, and its weight gradient is folded back.
"""

from typing import NamedTuple

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.arithmetic import matmul
from quatgrad.kernels.reference.conv import Shape, window_size
from quatgrad.kernels.reference.patches import Pair, out_size, pad, unpatches, window
from quatgrad.kernels.reference.quaternion import HAMILTON
from quatgrad.kernels.registry import Kernel, register

#: For every block (b, c) of the expanded weight: which component stands there, and its sign.
_BLOCK = {
    (b, c): (a, int(HAMILTON[a, b, c]))
    for a in range(4)
    for b in range(4)
    for c in range(4)
    if HAMILTON[a, b, c]
}


@register
def expand(w: Array) -> Array:
    """`reference.expand` without multiplications: each block of W is plus or minus a component."""
    _, *lead, P, Q = w.shape
    W = array_module(w).empty((*lead, 4, P, 4, Q), w.dtype)
    for (b, c), (a, sign) in _BLOCK.items():
        W[..., b, :, c, :] = w[a] if sign > 0 else -w[a]
    return W.reshape(*lead, 4 * P, 4 * Q)


@register
def fold(W: Array) -> Array:
    """`reference.fold`: the sum, with signs, of the four blocks in which each component stands."""
    *lead, P4, Q4 = W.shape
    W = W.reshape(*lead, 4, P4 // 4, 4, Q4 // 4)
    w = array_module(W).zeros((4, *lead, P4 // 4, Q4 // 4), W.dtype)
    for (b, c), (a, sign) in _BLOCK.items():
        w[a] += W[..., b, :, c, :] if sign > 0 else -W[..., b, :, c, :]
    return w


@register
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


class Products(NamedTuple):
    """Layers by matrix products, made of five kernels. A faster rung gives its own five."""

    matmul: Kernel
    expand: Kernel
    fold: Kernel
    patches: Kernel
    unpatches: Kernel

    def hamilton_linear(self, x: Array, w: Array) -> Array:
        """x expand(w)."""
        return self.matmul(x, self.expand(w))

    def hamilton_linear_dx(self, g: Array, w: Array) -> Array:
        """g expand(w)^T."""
        return self.matmul(g, self.expand(w).T)

    def hamilton_linear_dw(self, x: Array, g: Array) -> Array:
        """fold(x^T g)."""
        return self.fold(self.matmul(x.T, g))

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
        """Patches (N I J, U V P) times weight (U V P, Q)."""
        w = self.expand(w) if w.ndim == 5 else w
        size, Q = w.shape[:2], w.shape[3]
        I, J = out_size(x.shape[1:3], size, stride, padding)
        W = w.reshape(-1, Q)
        y = array_module(x).empty((len(x), I, J, Q), x.dtype)
        for block in _blocks(y, len(W)):
            P = self.patches(x[block], size, stride, padding)
            y[block] = self.matmul(P.reshape(-1, len(W)), W).reshape(*P.shape[:3], Q)
        return y

    def conv2d_dx(self, g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
        """Gradient (N I J, Q) times weight^T (Q, U V P), added back where the patches came from."""
        w = self.expand(w) if w.ndim == 5 else w
        W = w.reshape(-1, w.shape[3])
        dx = array_module(g).empty(shape, g.dtype)
        for block in _blocks(g, len(W)):
            P = self.matmul(g[block].reshape(-1, g.shape[3]), W.T)
            P = P.reshape(*g[block].shape[:3], *w.shape[:3])
            dx[block] = self.unpatches(P, dx[block].shape, stride, padding)
        return dx

    def conv2d_dw(self, x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
        """Patches^T (U V P, N I J) times gradient (N I J, Q); folded if dw is of quaternions."""
        (U, V), P, Q = window_size(shape), x.shape[3], g.shape[3]
        dw = array_module(x).zeros((U * V * P, Q))  # float64: there may be many blocks
        for block in _blocks(g, len(dw)):
            rows = self.patches(x[block], (U, V), stride, padding).reshape(-1, len(dw))
            dw += self.matmul(rows.T, g[block].reshape(-1, Q))
        dw = dw.astype(x.dtype).reshape(U, V, P, Q)
        return self.fold(dw) if len(shape) == 5 else dw


def _blocks(y: Array, K: int) -> list[slice]:
    """Images in blocks whose patches, K numbers for each pixel of y (N, I, J, Q), stay in cache.

    Written to memory and read back they cost more than the product: at 64 channels of 32 x 32
    pixels, blocks of 4 MB made the convolution 1.6 times and its dx 2.2 times as fast. The wider
    the product, the more is done with each number of a patch, and the larger a block may be.
    """
    # On a GPU, few launches count more.
    limit = max(4 << 20, y.shape[-1] << 16) if array_module(y) is np else 1 << 30
    image = max(y[0].size // y.shape[3] * K * y.itemsize, 1) if len(y) else 1
    step = max(1, limit // image)
    return [slice(n, n + step) for n in range(0, len(y), step)]


_products = Products(matmul, expand, fold, patches, unpatches)
hamilton_linear = register(_products.hamilton_linear)
hamilton_linear_dx = register(_products.hamilton_linear_dx)
hamilton_linear_dw = register(_products.hamilton_linear_dw)
conv2d = register(_products.conv2d)
conv2d_dx = register(_products.conv2d_dx)
conv2d_dw = register(_products.conv2d_dw)
