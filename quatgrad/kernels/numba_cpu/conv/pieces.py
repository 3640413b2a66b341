"""A weight gradient is a sum over pixels: of many, piece by piece, and the pieces in float64.

`reference.sums` says why. A piece is some images; of large ones, some rows, or part of a row.
"""

from collections.abc import Iterator

import numpy as np

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.simd.partial_sums import MANY
from quatgrad.kernels.reference.conv import Shape, window_size
from quatgrad.kernels.reference.patches import Pair, pad
from quatgrad.kernels.registry import Kernel

#: Pixels of a piece, and of an image in it. There are MANY images, if there are as many, so that
#: each part of a sum has one. Cutting an image costs time: a piece of it is copied with its border.
PIXELS, OF_IMAGE = 1 << 17, 1 << 16


def sum_of_pieces(
    conv2d_dw: Kernel, x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair
) -> Array:
    """`reference.conv2d_dw` by this kernel for a piece."""
    if x.dtype != np.float32 or g.size <= PIXELS * g.shape[3]:
        return conv2d_dw(x, g, shape, stride, padding)
    return call(_sum, conv2d_dw, x, g, shape, stride, padding)


def _sum(conv2d_dw: Kernel, x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    pieces = _pieces(x, g, window_size(shape), stride, padding)
    dw = sum(conv2d_dw(a, b, shape, stride, p).astype(np.float64) for a, b, p in pieces)
    return dw.astype(x.dtype)


def _pieces(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Pair
) -> Iterator[tuple[Array, Array, Pair]]:
    """x, g and padding of each piece."""
    N, I, J, _ = g.shape
    images = max(MANY, PIXELS // (I * J))
    rows = max(1, OF_IMAGE // J)
    for n in range(0, N, images):
        maps, g_maps = x[n : n + images], g[n : n + images]
        if I * J <= OF_IMAGE:
            yield maps, g_maps, padding
            continue
        maps = pad(maps, padding)
        for i in range(0, I, rows):
            for j in range(0, J, OF_IMAGE):
                part = g_maps[:, i : i + rows, j : j + OF_IMAGE]
                height, width = ((part.shape[d + 1] - 1) * stride[d] + size[d] for d in (0, 1))
                h, w = i * stride[0], j * stride[1]
                yield maps[:, h : h + height, w : w + width], part, (0, 0)
