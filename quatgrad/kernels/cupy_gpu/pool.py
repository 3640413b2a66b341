"""Patches and pooling, and the gradients of both."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_each
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.registry import register

Shape = tuple[int, ...]


@register
def patches(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.patches`."""
    (x,) = contiguous(x)
    out = out_size(x.shape[1:3], size, stride, padding)
    P = array_module(x).empty((len(x), *out, *size, x.shape[3]), x.dtype)
    _launch("patches", (x, P), x.shape, out, size, stride, padding)
    return P


@register
def unpatches(P: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.unpatches`: each pixel gathers what was taken from it, so that none races."""
    (P,) = contiguous(P)
    x = array_module(P).empty(shape, P.dtype)
    _launch("unpatches", (P, x), shape, P.shape[1:3], P.shape[3:5], stride, padding)
    return x


@register
def max_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """`reference.max_pool`."""
    (x,) = contiguous(x)
    out = out_size(x.shape[1:3], size, stride, padding)
    y = array_module(x).empty((len(x), *out, x.shape[3]), x.dtype)
    winner = array_module(x).empty(y.shape, np.int32)
    _launch("max_pool", (x, y, winner), x.shape, out, size, stride, padding)
    return y, winner


@register
def max_pool_dx(
    g: Array, winner: Array, shape: Shape, size: Pair, stride: Pair, padding: Pair
) -> Array:
    """`reference.max_pool_dx`."""
    g, winner = contiguous(g, winner)
    dx = array_module(g).empty(shape, g.dtype)
    _launch("max_pool_dx", (g, winner, dx), shape, g.shape[1:3], size, stride, padding)
    return dx


@register
def avg_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool`."""
    (x,) = contiguous(x)
    out = out_size(x.shape[1:3], size, stride, padding)
    y = array_module(x).empty((len(x), *out, x.shape[3]), x.dtype)
    _launch("avg_pool", (x, y), x.shape, out, size, stride, padding)
    return y


@register
def avg_pool_dx(g: Array, shape: Shape, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool_dx`."""
    (g,) = contiguous(g)
    dx = array_module(g).empty(shape, g.dtype)
    _launch("avg_pool_dx", (g, dx), shape, g.shape[1:3], size, stride, padding)
    return dx


def _launch(name: str, arrays: tuple[Array, ...], shape: Shape, out: Pair, *window: Pair) -> None:
    """A kernel of pool.cu for maps of `shape` (N, H, W, C); window: size, stride, padding.

    A thread for each entry of the last array.
    """
    numbers = (np.int32(n) for sizes in (shape, out, *window) for n in sizes)
    launch_for_each("pool", name, arrays[-1].size, arrays[0].dtype, *arrays, *numbers)
