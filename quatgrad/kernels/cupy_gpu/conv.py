"""Convolutions and matrix products by cuDNN where it has a plan, else by cuBLAS.

A quaternion convolution is the real one of the expanded weight. It takes as many operations as a
real layer of the same width, and as much memory for its maps; weights are small compared with maps.
"""

from typing import Any

from quatgrad.arrays import BFLOAT16_BITS, Array, array_module
from quatgrad.backend import get_precision
from quatgrad.kernels.cupy_gpu import cudnn
from quatgrad.kernels.cupy_gpu.pool import patches, unpatches
from quatgrad.kernels.cupy_gpu.quaternion import expand, expand_filter, fold, fold_filter
from quatgrad.kernels.gemm import Products
from quatgrad.kernels.reference.conv import Shape, window_size
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.registry import register

#: Sequences of a batch have another number of steps each time, and a plan takes some 20 ms.
LARGE, STEP = 512, 64


@register
def cast_input(x: Array) -> Array:
    """`reference.cast_input`; in bf16 its bits, rounded once, in any other precision numbers."""
    if cudnn.rounds(x):
        return cudnn.to_bf16(x)
    return x if get_precision() == "bf16" else cudnn.upcast(x)


@register
def matmul(a: Array, b: Array) -> Array:
    """`reference.matmul`; matrices as convolutions of one pixel, which a CUDA graph can record."""
    if a.ndim == b.ndim == 2 and a.shape[1] == len(b):
        (M, K), N = map(_even, a.shape), b.shape[1]
        x, w, y = (M, 1, 1, K), (N, 1, 1, K), (M, 1, 1, N)
        if plan := cudnn.plan("forward", a, x, w, y, (1, 1), (0, 0)):
            left, right = _filled(a, (M, K)).reshape(x), _filled(b, (K, N)).T.reshape(w)
            return cudnn.run(plan, left, right).reshape(M, N)[: len(a)]
    return a @ b


def _even(n: int) -> int:
    """Of large numbers the next multiple of `STEP`: few plans serve rows of any number."""
    return n if n <= LARGE else -(-n // STEP) * STEP


def _filled(a: Array, shape: Shape) -> Array:
    """The matrix with rows and columns of zeros behind it; itself where it has that shape."""
    if a.shape == shape:
        return a
    whole = array_module(a).zeros(shape, a.dtype)
    whole[: a.shape[0], : a.shape[1]] = a
    return whole


PRODUCTS = Products(matmul, expand, fold, patches, unpatches)
register(PRODUCTS.hamilton_linear, "cupy_gpu")
register(PRODUCTS.hamilton_linear_dx, "cupy_gpu")
register(PRODUCTS.hamilton_linear_dw, "cupy_gpu")


@register
def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d`."""
    return convolve(x, w, stride, padding)


@register
def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dx`."""
    return convolve_dx(g, w, shape, stride, padding)


@register
def conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dw`; numbers always."""
    w = g.shape[3], *window_size(shape), x.shape[3]
    if plan := cudnn.plan("dw", x, x.shape, w, g.shape, stride, padding):
        dw = cudnn.run(plan, x, g, keep=True)
        return fold_filter(dw) if len(shape) == 5 else cudnn.upcast(dw).transpose(1, 2, 3, 0)
    return PRODUCTS.conv2d_dw(cudnn.upcast(x), cudnn.upcast(g), shape, stride, padding)


def convolve(x: Array, w: Array, stride: Pair, padding: Pair, packed: Array | None = None) -> Array:
    """conv(x, w), in float32; with `packed`, which is `pack_weight(w, BFLOAT16_BITS)`, in bits."""
    Q, U, V, P = _packed_shape(w)
    y = len(x), *out_size(x.shape[1:3], (U, V), stride, padding), Q
    if plan := cudnn.plan("forward", x, x.shape, (Q, U, V, P), y, stride, padding):
        weight = _packed(w, plan) if packed is None else packed
        return cudnn.run(plan, x, weight, keep=packed is not None)
    return PRODUCTS.conv2d(cudnn.upcast(x), w, stride, padding)


def convolve_dx(
    g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair, packed: Array | None = None
) -> Array:
    """dL/dx, of this shape; with `packed` as in `convolve`."""
    plan = cudnn.plan("dx", g, shape, _packed_shape(w), g.shape, stride, padding)
    if plan:
        weight = _packed(w, plan) if packed is None else packed
        return cudnn.run(plan, g, weight, keep=packed is not None)
    return PRODUCTS.conv2d_dx(cudnn.upcast(g), w, shape, stride, padding)


def pack_weight(w: Array, dtype: Any) -> Array:
    """w as cuDNN wants filters, (Q, U, V, P), of numbers or bits."""
    if w.ndim == 5:
        return expand_filter(w, dtype)
    w = w.transpose(3, 0, 1, 2)
    return cudnn.to_bf16(w) if dtype == BFLOAT16_BITS else w


def _packed(w: Array, plan: cudnn.Problem) -> Array:
    return pack_weight(w, BFLOAT16_BITS if plan.precision == "bf16" else w.dtype)


def _packed_shape(w: Array) -> Shape:
    """The shape of `pack_weight(w)`."""
    *_, U, V, P, Q = w.shape
    return (4 * Q, U, V, 4 * P) if w.ndim == 5 else (Q, U, V, P)
