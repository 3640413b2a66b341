"""What a network repeats: a convolution, a norm, perhaps a residual and an activation."""

from collections.abc import Callable
from typing import Any

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend
from quatgrad.nn.activation import ReLU
from quatgrad.nn.conv import Conv2d, QConv2d
from quatgrad.nn.module import Module
from quatgrad.nn.norm import BatchNorm2d

Activation = Callable[[Any], Any]


def conv_norm_act(
    conv: Module, norm: Module, x: Any, activation: Activation | None = None, residual: Any = None
) -> Any:
    """activation(norm(conv(x)) + residual); on a fast rung in one step, which moves less memory.

    The activation is a function or a module. x (N, H, W, P), residual (N, I, J, Q) -> (N, I, J, Q).
    """
    if isinstance(x, Tensor) and _is_fusable(conv, norm, activation, residual):
        assert isinstance(conv, Conv2d)
        assert isinstance(norm, BatchNorm2d)
        tensors = x, conv.weight, norm.scale, norm.shift, norm.running_mean, norm.running_var
        options = *conv.window.moves, norm.momentum, norm.eps, _is_relu(activation)
        return ops.conv_norm_act(*tensors, *options, residual)
    y = norm(conv(x))
    y = y if residual is None else y + residual
    return activation(y) if activation else y


def _is_relu(activation: Activation | None) -> bool:
    return activation is ops.relu or type(activation) is ReLU


def _is_fusable(conv: Module, norm: Module, activation: Activation | None, residual: Any) -> bool:
    """Is there a gain, and do they do nothing that `ops.conv_norm_act` does not?"""
    if get_backend() == "numpy" or not (activation is None or _is_relu(activation)):
        return False
    if residual is not None and not (activation and isinstance(residual, Tensor)):
        return False
    if type(conv) not in (Conv2d, QConv2d) or type(norm) is not BatchNorm2d:
        return False
    assert isinstance(conv, Conv2d)
    usual = conv.window.options[2:] == ((1, 1), 1, "zeros")  # dilation, groups, padding mode
    return usual and conv.bias is None and norm.training
