"""The layers of a network over one algebra: the only difference between real and quaternion."""

from typing import TypeVar

import numpy as np

from quatgrad.errors import OptionError, unknown
from quatgrad.nn import Conv2d, Linear, QConv2d, QLinear
from quatgrad.nn.init import INITIALISERS, fan_in_uniform, fan_in_uniform_bias, initialiser, xavier

L = TypeVar("L", bound=Conv2d | Linear)


class Layers:
    """Makes layers over an algebra, "real" or "quaternion", all from one generator."""

    def __init__(
        self, algebra: str, rng: np.random.Generator, init: str = "xavier", real_head: bool = False
    ):
        if algebra not in INITIALISERS:
            raise OptionError(unknown("algebra", algebra, INITIALISERS))
        self.algebra, self.rng, self.real_head = algebra, rng, real_head
        self.init, self.init_name = initialiser(algebra, init), init

    def conv(
        self, P: int, Q: int, size: int, stride: int = 1, padding: int = 0, bias: bool = False
    ) -> Conv2d:
        """A convolution from P to Q real channels."""
        layer = Conv2d if self.algebra == "real" else QConv2d
        return self._with_bias(
            layer(P, Q, size, stride, padding, bias, rng=self.rng, init=self.init)
        )

    def linear(self, P: int, Q: int) -> Linear:
        """A linear layer from P to Q real features."""
        layer = Linear if self.algebra == "real" else QLinear
        return self._with_bias(layer(P, Q, rng=self.rng, init=self.init))

    def head(self, P: int, classes: int) -> Linear:
        """The last layer: quaternion where 4 divides the classes (100, 1000), else real (10).

        The real one starts as the predecessor's, or as Xavier: no ReLU follows, and small logits
        start at a loss of ln K. With `real_head` it is real for any number of classes.
        """
        if classes % 4 == 0 and not self.real_head:
            return self.linear(P, classes)
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
