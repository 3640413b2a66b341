"""A convolution, batch norm, and perhaps a sum and a rectifier, as one operation."""

from __future__ import annotations

import math

from quatgrad.autograd import Function, Tensor
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.reference import Pair, out_size
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.registry import kernel
from quatgrad.ops.norm import check_rows, follow
from quatgrad.ops.window import check_channels, check_window, window_of


class ConvNorm(Function):
    """y = scale z + shift, z the normalised conv(x, w), of quaternions if w is; or max(y, 0).

    A fifth input is a shortcut: y = max(scale z + shift + shortcut, 0). Gradients as in Conv,
    BatchNorm, Add and ReLU; without a shortcut, where y > 0 is found again from z.
    """

    owns_grads = True
    accepts_bfloat16 = True

    def __init__(self, stride: Pair, padding: Pair, eps: float, rectify: bool):
        self.block = Block(stride, padding, eps, rectify)

    def forward(self, x, w, scale, shift, shortcut=None):
        y, saved = kernel("conv_norm_act")(x, w, scale, shift, shortcut, self.block)
        self.statistics = saved.mean, saved.var
        self.save_for_backward(*saved, w, scale, shift)
        return y

    def backward(self, g):
        *saved, w, scale, shift = self.saved
        needs, dx = self.needs_input_grad, kernel("conv_norm_act_dx")
        return dx(g, Saved(*saved), w, scale, shift, self.block, needs[0])[: len(needs)]


def conv_norm(
    x: Tensor,
    w: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    stride: Pair,
    padding: Pair,
    momentum: float,
    eps: float,
    rectify: bool,
    shortcut: Tensor | None = None,
) -> Tensor:
    """`conv2d` or `hamilton_conv2d` without a bias, `batch_norm` in training, and `relu`.

    A shortcut, of the shape of y, is added before the rectifier, which must then be there.
    """
    check_channels("conv_norm", x, w, components=4 if w.ndim == 5 else 1)
    check_window("conv_norm", x.shape, window_of(w), stride, padding)
    size = out_size(x.shape[1:3], window_of(w), stride, padding)
    shape = len(x), *size, w.shape[-1] * (4 if w.ndim == 5 else 1)
    _check(shape, scale, shift, shortcut, rectify)
    op = ConvNorm(stride, padding, eps, rectify)
    y = op(x, w, scale, shift) if shortcut is None else op(x, w, scale, shift, shortcut)
    (mean, var), M = op.statistics, math.prod(shape[:-1])
    follow(running_mean, mean, momentum)
    follow(running_var, var, momentum, M / (M - 1))
    return y


def _check(
    shape: tuple[int, ...], scale: Tensor, shift: Tensor, shortcut: Tensor | None, rectify: bool
) -> None:
    """Raise unless the norm, and what is added, fit maps of this shape."""
    for parameter in (scale, shift):
        if parameter.shape != shape[-1:]:
            raise ShapeError(
                f"conv_norm: a norm of {parameter.size} channels follows a convolution that gives "
                f"{shape[-1]}"
            )
    check_rows("batch_norm", shape)
    if shortcut is None:
        return
    if not rectify:
        raise OptionError("conv_norm: a shortcut is added before a rectifier: give rectify=True")
    if shortcut.shape != shape:
        raise ShapeError(
            f"conv_norm: a shortcut of shape {shortcut.shape} is added to maps of shape {shape}"
        )
