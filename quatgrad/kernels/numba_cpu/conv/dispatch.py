"""Convolutions, each by the algorithm that is selected for its shape."""

import numpy as np

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.conv import direct, eight_products, pixels, winograd
from quatgrad.kernels.numba_cpu.conv.algorithm import TILES, Algorithm, select_algorithm
from quatgrad.kernels.numba_cpu.conv.expand import expand, fold
from quatgrad.kernels.numba_cpu.conv.pieces import sum_of_pieces
from quatgrad.kernels.numba_cpu.conv.products import PRODUCTS
from quatgrad.kernels.numba_cpu.simd.matmul import matmul
from quatgrad.kernels.reference.conv import Shape, window_size
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.registry import register


@register
def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d`."""
    out = out_size(x.shape[1:3], window_size(w.shape), stride, padding)
    algorithm = select_algorithm(x.dtype, w.shape, stride, padding, out)
    return convolve(algorithm, x, w, stride, padding)


@register
def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dx`."""
    algorithm = select_algorithm(g.dtype, w.shape, stride, padding, shape[1:3])
    return convolve_dx(algorithm, g, w, shape, stride, padding)


@register
def conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dw`."""
    return sum_of_pieces(_conv2d_dw, x, g, shape, stride, padding)


def _conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    algorithm = select_algorithm(x.dtype, shape, stride, padding, g.shape[1:3], dw=True)
    return convolve_dw(algorithm, x, g, shape, stride, padding)


def conv2d_to(y: Array, x: Array, w: Array, stride: Pair, padding: Pair) -> None:
    """y = `conv2d`."""
    algorithm = select_algorithm(x.dtype, w.shape, stride, padding, y.shape[1:3])
    if algorithm.name == "direct":
        direct.conv2d_to(y, x, w, stride, padding)
    else:
        call(np.copyto, y, convolve(algorithm, x, w, stride, padding))


def conv2d_dx_to(dx: Array, g: Array, w: Array, stride: Pair, padding: Pair) -> None:
    """dx = `conv2d_dx`."""
    algorithm = select_algorithm(g.dtype, w.shape, stride, padding, dx.shape[1:3])
    if algorithm.name == "direct":
        direct.conv2d_dx_to(dx, g, w, stride, padding)
    else:
        call(np.copyto, dx, convolve_dx(algorithm, g, w, dx.shape, stride, padding))


# ------------------------------------------------------------- by a given algorithm


def convolve(algorithm: Algorithm, x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`conv2d` by this algorithm, which must be able to do it."""
    if w.ndim == 5 and not algorithm.eight:
        w = expand(w)
    if algorithm.name in TILES:
        return winograd.conv2d(x, w, padding, TILES[algorithm.name])
    if _is_linear(algorithm, w.shape, padding):
        taken = pixels.taken(x, stride)
        rows, four = taken.reshape(-1, x.shape[3]), w.ndim == 5
        y = eight_products.hamilton_linear(rows, w[:, 0, 0]) if four else matmul(rows, w[0, 0])
        return y.reshape(*taken.shape[:3], y.shape[1])
    if w.ndim == 5:
        return eight_products.conv2d(x, w, stride, padding, conv2d_to)
    if algorithm.name == "direct":
        return direct.conv2d(x, w, stride, padding)
    return call(PRODUCTS.conv2d, x, w, stride, padding)


def convolve_dx(
    algorithm: Algorithm, g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair
) -> Array:
    """`conv2d_dx` by this algorithm."""
    if w.ndim == 5 and not algorithm.eight:
        w = expand(w)
    if algorithm.name in TILES:
        return winograd.conv2d_dx(g, w, shape, padding, TILES[algorithm.name])
    if _is_linear(algorithm, w.shape, padding):
        rows, four = g.reshape(-1, g.shape[3]), w.ndim == 5
        linear_dx = eight_products.hamilton_linear_dx
        dx = linear_dx(rows, w[:, 0, 0]) if four else matmul(rows, w[0, 0].T)
        return pixels.put_back(dx.reshape(*g.shape[:3], shape[3]), shape, stride)
    if w.ndim == 5:
        return eight_products.conv2d_dx(g, w, shape, stride, padding, conv2d_dx_to)
    if algorithm.name == "direct":
        return direct.conv2d_dx(g, w, shape, stride, padding)
    return call(PRODUCTS.conv2d_dx, g, w, shape, stride, padding)


def convolve_dw(
    algorithm: Algorithm, x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair
) -> Array:
    """`conv2d_dw` by this algorithm."""
    if len(shape) == 5 and not algorithm.eight:
        real = *window_size(shape), x.shape[3], g.shape[3]
        return fold(convolve_dw(algorithm, x, g, real, stride, padding))
    if algorithm.name in TILES:
        return winograd.conv2d_dw(x, g, shape, padding, TILES[algorithm.name])
    if _is_linear(algorithm, shape, padding):
        left, right = pixels.taken(x, stride).reshape(-1, x.shape[3]), g.reshape(-1, g.shape[3])
        four = len(shape) == 5
        dw = eight_products.hamilton_linear_dw(left, right) if four else matmul(left.T, right)
        return dw.reshape(shape)
    if len(shape) == 5:
        return eight_products.conv2d_dw(x, g, shape, stride, padding, conv2d_dw)
    if algorithm.name == "direct":
        return direct.conv2d_dw(x, g, shape, stride, padding)
    return call(PRODUCTS.conv2d_dw, x, g, shape, stride, padding)


def _is_linear(algorithm: Algorithm, shape: Shape, padding: Pair) -> bool:
    """Whether the convolution is computed as a linear layer of each pixel."""
    pointwise = window_size(shape) == (1, 1) and padding == (0, 0)
    return pointwise and (len(shape) == 5 or algorithm.name == "patches")
