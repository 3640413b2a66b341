"""Batch norm: one pass over memory for the sums, one to write. Maps are numbers, or bits."""

from __future__ import annotations

import math

import numpy as np

from quatgrad.backend import Array, array_module
from quatgrad.kernels.cupy_gpu.compile import contiguous, launch, launch_for_each

BLOCK = (32, 8)  # channels, rows: see norm.cu
ADDING = 32  # parts that are read at once, at most
ROWS = 64  # of a block that writes
PARTS = 512  # blocks that sum, at most, for 32 channels: enough to fill a GPU, quick to add up


def batch_norm(x: Array, scale: Array, shift: Array, eps: float) -> tuple[Array, Array, Array]:
    """`reference.batch_norm`."""
    return normed(x, scale, shift, eps, rectify=False)


def batch_norm_eval(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float
) -> Array:
    """`reference.batch_norm_eval`."""
    return _normalized(x, mean, var, scale, shift, eps, rectify=False)


def batch_norm_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, eps: float
) -> tuple[Array, Array, Array]:
    """`reference.batch_norm_dx`; z is made again in each pass and never stored."""
    return normed_dx(g, x, mean, var, scale, scale, eps, rectify=False)


def normed(
    x: Array, scale: Array, shift: Array, eps: float, rectify: bool
) -> tuple[Array, Array, Array]:
    """`batch_norm`, of bits too, and the rectifier after it."""
    (x,) = contiguous(x)
    M, C = _rows(x)
    mean, var = array_module(x).empty((2, C), scale.dtype)
    parts, rows = _shares(M)
    partial = array_module(x).empty((parts, 2, C), np.float64)
    sizes = np.int64(M), np.int32(C)
    launch("norm", "moments", x.dtype, (parts, _tiles(C)), BLOCK, x, partial, *sizes, rows)
    launch("norm", "statistics", x.dtype, (1, _tiles(C)), (32, min(parts, ADDING)),
           partial, x, mean, var, np.int32(parts), *sizes)  # fmt: skip
    return _normalized(x, mean, var, scale, shift, eps, rectify), mean, var


def _normalized(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float, rectify: bool
) -> Array:
    x, mean, var, scale, shift = contiguous(x, mean, var, scale, shift)
    M, C = _rows(x)
    y = array_module(x).empty(x.shape, scale.dtype)
    if M:
        launch("norm", "normalize", x.dtype, (-(-M // ROWS), _tiles(C)), BLOCK,
               x, mean, var, scale, shift, y, y.dtype.type(eps), np.int32(rectify),
               np.int64(M), np.int32(C), np.int32(ROWS))  # fmt: skip
    return y


def normed_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float,
    rectify: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dx, bits if x is; dscale, dshift. Where the rectifier let pass is found again from x."""
    g, x, mean, var, scale, shift = contiguous(g, x, mean, var, scale, shift)
    M, C = _rows(x)
    dx, number = array_module(x).empty(x.shape, x.dtype), g.dtype.type(eps)
    dscale, dshift = array_module(x).empty((2, C), g.dtype)
    parts, rows = _shares(M)
    partial = array_module(x).empty((parts, 2, C), np.float64)
    how = number, np.int32(rectify), np.int64(M), np.int32(C)
    launch("norm", "gradient_moments", x.dtype, (parts, _tiles(C)), BLOCK,
           g, x, mean, var, scale, shift, partial, *how, rows)  # fmt: skip
    launch("norm", "parameter_gradients", x.dtype, (1, _tiles(C)), (32, min(parts, ADDING)),
           partial, var, dscale, dshift, number, np.int32(parts), np.int32(C))  # fmt: skip
    launch("norm", "normalize_dx", x.dtype, (-(-M // ROWS), _tiles(C)), BLOCK,
           g, x, mean, var, scale, shift, dscale, dshift, dx, *how, np.int32(ROWS))  # fmt: skip
    return dx, dscale, dshift


def follow(r: Array, b: Array, momentum: float) -> None:
    """`reference.follow`; r is contiguous."""
    (b,) = contiguous(b)
    number, size = r.dtype.type(momentum), np.int64(r.size)
    launch_for_each("norm", "follow", r.size, r.dtype, r, b, number, size)


def _rows(x: Array) -> tuple[int, int]:
    """(M, C) of x (..., C)."""
    return math.prod(x.shape[:-1]), x.shape[-1]


def _tiles(C: int) -> int:
    """Blocks side by side for C channels."""
    return -(-C // BLOCK[0])


def _shares(M: int) -> tuple[int, np.int32]:
    """How many blocks share M rows, and the rows of each: by the shape alone, so bits repeat."""
    rows = max(ROWS, -(-M // PARTS))
    return -(-M // rows), np.int32(rows)
