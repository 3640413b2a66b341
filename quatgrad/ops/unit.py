"""A convolution, batch norm and perhaps a rectifier as one operation."""

from __future__ import annotations

from quatgrad.autograd import Function, Tensor
from quatgrad.backend import kernel
from quatgrad.kernels.reference import Pair
from quatgrad.ops.norm import check_rows, follow
from quatgrad.ops.window import check_channels, check_window, window_of


class ConvNorm(Function):
    """y = scale z + shift, z the normalised conv(x, w), of quaternions if w is; or max(y, 0).

    Gradients as in Conv, BatchNorm and ReLU; where y > 0 is found again from z.
    """

    fresh = True

    def __init__(self, stride: Pair, padding: Pair, eps: float, rectify: bool):
        self.how = stride, padding, eps, rectify

    def forward(self, x, w, scale, shift):
        y, mean, var, *kept = kernel("conv_norm")(x, w, scale, shift, *self.how)
        self.statistics = mean, var
        self.save(*kept, mean, var, w, scale, shift)
        return y

    def backward(self, g):
        return kernel("conv_norm_dx")(g, *self.saved, self.shapes[0], *self.how, self.needs[0])


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
) -> Tensor:
    """`conv2d` or `hamilton_conv2d` without a bias, `batch_norm` in training, and `relu`."""
    check_channels("conv_norm", x, w, components=4 if w.ndim == 5 else 1)
    check_window("conv_norm", x.shape, window_of(w), stride, padding)
    op = ConvNorm(stride, padding, eps, rectify)
    y = op(x, w, scale, shift)
    check_rows("batch_norm", y)
    (mean, var), M = op.statistics, y.size // y.shape[-1]
    follow(running_mean, mean, momentum)
    follow(running_var, var * (M / (M - 1)), momentum)
    return y
