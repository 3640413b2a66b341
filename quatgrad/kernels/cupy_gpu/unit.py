"""A convolution, the batch norm after it, a sum and a rectifier, as one.

Sum and rectifier cost no pass over memory of their own. In bf16 all maps are bits, what comes in,
what lies between and what goes out, forwards and back: half of what numbers take.
"""

from __future__ import annotations

from quatgrad.arrays import BITS, Array
from quatgrad.kernels.cupy_gpu import conv
from quatgrad.kernels.cupy_gpu.norm import normed, normed_dx
from quatgrad.kernels.cupy_gpu.plans import to_bf16, wide
from quatgrad.kernels.reference import Pair


def conv_norm(
    x: Array, w: Array, scale: Array, shift: Array, shortcut: Array | None,
    stride: Pair, padding: Pair, eps: float, rectify: bool,
) -> tuple[Array, Array, Array, Array, Array, Array | None]:  # fmt: skip
    """`reference.conv_norm`; in bf16 the weight is rounded, and expanded, once for two products."""
    x = conv.operand(x)
    read = conv.filter_of(w, BITS) if x.dtype == BITS else None
    c = conv.convolved(x, w, stride, padding, keep=True, read=read)
    return *normed(c, scale, shift, eps, rectify, _like(c, shortcut)), x, c, read


def conv_norm_dx(
    g: Array, x: Array, c: Array, y: Array | None, mean: Array, var: Array,
    w: Array, scale: Array, shift: Array, shape: tuple[int, ...],
    stride: Pair, padding: Pair, eps: float, rectify: bool, wanted: bool = True,
    read: Array | None = None,
) -> tuple[Array | None, Array, Array, Array, Array | None]:  # fmt: skip
    """`reference.conv_norm_dx`."""
    g, y = _like(c, g), _like(c, y)
    dc, dscale, dshift, dshortcut = normed_dx(g, c, y, mean, var, scale, shift, eps, rectify)
    dx = conv.convolved_dx(dc, w, shape, stride, padding, True, read) if wanted else None
    dw = conv.convolved_dw(x, dc, (w.shape[-4], w.shape[-3]), stride, padding, w.ndim == 5)
    return dx, dw, dscale, dshift, dshortcut


def _like(c: Array, a: Array | None) -> Array | None:
    """a as bits if c is, else as numbers."""
    return None if a is None else to_bf16(a) if c.dtype == BITS else wide(a)
