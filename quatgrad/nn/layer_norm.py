"""Layer norm: each position by itself, so that it does not matter what else is in the batch."""

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.nn.features import quaternions, reals, zeros
from quatgrad.nn.module import Module
from quatgrad.scalars import number


class LayerNorm(Module):
    """y = scale (x - mean) / sqrt(var + eps) + shift over the C features of x (..., C).

    Ba et al., arXiv:1607.06450.
    """

    components = 1

    def __init__(self, features: int, eps: float = 1e-5):
        count = quaternions if self.components == 4 else reals
        (C,) = count(type(self).__name__, features)
        self.eps = number(eps, "eps")
        self.scale, self.shift = Parameter(np.ones(C, np.float32)), zeros(features)

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        return ops.layer_norm(x, self.scale, self.shift, self.components, self.eps)

    def extra_repr(self) -> str:
        """Number of features."""
        return str(self.shift.size)


class QLayerNorm(LayerNorm):
    """`LayerNorm` of quaternions (..., 4Q): less their mean, over the root of mean |x|^2 / 4.

    scale (Q,) is real, shift (4Q,). With shift 0 it commutes with x -> x u for |u| = 1.
    """

    components = 4
