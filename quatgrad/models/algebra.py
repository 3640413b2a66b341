"""The layers of a network over one algebra: the only difference between real and quaternion."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from quatgrad.errors import OptionError, unknown
from quatgrad.nn import (
    GELU,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    ModReLU,
    Module,
    QBatchNorm2d,
    QConv2d,
    QDropout,
    QLinear,
    QVarianceNorm2d,
    ReLU,
    Sequential,
)
from quatgrad.nn.init import fan_in_uniform, fan_in_uniform_bias, initialiser, xavier
from quatgrad.option_fields import check_values, option
from quatgrad.sham import SHAMS, ShamConv2d, ShamLinear

L = TypeVar("L", bound=Conv2d | Linear)

#: Over what a network may be: algebras, and their controls.
ALGEBRAS = ("real", "quaternion", *SHAMS)
#: name -> the norm of quaternion maps. Real layers have the first.
NORMS = {"batch": BatchNorm2d, "variance": QVarianceNorm2d, "whitening": QBatchNorm2d}
#: name -> the activation of so many channels; modReLU is of quaternions, real layers have ReLU.
ACTIVATIONS: dict[str, Callable[[int], Module]] = {
    "relu": lambda channels: ReLU(),
    "gelu": lambda channels: GELU(),
    "modrelu": ModReLU,
}


@dataclass(frozen=True)
class Style:
    """What may differ between networks of one plan.

    Sources: Tay et al., arXiv:1906.04393, for networks that are quaternions in part; Gaudet and
    Maida, arXiv:1712.04604, for whitening; Arjovsky et al., arXiv:1511.06464, for modReLU.
    """

    real_parts: str = option(
        "layers that are real in a quaternion network too: stem,shortcuts,stage1 of a ResNet, "
        "layer1 of a LeNet, stem,block1,hidden of a conv net",
        "",
        metavar="NAMES",
    )
    norm: str = option("norm of quaternion maps", choices=tuple(NORMS))
    activation: str = option(
        "what follows a norm or layer; modrelu is of quaternions, and real layers keep relu",
        choices=tuple(ACTIVATIONS),
    )
    dropout: float = option("drop this share of what the last layer sees, whole quaternions", 0.0)

    def __post_init__(self) -> None:
        check_values(self)
        if not 0 <= self.dropout < 1:
            raise OptionError(f"`dropout` is a share from 0 to less than 1; got {self.dropout}")


class Layers:
    """Makes layers over an algebra, one of `ALGEBRAS`, all from one generator."""

    def __init__(
        self,
        algebra: str,
        rng: np.random.Generator,
        init: str = "xavier",
        real_head: bool = False,
        style: Style = Style(),
    ):
        if algebra not in ALGEBRAS:
            raise OptionError(unknown("algebra", algebra, ALGEBRAS))
        self.algebra, self.rng, self.real_head, self.style = algebra, rng, real_head, style
        self.init = initialiser("real" if algebra == "real" else "quaternion", init)
        self.init_name = init
        self.parts: set[str] = set()  # that were asked for

    def of(self, part: str) -> Layers:
        """The layers of a part of the network: real ones, if `real_parts` names it."""
        self.parts.add(part)
        if part not in self.style.real_parts.split(",") or self.algebra == "real":
            return self
        real = copy(self)
        real.algebra, real.init = "real", initialiser("real", self.init_name)
        return real

    def check_parts(self) -> None:
        """Raise `OptionError` where `real_parts` names what the network has not asked for."""
        for part in filter(None, self.style.real_parts.split(",")):
            if part not in self.parts:
                raise OptionError(unknown("part of this network", part, sorted(self.parts)))

    def norm(self, channels: int) -> Module:
        """The norm of a map with so many real channels."""
        return NORMS[self.style.norm if self.algebra != "real" else "batch"](channels)

    def activation(self, channels: int) -> Module:
        """The activation of such a map."""
        name = self.style.activation
        return ACTIVATIONS["relu" if (name, self.algebra) == ("modrelu", "real") else name](
            channels
        )

    def conv(
        self, P: int, Q: int, size: int, stride: int = 1, padding: int = 0, bias: bool = False
    ) -> Conv2d:
        """A convolution from P to Q real channels."""
        layer: Any = {"real": Conv2d, "quaternion": QConv2d}.get(
            self.algebra, partial(ShamConv2d, algebra=self.algebra)
        )
        return self._with_bias(
            layer(P, Q, size, stride, padding, bias, rng=self.rng, init=self.init)
        )

    def linear(self, P: int, Q: int, bias: bool = True) -> Linear:
        """A linear layer from P to Q real features."""
        layer: Any = {"real": Linear, "quaternion": QLinear}.get(
            self.algebra, partial(ShamLinear, algebra=self.algebra)
        )
        return self._with_bias(layer(P, Q, bias, rng=self.rng, init=self.init))

    def head(self, P: int, classes: int) -> Module:
        """The last layer: quaternion where 4 divides the classes (100, 1000), else real (10).

        The real one starts as the predecessor's, or as Xavier: no ReLU follows, and small logits
        start at a loss of ln K. With `real_head` it is real for any number of classes.
        """
        layer = self._head(P, classes)
        if not self.style.dropout:
            return layer
        dropout = Dropout if self.algebra == "real" else QDropout
        return Sequential(dropout(self.style.dropout, rng=self.rng), layer)

    def _head(self, P: int, classes: int) -> Linear:
        if classes % 4 == 0 and not self.real_head:
            return self.linear(P, classes)
        return self.real_linear(P, classes)

    def real_linear(self, P: int, classes: int) -> Linear:
        """A real last layer."""
        start = fan_in_uniform if self.init_name == "predecessor" else xavier
        return self._with_bias(Linear(P, classes, rng=self.rng, init=start))

    def _with_bias(self, layer: L) -> L:
        """The layer; the predecessor's real layers alone have a bias that does not start at 0."""
        if (
            self.init_name == "predecessor"
            and layer.weight.components == 1
            and layer.bias is not None
        ):
            layer.bias.data = fan_in_uniform_bias(self.rng, layer.weight.shape)
        return layer
