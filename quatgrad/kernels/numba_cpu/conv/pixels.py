"""The pixels of a map on which windows of 1x1 stand, some pixels apart: taken out, and put back."""

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only
from quatgrad.kernels.reference.conv import Shape
from quatgrad.kernels.reference.patches import Pair, out_size


def taken(x: Array, stride: Pair) -> Array:
    """x[:, ::stride, ::stride]."""
    if stride == (1, 1):
        return read_only(x)
    y = empty((len(x), *out_size(x.shape[1:3], (1, 1), stride, (0, 0)), x.shape[3]), x.dtype)
    _take(read_only(x), y, *stride)
    return y


def put_back(pixels: Array, shape: Shape, stride: Pair) -> Array:
    """The map of this shape that has these pixels there, and else 0."""
    if stride == (1, 1):
        return pixels.reshape(shape)
    x = empty(shape, pixels.dtype)
    _put(read_only(pixels), x, *stride)
    return x


@parallel
def _take(x, y, down, right):
    N, I, J, _ = y.shape
    for row in prange(N * I):
        n, i = divmod(np.int64(row), I)
        for j in range(J):
            y[n, i, j] = x[n, i * down, j * right]


@parallel
def _put(y, x, down, right):
    N, H, W, _ = x.shape
    for row in prange(N * H):
        n, h = divmod(np.int64(row), H)
        x[n, h] = 0
        if h % down == 0:
            for j in range(0, W, right):
                x[n, h, j] = y[n, h // down, j // right]
