"""A convolution, the batch norm after it, a sum and a rectifier, as one: see `norm`."""

from __future__ import annotations

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu import convolution
from quatgrad.kernels.numba_cpu.norm import normed, normed_dx
from quatgrad.kernels.reference import Pair


def conv_norm(
    x: Array, w: Array, scale: Array, shift: Array, shortcut: Array | None,
    stride: Pair, padding: Pair, eps: float, rectify: bool,
) -> tuple[Array, Array, Array, Array, Array, Array | None]:  # fmt: skip
    """`reference.conv_norm`."""
    conv = convolution.hamilton_conv2d if w.ndim == 5 else convolution.conv2d
    c = conv(x, w, stride, padding)
    return *normed(c, scale, shift, eps, rectify, shortcut), x, c, None


def conv_norm_dx(
    g: Array, x: Array, c: Array, y: Array | None, mean: Array, var: Array,
    w: Array, scale: Array, shift: Array, shape: tuple[int, ...],
    stride: Pair, padding: Pair, eps: float, rectify: bool, wanted: bool = True,
    read: Array | None = None,
) -> tuple[Array | None, Array, Array, Array, Array | None]:  # fmt: skip
    """`reference.conv_norm_dx`."""
    real = convolution.conv2d_dx, convolution.conv2d_dw
    quaternion = convolution.hamilton_conv2d_dx, convolution.hamilton_conv2d_dw
    conv_dx, conv_dw = quaternion if w.ndim == 5 else real
    dc, dscale, dshift, dshortcut = normed_dx(g, c, y, mean, var, scale, shift, eps, rectify)
    dx = conv_dx(dc, w, shape, stride, padding) if wanted else None
    dw = conv_dw(x, dc, (w.shape[-4], w.shape[-3]), stride, padding)
    return dx, dw, dscale, dshift, dshortcut
