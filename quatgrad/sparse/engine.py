"""A plan carried out by the engine's kernels: for batches of maps of which most weights live.

Its convolutions are Winograd's, and share what they transform among all images of a batch.
"""

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.layers.norm import normalized
from quatgrad.kernels.registry import kernel
from quatgrad.sparse import reference
from quatgrad.sparse.reference import Maps
from quatgrad.sparse.steps import Layer, Steps


def run(steps: Steps, images: Array) -> Array:
    """Logits (N, K) of images (N, H W C)."""
    return reference.run(steps, images, reference.READERS | {Layer: _layer})


def _layer(step: Layer, maps: Maps) -> Array:
    x, w, (stride, padding) = maps[step.x], step.weight, (step.stride, step.padding)
    w = np.where(step.alive, w, np.float32(0))
    if step.window == x.shape[1:3] and padding == (0, 0):  # a linear layer
        N, (A, U, V, P, Q) = len(x), w.shape
        x = np.ascontiguousarray(x.reshape(N, U * V, A, P).swapaxes(1, 2)).reshape(N, 1, 1, -1)
        w = w.reshape(A, 1, 1, U * V * P, Q)
    y = kernel("conv2d")(x, w if step.components == 4 else w[0], stride, padding)
    C = y.shape[3]
    scale = np.ones(C, np.float32) if step.scale is None else step.scale
    channels = np.zeros(C, np.float32), np.ones(C, np.float32), scale, step.shift
    residual = None if step.residual is None else maps[step.residual].reshape(y.shape)
    return normalized(y, channels, 0, step.relu, residual)
