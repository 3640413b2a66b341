"""Convolutions and matrix products by cuDNN where it has a plan, else by cuBLAS.

A quaternion convolution is the real one of the expanded weight; the arithmetic is that of a real
layer of the same width, the memory of its maps too, and the weights are small beside them.
"""

from __future__ import annotations

from typing import Any

from quatgrad.arrays import BITS, Array
from quatgrad.backend import get_precision
from quatgrad.kernels import gemm
from quatgrad.kernels.cupy_gpu import plans
from quatgrad.kernels.cupy_gpu.hamilton import expand, expand_filter, fold, fold_filter
from quatgrad.kernels.reference import Pair, out_size

Shape = tuple[int, ...]


def operand(x: Array) -> Array:
    """`reference.operand`; in bf16 its bits, rounded once, and in any other precision numbers."""
    if plans.rounds(x):
        return plans.to_bf16(x)
    return x if get_precision() == "bf16" else plans.wide(x)


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d`."""
    return convolved(x, w, stride, padding)


def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dx`."""
    return convolved_dx(g, w, shape, stride, padding)


def conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dw`."""
    return convolved_dw(x, g, size, stride, padding, quaternion=False)


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d`."""
    return convolved(x, w, stride, padding)


def hamilton_conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d_dx`."""
    return convolved_dx(g, w, shape, stride, padding)


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d_dw`."""
    return convolved_dw(x, g, size, stride, padding, quaternion=True)


def matmul(a: Array, b: Array) -> Array:
    """`reference.matmul`; matrices as convolutions of one pixel, which a CUDA graph can record."""
    if a.ndim == b.ndim == 2:
        (M, K), N = a.shape, b.shape[1]
        x, w, y = (M, 1, 1, K), (N, 1, 1, K), (M, 1, 1, N)
        if plan := plans.plan("forward", a, x, w, y, (1, 1), (0, 0)):
            return plans.run(plan, a.reshape(x), b.T.reshape(w)).reshape(M, N)
    return a @ b


def hamilton_linear(x: Array, w: Array) -> Array:
    """x expand(w)."""
    return matmul(x, expand(w))


def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """g expand(w)^T."""
    return matmul(g, expand(w).T)


def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """fold(x^T g)."""
    return fold(matmul(x.T, g))


# --------------------------------------------------------------------- of both kinds

# A weight w is (U, V, P, Q), or (4, U, V, P, Q) of quaternions; `read` is its `filter_of`, if that
# is there. With `keep`, bits stay bits.


def convolved(
    x: Array, w: Array, stride: Pair, padding: Pair, keep: bool = False, read: Array | None = None
) -> Array:
    """conv(x, w)."""
    U, V, P, Q = _real_shape(w)
    y = len(x), *out_size(x.shape[1:3], (U, V), stride, padding), Q
    plan = plans.plan("forward", x, x.shape, (Q, U, V, P), y, stride, padding)
    if plan:
        return plans.run(plan, x, _filter(w, plan) if read is None else read, keep)
    return gemm.conv2d(plans.wide(x), _real(w), stride, padding)


def convolved_dx(
    g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair,
    keep: bool = False, read: Array | None = None,
) -> Array:  # fmt: skip
    """dL/dx, of this shape."""
    U, V, P, Q = _real_shape(w)
    plan = plans.plan("dx", g, shape, (Q, U, V, P), g.shape, stride, padding)
    if plan:
        return plans.run(plan, g, _filter(w, plan) if read is None else read, keep)
    return gemm.conv2d_dx(plans.wide(g), _real(w), shape, stride, padding)


def convolved_dw(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Pair, quaternion: bool
) -> Array:
    """dL/dw, numbers always."""
    w = g.shape[3], *size, x.shape[3]
    plan = plans.plan("dw", x, x.shape, w, g.shape, stride, padding)
    if plan:
        dw = plans.run(plan, x, g, keep=True)
        return fold_filter(dw) if quaternion else plans.wide(dw).transpose(1, 2, 3, 0)
    dw = gemm.conv2d_dw(plans.wide(x), plans.wide(g), size, stride, padding)
    return fold(dw) if quaternion else dw


def filter_of(w: Array, dtype: Any) -> Array:
    """w as cuDNN wants filters, (Q, U, V, P), of numbers or bits."""
    if w.ndim == 5:
        return expand_filter(w, dtype)
    w = w.transpose(3, 0, 1, 2)
    return plans.to_bf16(w) if dtype == BITS else w


def _filter(w: Array, plan: plans.Problem) -> Array:
    return filter_of(w, BITS if plan.precision == "bf16" else w.dtype)


def _real(w: Array) -> Array:
    """w, expanded if it is of quaternions."""
    return expand(w) if w.ndim == 5 else w


def _real_shape(w: Array) -> Shape:
    """The shape of `_real(w)`."""
    *_, U, V, P, Q = w.shape
    return (U, V, 4 * P, 4 * Q) if w.ndim == 5 else (U, V, P, Q)
