"""A table of vectors, one for each word, character or place."""

from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.nn.features import reals
from quatgrad.nn.module import Module
from quatgrad.random import Source, as_generator


class Embedding(Module):
    """y[...] = E[tokens[...]], E (V, C) from N(0, std^2); over either algebra it is real.

    Nothing multiplies E, so it is no weight (`tables`); also where `ops.linear(x, E.T)` reads it
    as the weight of a head that is tied to it.
    """

    tables = ("weight",)

    def __init__(self, count: int, features: int, *, rng: Source, std: float = 0.02):
        V, C = reals("Embedding", count, features)
        table = std * as_generator(rng, "weights").standard_normal((V, C))
        self.weight = Parameter(table.astype(np.float32))

    def forward(self, tokens: Any) -> Tensor:
        """The rows of these numbers, integers of any shape."""
        return ops.embedding(self.weight, tokens)

    def extra_repr(self) -> str:
        """Rows and features."""
        return "{} of {}".format(*self.weight.shape)
