"""The layers of a network over one algebra: the only difference between real and quaternion."""

from __future__ import annotations

import numpy as np

from quatgrad.errors import OptionError
from quatgrad.nn import Conv2d, Linear, QConv2d, QLinear
from quatgrad.nn.init import INITIALISERS, initialiser


class Layers:
    """Makes layers over an algebra, "real" or "quaternion", all from one generator."""

    def __init__(self, algebra: str, rng: np.random.Generator, init: str = "xavier"):
        if algebra not in INITIALISERS:
            raise OptionError(
                f"unknown algebra {algebra!r}: choose one of {', '.join(INITIALISERS)}"
            )
        self.algebra, self.rng = algebra, rng
        self.init = initialiser(algebra, init)

    def conv(
        self, P: int, Q: int, size: int, stride: int = 1, padding: int = 0, bias: bool = False
    ) -> Conv2d | QConv2d:
        """A convolution from P to Q real channels."""
        layer = Conv2d if self.algebra == "real" else QConv2d
        return layer(P, Q, size, stride, padding, bias, rng=self.rng, init=self.init)

    def linear(self, P: int, Q: int) -> Linear | QLinear:
        """A linear layer from P to Q real features."""
        layer = Linear if self.algebra == "real" else QLinear
        return layer(P, Q, rng=self.rng, init=self.init)

    def head(self, P: int, classes: int) -> Linear | QLinear:
        """The last layer: quaternion where 4 divides the classes (100, 1000), else real (10).

        The real one starts as Xavier: no ReLU follows, and small logits start at a loss of ln K.
        """
        return self.linear(P, classes) if classes % 4 == 0 else Linear(P, classes, rng=self.rng)
