"""Convolutions and matrix products by cuDNN where it has a plan, else by cuBLAS.

A quaternion convolution is the real one of the expanded weight; the arithmetic is that of a real
layer of the same width, the memory of its maps too, and the weights are small beside them.
"""

from __future__ import annotations

from quatgrad.backend import Array
from quatgrad.kernels import gemm
from quatgrad.kernels.cupy_gpu import plans
from quatgrad.kernels.cupy_gpu.hamilton import expand, expand_filter, fold, fold_filter
from quatgrad.kernels.reference import Pair, out_size

Shape = tuple[int, ...]


def operand(x: Array) -> Array:
    """`reference.operand`; in bf16 its bits, rounded once."""
    return plans.to_bf16(x) if plans.rounds(x) else x


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d`."""
    return convolved(x, w, stride, padding)


def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dx`."""
    plan = _dx(g, w.shape, shape, stride, padding)
    return (
        plans.run(plan, g, _filter(w))
        if plan
        else gemm.conv2d_dx(plans.wide(g), w, shape, stride, padding)
    )


def conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.conv2d_dw`."""
    plan = _dw(x, g, size, stride, padding)
    if plan:
        return plans.run(plan, x, g).transpose(1, 2, 3, 0)
    return gemm.conv2d_dw(plans.wide(x), plans.wide(g), size, stride, padding)


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d`."""
    return convolved(x, w, stride, padding)


def hamilton_conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d_dx`."""
    plan = _dx(g, _expanded(w), shape, stride, padding)
    if plan:
        return plans.run(plan, g, expand_filter(w))
    return gemm.conv2d_dx(plans.wide(g), expand(w), shape, stride, padding)


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.hamilton_conv2d_dw`."""
    plan = _dw(x, g, size, stride, padding)
    if plan:
        return fold_filter(plans.run(plan, x, g))
    return fold(gemm.conv2d_dw(plans.wide(x), plans.wide(g), size, stride, padding))


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


def convolved(x: Array, w: Array, stride: Pair, padding: Pair, keep: bool = False) -> Array:
    """Of both kinds: w (U, V, P, Q) or (4, U, V, P, Q). With `keep`, bits stay bits."""
    real = w.ndim == 4
    plan = _forward(x, w.shape if real else _expanded(w), stride, padding)
    if plan:
        return plans.run(plan, x, _filter(w) if real else expand_filter(w), keep)
    return gemm.conv2d(plans.wide(x), w if real else expand(w), stride, padding)


# ------------------------------------------------------------- plans, and filters (Q, U, V, P)


def _forward(x: Array, shape: Shape, stride: Pair, padding: Pair) -> plans.Problem | None:
    U, V, P, Q = shape
    y = len(x), *out_size(x.shape[1:3], (U, V), stride, padding), Q
    return plans.plan("forward", x, x.shape, (Q, U, V, P), y, stride, padding)


def _dx(g: Array, w: Shape, shape: Shape, stride: Pair, padding: Pair) -> plans.Problem | None:
    U, V, P, Q = w
    return plans.plan("dx", g, shape, (Q, U, V, P), g.shape, stride, padding)


def _dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> plans.Problem | None:
    w = g.shape[3], *size, x.shape[3]
    return plans.plan("dw", x, x.shape, w, g.shape, stride, padding)


def _filter(w: Array) -> Array:
    """w (U, V, P, Q) as cuDNN wants filters: (Q, U, V, P)."""
    return w.transpose(3, 0, 1, 2)


def _expanded(w: Array) -> Shape:
    """The shape of `expand(w)`."""
    _, U, V, P, Q = w.shape
    return U, V, 4 * P, 4 * Q
