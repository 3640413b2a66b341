"""A convolution, its batch norm, a sum and a rectifier, as one kernel.

A rung that stores the maps between them in fewer bits moves less memory.
"""

from typing import NamedTuple

from quatgrad.arrays import Array
from quatgrad.kernels.parts import Gather
from quatgrad.kernels.reference.arithmetic import relu, relu_dx, upcast
from quatgrad.kernels.reference.conv import conv2d, conv2d_dw, conv2d_dx
from quatgrad.kernels.reference.norm import batch_norm, batch_norm_dx, batch_norm_eval
from quatgrad.kernels.reference.patches import Pair
from quatgrad.kernels.registry import register


class Block(NamedTuple):
    """The numbers of such a block, and what its kernels may do."""

    stride: Pair
    padding: Pair
    eps: float
    relu: bool
    gather: Gather = None  # see `batch_norm`
    overwrite: bool = False  # g and saved.c in `conv_norm_act_dx`: nobody reads them any more


class Saved(NamedTuple):
    """What `conv_norm_act_dx` needs of the forward pass."""

    x: Array
    c: Array  # conv(x, w)
    y: Array | None  # the result, where a residual was added
    mean: Array
    var: Array
    packed_weight: Array | None = None  # w in the form in which the product read it


@register
def conv_norm_act(
    x: Array, w: Array, scale: Array, shift: Array, residual: Array | None, block: Block
) -> tuple[Array, Saved]:
    """y = scale z + shift, z = (c - mean) / sqrt(var + eps), c = conv(x, w); if relu max(y, 0).

    w has four axes, or five for quaternions. A residual is added to y before the rectifier.
    """
    x = upcast(x)
    c = conv2d(x, w, block.stride, block.padding)
    y, mean, var = batch_norm(c, scale, shift, block.eps, block.gather)
    y = y if residual is None else y + upcast(residual)
    y = relu(y) if block.relu else y
    return y, Saved(x, c, None if residual is None else y, mean, var)


@register
def conv_norm_act_dx(
    g: Array, saved: Saved, w: Array, scale: Array, shift: Array, block: Block, needs_dx: bool
) -> tuple[Array | None, Array, Array, Array, Array | None]:
    """dx (None if it is not needed), dw, dscale, dshift, dresidual, by the rules of the four.

    dresidual is returned where there was a residual and a rectifier.
    """
    g, x, c = map(upcast, (g, saved.x, saved.c))  # a faster rung may have stored bfloat16
    *window, eps, _, gather, _ = block
    if saved.y is not None:
        g = relu_dx(g, upcast(saved.y))
    elif block.relu:
        g = relu_dx(g, batch_norm_eval(c, saved.mean, saved.var, scale, shift, eps))
    dc, dscale, dshift = batch_norm_dx(g, c, saved.mean, saved.var, scale, eps, gather)
    dx = conv2d_dx(dc, w, x.shape, *window) if needs_dx else None
    return dx, conv2d_dw(x, dc, w.shape, *window), dscale, dshift, None if saved.y is None else g
