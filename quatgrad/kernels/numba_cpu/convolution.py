"""Convolutions, each by the algorithm that `choice` names for its shape."""

from __future__ import annotations

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels import gemm
from quatgrad.kernels.numba_cpu import direct, hamilton8, winograd
from quatgrad.kernels.numba_cpu.blocks import expand, fold
from quatgrad.kernels.numba_cpu.choice import TILES, choose, eight
from quatgrad.kernels.reference import Pair, out_size


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d`."""
    size, (P, Q) = w.shape[:2], w.shape[2:]
    out = out_size(x.shape[1:3], size, stride, padding)
    how = choose(x.dtype, size, stride, padding, P, Q, out)
    if how in TILES:
        return winograd.conv2d(x, w, padding, TILES[how])
    if how == "direct":
        return direct.conv2d(x, w, stride, padding)
    return gemm.conv2d(x, w, stride, padding)


def conv2d_dx(g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dx`."""
    (P, Q), (_, H, W, _) = w.shape[2:], shape
    how = choose(g.dtype, w.shape[:2], stride, padding, P, Q, (H, W))
    if how in TILES:
        return winograd.conv2d_dx(g, w, shape, padding, TILES[how])
    if how == "direct":
        return direct.conv2d_dx(g, w, shape, stride, padding)
    return gemm.conv2d_dx(g, w, shape, stride, padding)


def conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dw`."""
    how = choose(x.dtype, size, stride, padding, x.shape[3], g.shape[3], g.shape[1:3])
    if how in TILES:
        return winograd.conv2d_dw(x, g, padding, 1, TILES[how])
    if how == "direct":
        return direct.conv2d_dw(x, g, size, stride, padding)
    return gemm.conv2d_dw(x, g, size, stride, padding)


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d`."""
    size, (P, Q) = w.shape[1:3], w.shape[3:]
    out = out_size(x.shape[1:3], size, stride, padding)
    how = choose(x.dtype, size, stride, padding, 4 * P, 4 * Q, out)
    if not eight(x.dtype, how, size, P, Q):
        return conv2d(x, expand(w), stride, padding)
    if how in TILES:
        return winograd.conv2d(x, w, padding, TILES[how])
    if _pointwise(size, padding):
        points = _points(x, stride)
        return hamilton8.hamilton_linear(points.reshape(-1, 4 * P), w[:, 0, 0]).reshape(
            *points.shape[:3], 4 * Q
        )
    return hamilton8.hamilton_conv2d(x, w, stride, padding)


def hamilton_conv2d_dx(
    g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair
) -> Array:
    """`reference.hamilton_conv2d_dx`."""
    size, (P, Q), (_, H, W, _) = w.shape[1:3], w.shape[3:], shape
    how = choose(g.dtype, size, stride, padding, 4 * P, 4 * Q, (H, W))
    if not eight(g.dtype, how, size, P, Q):
        return conv2d_dx(g, expand(w), shape, stride, padding)
    if how in TILES:
        return winograd.conv2d_dx(g, w, shape, padding, TILES[how])
    if _pointwise(size, padding):
        points = hamilton8.hamilton_linear_dx(g.reshape(-1, 4 * Q), w[:, 0, 0])
        if stride == (1, 1):
            return points.reshape(shape)
        dx = np.zeros(shape, g.dtype)
        _points(dx, stride)[...] = points.reshape(*g.shape[:3], 4 * P)
        return dx
    return hamilton8.hamilton_conv2d_dx(g, w, shape, stride, padding)


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d_dw`."""
    P, Q = x.shape[3] // 4, g.shape[3] // 4
    how = choose(x.dtype, size, stride, padding, 4 * P, 4 * Q, g.shape[1:3])
    if not eight(x.dtype, how, size, P, Q):
        return fold(conv2d_dw(x, g, size, stride, padding))
    if how in TILES:
        return winograd.conv2d_dw(x, g, padding, 4, TILES[how])
    if _pointwise(size, padding):
        points = _points(x, stride).reshape(-1, 4 * P)
        return hamilton8.hamilton_linear_dw(points, g.reshape(-1, 4 * Q))[:, None, None]
    return hamilton8.hamilton_conv2d_dw(x, g, size, stride, padding)


def _pointwise(size: Pair, padding: Pair) -> bool:
    """Whether the convolution is a linear layer of each pixel."""
    return size == (1, 1) and padding == (0, 0)


def _points(x: Array, stride: Pair) -> Array:
    """The pixels on which a window of 1x1 stands."""
    return x[:, :: stride[0], :: stride[1]]
