"""Batch norm: one pass over memory for the sums, one to write. Maps are numbers, or bits."""

import math
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch, launch_for_each, pack
from quatgrad.kernels.parts import Gather, mean_gradients, merged_statistics
from quatgrad.kernels.registry import register

LANES = 16  # threads side by side, at most: they read neighbouring channels, a line of memory
SUMMING, WRITING = 512, 256  # threads of a block, at most
BLOCKS = 256  # that sum, at most: enough to fill a GPU, quick to add up
AT_ONCE = 4  # rows of a thread that writes
ALL_PASSES, WHERE_NORMED, WHERE_Y = range(3)  # which g counts: see norm.cu

Channels = tuple[Array, Array, Array, Array]  # mean, var, scale, shift: (C,) each


@register
def batch_norm(
    x: Array, scale: Array, shift: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """`reference.batch_norm`."""
    return batch_norm_act(x, scale, shift, eps, relu=False, gather=gather)


@register
def batch_norm_eval(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float
) -> Array:
    """`reference.batch_norm_eval`."""
    return _normalized(x, (mean, var, scale, shift), eps, relu=False)


@register
def batch_norm_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """`reference.batch_norm_dx`; each pass computes z again, which is never stored."""
    channels = mean, var, scale, scale
    return batch_norm_act_dx(g, x, None, channels, eps, relu=False, gather=gather)[:3]


def batch_norm_act(
    x: Array,
    scale: Array,
    shift: Array,
    eps: float,
    relu: bool,
    residual: Array | None = None,
    gather: Gather = None,
) -> tuple[Array, Array, Array]:
    """`batch_norm`, + residual, and the rectifier after it. Maps are all numbers, or all bits."""
    (x,) = contiguous(x)
    mean, var = array_module(x).empty((2, x.shape[-1]), scale.dtype)
    _sum(x, "moments", (x,), (mean, var))
    if gather:
        merged = merged_statistics(mean, var, x.size // x.shape[-1], gather)
        mean, var = (a.astype(scale.dtype) for a in merged)
    return _normalized(x, (mean, var, scale, shift), eps, relu, residual), mean, var


def _normalized(
    x: Array, channels: Channels, eps: float, relu: bool, residual: Array | None = None
) -> Array:
    add, f = residual is not None, channels[0].dtype.type
    arrays = contiguous(x, *channels, x if residual is None else residual)
    y = array_module(x).empty(x.shape, x.dtype)
    _write(x, "normalize", *arrays, y, f(eps), np.int32(add), np.int32(relu))
    return y


def batch_norm_act_dx(
    g: Array,
    x: Array,
    y: Array | None,
    channels: Channels,
    eps: float,
    relu: bool,
    gather: Gather = None,
) -> tuple[Array, Array, Array, Array | None]:
    """dx, dscale, dshift, and dresidual where y is given. Maps are all numbers, or all bits.

    Where the rectifier was active is computed again from x; after a residual it is read from y.
    """
    gate = WHERE_Y if y is not None else WHERE_NORMED if relu else ALL_PASSES
    g, x, y, *numbers = contiguous(g, x, x if y is None else y, *channels)
    xp, dtype = array_module(x), channels[0].dtype
    options = dtype.type(eps), np.int32(gate)
    dscale, dshift = xp.empty((2, x.shape[-1]), dtype)
    passed = xp.empty(x.shape, x.dtype) if gate == WHERE_Y else x
    _sum(x, "gradient_moments", (g, x, y, *numbers, passed), (dscale, dshift), *options)
    dx = xp.empty(x.shape, x.dtype)
    share, sums = passed if gate == WHERE_Y else g, (dscale, dshift)
    if gather:  # the kernel divides by the rows of this part
        rows = x.size // x.shape[-1]
        sum_g, sum_gz = dshift.astype(np.float64), dscale.astype(np.float64)
        mean_g, mean_gz = mean_gradients(sum_g, sum_gz, rows, gather)
        sums = (mean_gz * rows).astype(dtype), (mean_g * rows).astype(dtype)
    _write(x, "normalize_dx", share, x, *numbers, *sums, dx, *options)
    return dx, dscale, dshift, passed if gate == WHERE_Y else None


@register
def update_running_stats(r: Array, b: Array, momentum: float, correction: float = 1.0) -> None:
    """`reference.update_running_stats`; r is contiguous."""
    (b,) = contiguous(b)
    numbers = r.dtype.type(momentum), r.dtype.type(correction), np.int64(r.size)
    launch_for_each("norm", "update_running_stats", r.size, r.dtype, r, b, *numbers)


def _sum(x: Array, name: str, arrays: tuple[Any, ...], sums: tuple[Any, ...], *how: Any) -> None:
    """A kernel whose blocks share the rows of x: how many, by the shape alone, so bits repeat."""
    M, C, V, block, tiles = _cut(x, SUMMING)
    share = max(-(-M // max(BLOCKS // tiles, 1)), 1)
    rows = -(-share // block[1]) * block[1]
    parts = max(-(-M // rows), 1)
    partial = array_module(x).empty((parts, 2, C), np.float64)
    values = *sums, *how, np.int64(M), np.int32(C), np.int32(rows)
    launch("norm", name, x.dtype, (parts, tiles), block, *arrays, partial, *values, vector=V)


def _write(x: Array, name: str, *arguments: Any) -> None:
    """A kernel that writes as many rows as x has."""
    M, C, V, block, tiles = _cut(x, WRITING)
    rows = block[1] * AT_ONCE
    sizes = np.int64(M), np.int32(C), np.int32(rows)
    if M:
        launch("norm", name, x.dtype, (-(-M // rows), tiles), block, *arguments, *sizes, vector=V)


def _cut(x: Array, threads: int) -> tuple[int, int, int, tuple[int, int], int]:
    """Of x (..., C): M, C; channels of a thread, (lanes, rows) of a block, blocks side by side."""
    M, C = math.prod(x.shape[:-1]), x.shape[-1]
    V = pack(x.dtype, C)
    lanes = min(-(-C // V), LANES)
    return M, C, V, (lanes, max(min(threads // lanes, M), 1)), -(-C // (V * lanes))
