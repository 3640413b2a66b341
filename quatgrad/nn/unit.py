"""What a network repeats: a convolution, a norm, perhaps a sum and a rectifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend
from quatgrad.nn.conv import Conv2d, QConv2d
from quatgrad.nn.module import Module
from quatgrad.nn.norm import BatchNorm2d


def normed(
    conv: Module, norm: Module, x: Any, then: Callable[[Any], Any] | None = None, plus: Any = None
) -> Any:
    """then(norm(conv(x)) + plus); on a fast rung in one step, which moves less memory.

    `then` is the rectifier, or nothing; `plus` is a tensor of the shape of norm(conv(x)).
    """
    if isinstance(x, Tensor) and _as_one(conv, norm, then, plus):
        assert isinstance(conv, Conv2d | QConv2d)
        assert isinstance(norm, BatchNorm2d)
        return ops.conv_norm(
            x, conv.weight, norm.scale, norm.shift, norm.running_mean, norm.running_var,
            conv.stride, conv.padding, norm.momentum, norm.eps, then is ops.relu, plus,
        )  # fmt: skip
    y = norm(conv(x))
    y = y if plus is None else y + plus
    return then(y) if then else y


def _as_one(conv: Module, norm: Module, then: Callable[[Any], Any] | None, plus: Any) -> bool:
    """Is there a gain, and do they do nothing that `ops.conv_norm` does not?"""
    if get_backend() == "numpy" or then not in (None, ops.relu):
        return False
    if plus is not None and not (then and isinstance(plus, Tensor)):
        return False
    if not isinstance(conv, Conv2d | QConv2d) or type(norm) is not BatchNorm2d:
        return False
    usual = conv.bias is None and conv.groups == 1 and conv.dilation == (1, 1)
    return usual and conv.padding_mode == "zeros" and norm.training
