"""Elementwise non-linearities, softmax and dropout.

On a quaternion map they act on each component by itself ("split" activations), as in the paper.
"""

from __future__ import annotations

import math

import numpy as np

from quatgrad.autograd import Function, Tensor
from quatgrad.backend import array_module, asarray, special
from quatgrad.errors import OptionError


class ReLU(Function):
    """y = max(x, 0); dy/dx = 1 for x > 0, else 0."""

    def forward(self, x):
        y = array_module(x).maximum(x, 0)
        self.save(y)
        return y

    def backward(self, g):
        (y,) = self.saved
        return g * (y > 0)


class LeakyReLU(Function):
    """y = x for x > 0, else slope x."""

    def __init__(self, slope: float):
        self.slope = slope

    def forward(self, x):
        self.save(x > 0)
        return array_module(x).where(x > 0, x, self.slope * x)

    def backward(self, g):
        (positive,) = self.saved
        return array_module(g).where(positive, g, self.slope * g)


class GELU(Function):
    """y = x P(Z <= x) for Z normal; dy/dx = P(Z <= x) + x e^(-x^2/2) / sqrt(2 pi)."""

    def forward(self, x):
        cdf = 0.5 * (1 + special(x).erf(x * math.sqrt(0.5)))
        self.save(x, cdf)
        return x * cdf

    def backward(self, g):
        x, cdf = self.saved
        density = array_module(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return g * (cdf + x * density)


class Sigmoid(Function):
    """y = 1 / (1 + e^-x); dy/dx = y (1 - y)."""

    def forward(self, x):
        y = special(x).expit(x)  # neither overflows nor rounds small values to 0
        self.save(y)
        return y

    def backward(self, g):
        (y,) = self.saved
        return g * y * (1 - y)


class Tanh(Function):
    """y = tanh x; dy/dx = 1 - y^2."""

    def forward(self, x):
        y = array_module(x).tanh(x)
        self.save(y)
        return y

    def backward(self, g):
        (y,) = self.saved
        return g * (1 - y * y)


class Softmax(Function):
    """y_i = e^x_i / sum_k e^x_k along an axis; dx = y (g - sum g y)."""

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x):
        e = array_module(x).exp(x - x.max(axis=self.axis, keepdims=True))
        y = e / e.sum(axis=self.axis, keepdims=True)
        self.save(y)
        return y

    def backward(self, g):
        (y,) = self.saved
        return y * (g - (g * y).sum(axis=self.axis, keepdims=True))


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0)."""
    return ReLU()(x)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """y = x for x > 0, else slope x."""
    return LeakyReLU(slope)(x)


def gelu(x: Tensor) -> Tensor:
    """y = x P(Z <= x) for Z normal (the exact form). Hendrycks & Gimpel, arXiv:1606.08415."""
    return GELU()(x)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)."""
    return Sigmoid()(x)


def tanh(x: Tensor) -> Tensor:
    """y = tanh x."""
    return Tanh()(x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """y_i = e^x_i / sum_k e^x_k along the axis."""
    return Softmax(axis)(x)


def dropout(x: Tensor, p: float, rng: np.random.Generator, training: bool = True) -> Tensor:
    """y = x m / (1 - p) with m = 1 with probability 1 - p, else 0; y = x when not training.

    The draws are made on the host by `rng`, so they do not depend on the backend.
    """
    if not 0 <= p < 1:
        raise OptionError(f"dropout: p is the share of entries dropped, 0 <= p < 1; got {p}")
    if not training or p == 0:
        return x
    keep = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype)
    return x * asarray(keep / x.dtype.type(1 - p))
