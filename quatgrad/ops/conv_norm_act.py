"""A convolution, batch norm, and perhaps a residual and an activation, as one operation."""

from collections.abc import Sequence
from functools import cache

from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.parts import parts
from quatgrad.kernels.reference import Pair
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.registry import kernel
from quatgrad.ops.conv_shapes import ConvWindow, check_channels, check_weight, window_of
from quatgrad.ops.norm import count_rows, update_running_stats
from quatgrad.ops.operands import Shape, check_operands
from quatgrad.scalars import number

_window = cache(ConvWindow)  # whose checks take longer than a small step may


class ConvNormAct(Function):
    """y = scale z + shift, z the normalised conv(x, w), of quaternions if w is; or max(y, 0).

    A fifth input is a residual: y = max(scale z + shift + residual, 0). Gradients as in Conv,
    BatchNorm, Add and ReLU; without a residual, where y > 0 is found again from z.
    """

    owns_grads = noted_inside = True
    accepts_bfloat16 = True

    def __init__(self, stride: Pair, padding: Pair, eps: float, relu: bool):
        self.block = Block(stride, padding, eps, relu, parts()[0])

    def forward(self, x, w, scale, shift, residual=None):
        y, saved = kernel("conv_norm_act")(x, w, scale, shift, residual, self.block)
        self.statistics = saved.mean, saved.var
        self.save_for_backward(*saved, w, scale, shift)
        return y

    def backward(self, g):
        saved, parameters, needs = self.saved[:-3], self.saved[-3:], self.needs_input_grad
        options = self.block._replace(overwrite=self.may_overwrite), needs[0]
        return kernel("conv_norm_act_dx")(g, Saved(*saved), *parameters, *options)[: len(needs)]


def conv_norm_act(
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
    relu: bool,
    residual: Tensor | None = None,
) -> Tensor:
    """`conv2d` or `hamilton_conv2d` without a bias, `batch_norm` in training, and `relu`.

    x (N, H, W, P), w (U, V, P, Q) or (4, U, V, P / 4, Q / 4), scale and shift (Q,) -> (N, I, J, Q).
    A residual, of the shape of y, is added before the rectifier, which must then be there.
    """
    x, w, scale, shift = as_tensors("conv_norm_act", x, w, scale, shift)
    components = 4 if w.ndim == 5 else 1
    check_weight("conv_norm_act", w, 5 if components == 4 else 4, components)
    check_channels("conv_norm_act", x, w, components=components)
    window = _window("conv_norm_act", window_of(w), stride, padding)
    shape = len(x), *window.out_size(x.shape), components * w.shape[-1]
    M, norm = count_rows("batch_norm", shape), (scale, shift, running_mean, running_var)
    _check(x, shape, norm, residual, relu)
    op = ConvNormAct(*window.moves, number(eps, "eps"), relu)
    y = op(x, w, scale, shift) if residual is None else op(x, w, scale, shift, residual)
    mean, var = op.statistics
    update_running_stats(running_mean, mean, momentum)
    update_running_stats(running_var, var, momentum, M / (M - 1))
    return y


def _check(
    x: Tensor, shape: Shape, norm: Sequence[Tensor], residual: Tensor | None, relu: bool
) -> None:
    """Raise unless the norm, and what is added, fit maps of this shape."""
    for t in norm:
        if t.shape != shape[-1:]:
            raise ShapeError(
                f"conv_norm_act: a norm of {t.size} channels follows a convolution that "
                f"gives {shape[-1]}"
            )
        check_operands("conv_norm_act", x, norm=(t, shape[-1:]))
    if residual is None:
        return
    if not relu:
        raise OptionError("conv_norm_act: a residual is added before a rectifier: give relu=True")
    if residual.shape != shape:
        raise ShapeError(
            f"conv_norm_act: a residual of shape {residual.shape} is added to maps of shape {shape}"
        )
