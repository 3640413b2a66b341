"""A convolution, the batch norm after it and a rectifier, as one.

The rectifier costs no memory of its own; in bf16 what lies between convolution and norm stays
bits, forwards and back: a third less is moved than by the three apart.
"""

from __future__ import annotations

from quatgrad.backend import Array
from quatgrad.kernels.cupy_gpu import conv
from quatgrad.kernels.cupy_gpu.norm import normed, normed_dx
from quatgrad.kernels.reference import Pair


def conv_norm(
    x: Array, w: Array, scale: Array, shift: Array, stride: Pair, padding: Pair,
    eps: float, rectify: bool,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    """`reference.conv_norm`."""
    x = conv.operand(x)
    c = conv.convolved(x, w, stride, padding, keep=True)
    return *normed(c, scale, shift, eps, rectify), x, c


def conv_norm_dx(
    g: Array, x: Array, c: Array, mean: Array, var: Array, w: Array, scale: Array, shift: Array,
    shape: tuple[int, ...], stride: Pair, padding: Pair, eps: float, rectify: bool,
    wanted: bool = True,
) -> tuple[Array | None, Array, Array, Array]:  # fmt: skip
    """`reference.conv_norm_dx`."""
    real = conv.conv2d_dx, conv.conv2d_dw
    f, h = (conv.hamilton_conv2d_dx, conv.hamilton_conv2d_dw) if w.ndim == 5 else real
    dc, dscale, dshift = normed_dx(g, c, mean, var, scale, shift, eps, rectify)
    dx = f(dc, w, shape, stride, padding) if wanted else None
    return dx, h(x, dc, (w.shape[-4], w.shape[-3]), stride, padding), dscale, dshift
