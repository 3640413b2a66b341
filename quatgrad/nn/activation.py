"""Non-linearities and dropout. ReLU takes each component of a quaternion by itself ("split")."""

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError
from quatgrad.nn.features import quaternions, zeros
from quatgrad.nn.module import Buffer, Module
from quatgrad.random import Source, as_generator, generator
from quatgrad.scalars import number


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return ops.relu(x)


class GELU(Module):
    """y = x Φ(x), Φ the distribution function of N(0, 1). Hendrycks & Gimpel, arXiv:1606.08415."""

    def forward(self, x: Tensor) -> Tensor:
        """x Φ(x)."""
        return ops.gelu(x)


class ModReLU(Module):
    """y = x max(|x| + b, 0) / |x| for quaternions of x (..., 4Q), b (Q,) starting at 0.

    Keeps directions and knows no axes: y(u x) = u y(x) for |u| = 1. y = 0 where x = 0.
    With b = 0 it is the identity: what it cuts off is learned. Arjovsky et al., arXiv:1511.06464.
    """

    def __init__(self, channels: int):
        (Q,) = quaternions("ModReLU", channels)
        self.bias = zeros(Q)

    def forward(self, x: Tensor) -> Tensor:
        """x with every quaternion shortened by -b."""
        return ops.modrelu(x, self.bias)

    def extra_repr(self) -> str:
        """Number of channels."""
        return str(4 * self.bias.size)


class Modulus(Module):
    """y_q = |x_q|: x (..., 4Q) in component blocks -> y (..., Q). |u x| = |x| = |x u| for |u| = 1.

    The gradient is 0 where x = 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The length of every quaternion."""
        (Q,) = quaternions("Modulus", x.shape[-1] if x.ndim else 0)
        axes = *range(x.ndim - 1), x.ndim, x.ndim - 1
        # (..., 4Q) -> (..., 4, Q) -> (..., Q, 4) -> (..., Q)
        return ops.algebra.norm(x.reshape(*x.shape[:-1], 4, Q).transpose(*axes))


class Dropout(Module):
    """y = x m / (1 - p) in training, m = 0 with probability p, else 1; y = x in evaluation.

    `rng` gives the layer its key. How often it has drawn is a buffer: part of the state, so that
    a network that is rewound, or made anew by its seed to go on, draws again what it drew.
    """

    components = 1  # that are dropped together
    process = 0  # of several that train, each of which draws for its share

    def __init__(self, p: float, *, rng: Source):
        p = number(p, "Dropout: p")
        if not 0 <= p < 1:
            raise OptionError(f"Dropout: p is the share that is dropped, 0 <= p < 1; got {p}")
        self.p, self.draws = p, Buffer(0)
        self.key = int(as_generator(rng, "dropout").integers(2**63))

    def forward(self, x: Tensor) -> Tensor:
        """x with entries dropped."""
        if not self.training:
            return x
        draws = self.draws.item()
        rng = generator(self.key, "dropout", int(draws), *filter(None, [self.process]))
        # From 2^24 on float32 has not every whole number: then to the next that it has.
        self.draws.data = max(draws + 1, np.nextafter(np.float32(draws), np.float32(np.inf)))
        return ops.dropout(x, self.p, rng, components=self.components)

    def extra_repr(self) -> str:
        """Share of entries dropped."""
        return f"p={self.p}"


class QDropout(Dropout):
    """`Dropout` of whole quaternions of x (..., 4Q): one m for all four components."""

    components = 4
