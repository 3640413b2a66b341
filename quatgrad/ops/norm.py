"""Batch normalization of channels, over every axis but the last."""

import math

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.parts import parts
from quatgrad.kernels.registry import kernel
from quatgrad.ops.operands import check_operands
from quatgrad.scalars import number


class BatchNorm(Function):
    """y = scale z + shift, z = (x - mean) / sqrt(var + eps), statistics of this batch.

    dx = scale / sqrt(var + eps) (g - mean(g) - z mean(g z)); dscale = sum g z, dshift = sum g.
    """

    owns_grads = noted_inside = True

    def __init__(self, eps: float):
        self.how = eps, parts()[0]

    def forward(self, x, scale, shift):
        y, *self.statistics = kernel("batch_norm")(x, scale, shift, *self.how)
        self.save_for_backward(x, *self.statistics, scale)
        return y

    def backward(self, g):
        return kernel("batch_norm_dx")(g, *self.saved, *self.how)


class BatchNormEval(Function):
    """y = scale (x - mean) / sqrt(var + eps) + shift with given mean and var."""

    def __init__(self, mean: Tensor, var: Tensor, eps: float):
        self.mean, self.var, self.eps = mean.data.copy(), var.data.copy(), eps

    def forward(self, x, scale, shift):
        self.save_for_backward(x, scale)
        return kernel("batch_norm_eval")(x, self.mean, self.var, scale, shift, self.eps)

    def backward(self, g):
        x, scale = self.saved
        inv = 1 / array_module(x).sqrt(self.var + self.eps)  # (C,)
        rows, total = tuple(range(x.ndim - 1)), kernel("sum_over")
        # (..., C), and sums over all rows (..., C) -> (C,)
        return g * (scale * inv), total(g * (x - self.mean) * inv, rows), total(g, rows)


def batch_norm(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = scale (x - mean) / sqrt(var + eps) + shift, for each of the C channels of x (..., C).

    In training, mean and var are the batch's (var biased), and the running ones move towards
    them: r <- (1 - momentum) r + momentum b, with the unbiased var. Otherwise the running ones
    are used. Source: Ioffe & Szegedy, arXiv:1502.03167; conventions as PyTorch's.
    """
    x, scale, shift = as_tensors("batch_norm", x, scale, shift)
    C, eps = x.shape[-1:], number(eps, "eps")
    if x.ndim == 0 or scale.shape != C:
        raise ShapeError(
            f"batch_norm: expected {scale.size} channels; the input of shape {x.shape} has "
            f"{x.shape[-1] if C else 'none'}"
        )
    check_operands(
        "batch_norm", x, shift=(shift, C), running_mean=(running_mean, C),
        running_var=(running_var, C),
    )  # fmt: skip
    if not training:
        return BatchNormEval(running_mean, running_var, eps)(x, scale, shift)
    M = count_rows("batch_norm", x.shape)
    op = BatchNorm(eps)
    y = op(x, scale, shift)
    mean, var = op.statistics  # (..., C) -> (C,) each
    update_running_stats(running_mean, mean, momentum)
    update_running_stats(running_var, var, momentum, M / (M - 1))
    return y


def count_rows(op: str, shape: tuple[int, ...]) -> int:
    """Values for each channel of x (..., C), in all parts; `ShapeError` unless two or more."""
    M = math.prod(shape[:-1])
    if shape[-1] == 0:
        raise ShapeError(f"{op}: there are no channels (input {shape})")
    if M < 2:
        raise ShapeError(
            f"{op}: {'one value' if M else 'no value'} for each channel has no variance (input "
            f"{shape}): train with more images or pixels in a batch, or call .eval() first"
        )
    return round(M / parts()[1])


def update_running_stats(
    running: Tensor, batch: Array, momentum: float, correction: float = 1.0
) -> None:
    """r <- (1 - momentum) r + momentum correction b."""
    momentum = number(momentum, "momentum")
    running.update(lambda r: kernel("update_running_stats")(r, batch, momentum, correction))
