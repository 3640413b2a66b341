"""Rows of a table by their numbers: words, characters, places in a sequence."""

from typing import Any

from quatgrad.arrays import Array
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.calls import call
from quatgrad.errors import ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.sequence import check_integers


class Embedding(Function):
    """y[...] = E[k[...]]; dE[v] = sum of g[...] over k[...] = v: added in a fixed order."""

    owns_grads = True

    def __init__(self, tokens: Array):
        self.tokens = tokens

    def forward(self, E):
        return E[self.tokens]

    def backward(self, g):
        V, C = self.shapes[0]
        return kernel("segment_sum")(g.reshape(-1, C), self.tokens.reshape(-1), V)


def embedding(E: Tensor, tokens: Any) -> Tensor:
    """y[...] = E[tokens[...]]; E (V, C), tokens integers of any shape in 0..V-1 -> (..., C)."""
    (E,) = as_tensors("embedding", E)
    if E.ndim != 2:
        raise ShapeError(f"embedding: a table (V, C); got shape {E.shape}")
    return Embedding(call(check_integers, "embedding", tokens, E.shape[0], "token"))(E)
