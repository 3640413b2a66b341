"""Batches of images that lie on the device: taken, moved, mirrored, normalised, encoded."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_each
from quatgrad.kernels.registry import register


@register
def augment(
    images: Array, rows: Array, moves: Array, mean: Array, deviation: Array, mix: Array
) -> Array:
    """`reference.augment`."""
    arrays = contiguous(images, rows, moves, mean, deviation, mix)
    N, (_, H, W, C), K = len(rows), images.shape, mix.shape[1]
    y = array_module(images).empty((N, H, W, K), mix.dtype)
    sizes = np.int64(N), *map(np.int32, (H, W, C, K))
    launch_for_each("augment", "augment", N * H * W, mix.dtype, *arrays, y, *sizes)
    return y
