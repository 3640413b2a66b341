"""A convolution, the batch norm after it, a sum and a rectifier, as one.

Sum and rectifier cost no pass over memory of their own. In bf16 all maps are bits, what comes in,
what lies between and what goes out, forwards and back: half of what numbers take.
"""

from typing import Any

from quatgrad.arrays import BFLOAT16_BITS, Array
from quatgrad.kernels.cupy_gpu import conv
from quatgrad.kernels.cupy_gpu.cudnn import to_bf16, upcast
from quatgrad.kernels.cupy_gpu.norm import batch_norm_act, batch_norm_act_dx
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.registry import register


@register
def conv_norm_act(
    x: Array, w: Array, scale: Array, shift: Array, residual: Array | None, block: Block
) -> tuple[Array, Saved]:
    """`reference.conv_norm_act`; in bf16 the weight is rounded and expanded once for y and dx."""
    x = conv.cast_input(x)
    packed = conv.pack_weight(w, BFLOAT16_BITS) if x.dtype == BFLOAT16_BITS else None
    c = conv.convolve(x, w, block.stride, block.padding, packed)
    residual = _like(c, residual)
    options = block.eps, block.relu, residual, block.gather
    y, mean, var = batch_norm_act(c, scale, shift, *options)
    return y, Saved(x, c, None if residual is None else y, mean, var, packed)


@register
def conv_norm_act_dx(
    g: Array, saved: Saved, w: Array, scale: Array, shift: Array, block: Block, needs_dx: bool
) -> tuple[Array | None, Array, Array, Array, Array | None]:
    """`reference.conv_norm_act_dx`."""
    x, c, y, mean, var, packed = saved
    g, y, channels = _like(c, g), _like(c, y), (mean, var, scale, shift)
    options = block.eps, block.relu, block.gather
    dc, dscale, dshift, dresidual = batch_norm_act_dx(g, c, y, channels, *options)
    window = block.stride, block.padding
    dx = conv.convolve_dx(dc, w, x.shape, *window, packed) if needs_dx else None
    return dx, conv.conv2d_dw(x, dc, w.shape, *window), dscale, dshift, dresidual


def _like(c: Array, a: Array | None) -> Any:
    """a as bits if c is, else as numbers."""
    return None if a is None else to_bf16(a) if c.dtype == BFLOAT16_BITS else upcast(a)
