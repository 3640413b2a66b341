"""Layers made of layers, and the one that lays maps out as vectors."""

from collections.abc import Iterator
from typing import Any

from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend
from quatgrad.errors import ShapeError
from quatgrad.nn.activation import ReLU
from quatgrad.nn.conv import Conv2d
from quatgrad.nn.linear import Linear
from quatgrad.nn.module import Module
from quatgrad.nn.norm import BatchNorm2d
from quatgrad.ops.operands import add_bias
from quatgrad.ops.shape import Vectors
from quatgrad.random import Source


class Sequential(Module):
    """y = f_n(... f_2(f_1(x)))."""

    def __init__(self, *modules: Module):
        self.modules = list(modules)

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """Its modules, named by number; then what a subclass adds."""
        return ((name.removeprefix("modules."), member) for name, member in super().members())

    def forward(self, x: Tensor) -> Tensor:
        """Each module on the output of the one before; a layer with the rectifier after it."""
        rest = self.modules[::-1]
        while rest:
            layer: Any = rest.pop()
            if rest and type(rest[-1]) is ReLU and _takes_relu(layer, x):
                rest.pop()
                x = add_bias(type(layer).__name__, layer.product(x, None), layer.bias, relu=True)
            else:
                x = layer(x)
        return x


def _takes_relu(layer: Any, x: Any) -> bool:
    """Is there a gain? In evaluation, who reads the graph finds a node for each module."""
    if type(layer).forward not in (Linear.forward, Conv2d.forward) or get_backend() != "numba":
        return False
    return isinstance(x, Tensor) and layer.training and layer.bias is not None


class LearnedEncoder(Sequential):
    """Makes a quaternion of each pixel of a C-channel image by learning: 3x3 conv to 4 channels,
    batch norm; x (N, H, W, C) -> y (N, H, W, 4). After Gaudet & Maida, arXiv:1712.04604.
    """

    def __init__(self, in_channels: int, *, rng: Source):
        super().__init__(Conv2d(in_channels, 4, 3, padding=1, bias=False, rng=rng), BatchNorm2d(4))


class Flatten(Module):
    """Maps (N, H, W, 4Q) as vectors (N, 4 H W Q) that keep the component blocks [1 | i | j | k].

    Plain row-major order would scatter the components; a real network does not mind this order.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Component a of quaternion (h, w, q) goes to entry (a, h, w, q)."""
        if x.ndim != 4:
            raise ShapeError(f"Flatten: takes maps (N, H, W, C); got shape {x.shape}")
        return Vectors(1 if x.shape[3] % 4 else 4)(x)
