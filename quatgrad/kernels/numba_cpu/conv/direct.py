"""Convolutions straight from the map: no patches are written.

The windows of a row of the output, stretched out, are the rows of a matrix that already lies in
memory: window j of row h starts at x[n, h, j s] and goes on for V pixels. They overlap, which a
product of matrices does not mind, so for every row i of the output and every row u of the window

    y[n, i] (J, Q) += windows of x[n, i s + u] (J, V P)  times  w[u] (V P, Q)

The gradients are the same products with another factor on the left side. A map is copied once,
with its border of zeros, image by image, so that it stays in cache.
"""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.machine.cache import L2
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.partial_sums import how_many, total
from quatgrad.kernels.numba_cpu.simd.vector import scratch
from quatgrad.kernels.reference.conv import Shape
from quatgrad.kernels.reference.patches import Pair, out_size

#: Numbers of a bordered map that a task copies: they stay in a core's cache beside the weight.
STRIP = L2 // 16
#: Pixels of a row that are enough for a product of its own in the weight gradient.
LONG_ROW = 16


@serial
def _bordered(x, n, top, rows, padding, width):
    """Rows top .. top + rows of image n of x (N, H, W, P), flat, with zeros beyond the map."""
    _, H, W, P = x.shape
    flat = scratch(rows * width * P)
    flat[:] = 0
    X = flat.reshape(rows, width, P)
    for r in range(max(0, -top), min(rows, H - top)):
        to, row = X[r, padding : padding + W], x[n, top + r]
        for j in range(min(W, width - padding)):
            for p in range(P):
                to[j, p] = row[j, p]
    return flat


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y[n, i] = sum_u windows of x[n, i s + u - pad] times w[u]."""
    N, H, W, P = x.shape
    I, J = out_size((H, W), w.shape[:2], stride, padding)
    y = empty((N, I, J, w.shape[3]), x.dtype)
    strip = max(1, min(I, STRIP // ((W + 2 * padding[1]) * P * stride[0])))
    _conv2d(read_only(x), read_only(w), y, stride, padding, strip)
    return y


@parallel
def _conv2d(x, w, y, stride, padding, strip):
    P, (U, V, _, Q), (N, I, J, _) = x.shape[3], w.shape, y.shape
    width = x.shape[2] + 2 * padding[1]
    strips = (I + strip - 1) // strip
    flat_w, flat_y = w.reshape(-1), y.reshape(-1)
    for task in prange(N * strips):
        n, s = divmod(np.int64(task), strips)
        first, end = s * strip, min(I, (s + 1) * strip)
        rows = (end - 1 - first) * stride[0] + U
        X = _bordered(x, n, first * stride[0] - padding[0], rows, padding[1], width)
        for i in range(first, end):
            for u in range(U):
                to, at = (n * I + i) * J * Q, ((i - first) * stride[0] + u) * width * P
                row, step = u * V * P * Q, stride[1] * P
                multiply(flat_y, to, Q, X, at, step, 1, flat_w, row, Q, J, V * P, Q, u > 0)


def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dx[n, i s + u - pad, j s + v - pad] += g[n, i, j] times w[u, v]^T, pixels j side by side."""
    dx = empty(shape, g.dtype)
    _conv2d_dx(read_only(g), read_only(w.swapaxes(2, 3)), dx, stride, padding)
    return dx


@parallel
def _conv2d_dx(g, w, dx, stride, padding):
    (N, I, J, Q), (U, V, _, P), (_, H, W, _) = g.shape, w.shape, dx.shape
    height, width = H + 2 * padding[0], W + 2 * padding[1]
    flat_g, flat_w = g.reshape(-1), w.reshape(-1)
    for n in prange(N):
        D = scratch(height * width * P)
        D[:] = 0
        for i in range(I):
            for u in range(U):
                for v in range(V):
                    to, step = ((i * stride[0] + u) * width + v) * P, stride[1] * P
                    at, row = (np.int64(n) * I + i) * J * Q, (u * V + v) * Q * P
                    multiply(D, to, step, flat_g, at, Q, 1, flat_w, row, P, J, Q, P, True)
        inside = D.reshape(height, width, P)[padding[0] :, padding[1] :]
        for h in range(H):
            for j in range(W):
                for p in range(P):
                    dx[n, h, j, p] = inside[h, j, p]


def conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dw[u] = sum_ni (windows of x[n, i s + u - pad])^T times g[n, i]."""
    parts = empty((min(how_many(math.prod(shape)), len(x)), *shape), x.dtype)
    _conv2d_dw(read_only(x), read_only(g), parts, stride, padding)
    return total(parts)


@parallel
def _conv2d_dw(x, g, dw, stride, padding):
    (N, I, J, Q), (parts, U, V, P, _) = g.shape, dw.shape
    K = V * P  # numbers of a row of a window
    height, width = x.shape[1] + 2 * padding[0], x.shape[2] + 2 * padding[1]
    flat_g, flat_dw = g.reshape(-1), dw.reshape(-1)
    for k in prange(parts):
        part = np.int64(k)
        start = part * N // parts
        for n in range(start, (part + 1) * N // parts):
            X = _bordered(x, n, -padding[0], height, padding[1], width)
            if J < LONG_ROW:
                for u in range(U):
                    windows = _windows(X, u, width * P, stride, I, J, K, P)
                    to, at = (part * U + u) * K * Q, n * I * J * Q
                    add = n > start
                    multiply(flat_dw, to, Q, windows, 0, 1, K, flat_g, at, Q, K, I * J, Q, add)
                continue
            for i in range(I):
                for u in range(U):
                    to, at = (part * U + u) * K * Q, (n * I + i) * J * Q
                    row, step = (i * stride[0] + u) * width * P, stride[1] * P
                    add = n > start or i > 0
                    multiply(flat_dw, to, Q, X, row, 1, step, flat_g, at, Q, K, J, Q, add)


@serial
def _windows(X, u, row, stride, I, J, length, P):
    """The windows of offset u of all rows of X after all, (I J, V P), flat: short sums are slow."""
    flat = scratch(I * J * length)
    windows = flat.reshape(I, J, length)
    for i in range(I):
        for j in range(J):
            start = (i * stride[0] + u) * row + j * stride[1] * P
            to, a = windows[i, j], X[start : start + length]
            for k in range(length):
                to[k] = a[k]
    return flat
