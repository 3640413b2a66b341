"""The rectifier."""

from __future__ import annotations

import numpy as np

from quatgrad.backend import Array, array_module
from quatgrad.kernels.cupy_gpu.compile import contiguous, launch_for_each


def relu(x: Array) -> Array:
    """`reference.relu`."""
    (x,) = contiguous(x)
    y = array_module(x).empty(x.shape, x.dtype)
    launch_for_each("activation", "relu", x.size, x.dtype, x, y, np.int64(x.size))
    return y


def relu_dx(g: Array, y: Array) -> Array:
    """`reference.relu_dx`."""
    g, y = contiguous(g, y)
    dx = array_module(g).empty(g.shape, g.dtype)
    launch_for_each("activation", "relu_dx", g.size, g.dtype, g, y, dx, np.int64(g.size))
    return dx
