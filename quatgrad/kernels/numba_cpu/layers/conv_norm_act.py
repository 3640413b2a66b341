"""A convolution, the batch norm after it, a sum and a rectifier, as one: see `norm`."""

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.conv.dispatch import conv2d, conv2d_dw, conv2d_dx
from quatgrad.kernels.numba_cpu.layers.norm import batch_norm_act, batch_norm_act_dx
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.registry import register


@register
def conv_norm_act(
    x: Array, w: Array, scale: Array, shift: Array, residual: Array | None, block: Block
) -> tuple[Array, Saved]:
    """`reference.conv_norm_act`."""
    c = conv2d(x, w, block.stride, block.padding)
    options = block.eps, block.relu, residual, block.gather
    y, mean, var = batch_norm_act(c, scale, shift, *options)
    return y, Saved(x, c, None if residual is None else y, mean, var)


@register
def conv_norm_act_dx(
    g: Array, saved: Saved, w: Array, scale: Array, shift: Array, block: Block, needs_dx: bool
) -> tuple[Array | None, Array, Array, Array, Array | None]:
    """`reference.conv_norm_act_dx`."""
    x, c, y, mean, var, _ = saved
    window, channels = (block.stride, block.padding), (mean, var, scale, shift)
    options = block.eps, block.relu, block.gather, block.overwrite
    dc, dscale, dshift, dresidual = batch_norm_act_dx(g, c, y, channels, *options)
    dx = conv2d_dx(dc, w, x.shape, *window) if needs_dx else None
    return dx, conv2d_dw(x, dc, w.shape, *window), dscale, dshift, dresidual
