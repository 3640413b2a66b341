"""Reductions over one axis, several, or all (axis=None)."""

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor
from quatgrad.calls import call
from quatgrad.kernels.registry import kernel
from quatgrad.scalars import integer

Axis = int | tuple[int, ...] | None


class Reduction(Function):
    """What the reductions share: the axes, and how g finds its way back over them."""

    numpy_checks_shapes = True

    def __init__(self, axis: Axis, keepdims: bool):
        if axis is not None:
            several = axis if isinstance(axis, Iterable) else (axis,)
            axis = tuple(integer(d, f"{self}: an axis") for d in several)
        self.axis, self.keepdims = axis, keepdims

    def reduced(self) -> set[int]:
        """The reduced axes, counted from the front."""
        ndim = len(self.shapes[0])
        return set(range(ndim)) if self.axis is None else {d % (ndim or 1) for d in self.axis}

    def spread(self, y: Array) -> Array:
        """y with the reduced axes put back as axes of size 1, so that it broadcasts against x."""
        reduced = self.reduced()
        return y.reshape([1 if d in reduced else n for d, n in enumerate(self.shapes[0])])

    def count(self) -> int:
        """How many entries of x each entry of y is made of."""
        reduced = self.reduced()
        return math.prod(n for d, n in enumerate(self.shapes[0]) if d in reduced)

    def total(self, x: Array, keepdims: bool = False) -> Array:
        """The sum of x over the axes."""
        return kernel("sum_over")(x, self.axis, keepdims or self.keepdims)

    def average(self, x: Array, keepdims: bool = False) -> Array:
        """The mean of x over the axes, NaN where there are no entries."""
        return call(operator.truediv, self.total(x, keepdims), self.count() or math.nan)


class Sum(Reduction):
    """y = sum x."""

    def forward(self, x):
        return self.total(x)

    def backward(self, g):
        return array_module(g).broadcast_to(self.spread(g), self.shapes[0])


class Mean(Reduction):
    """y = sum x / M, NaN for M = 0."""

    noted_inside = True

    def forward(self, x):
        return self.average(x)

    def backward(self, g):
        g = call(operator.truediv, self.spread(g), self.count() or 1)
        return array_module(g).broadcast_to(g, self.shapes[0])


class Var(Reduction):
    """y = sum (x - mean)^2 / (M - ddof); dy/dx = 2 (x - mean) / (M - ddof); NaN for M <= ddof."""

    def __init__(self, axis: Axis, keepdims: bool, ddof: int):
        super().__init__(axis, keepdims)
        self.ddof = integer(ddof, "Var: ddof")

    def forward(self, x):
        self.save_for_backward(x)
        d = x - self.average(x, keepdims=True)
        return self.total(d * d) / self.freedom()

    def backward(self, g):
        (x,) = self.saved
        d = x - self.average(x, keepdims=True)
        return self.spread(g) * d * (2 / self.freedom())

    def freedom(self) -> float:
        """M - ddof, or NaN where that is not above 0."""
        n = self.count() - self.ddof
        return n if n > 0 else math.nan


class Max(Reduction):
    """y = max x; equal winners share g equally, and so do all NaNs."""

    def forward(self, x):
        y = x.max(axis=self.axis, keepdims=self.keepdims)
        self.save_for_backward(x, y)
        return y

    def backward(self, g):
        x, y = self.saved
        won = (x == self.spread(y)) | (x != x)
        share = self.spread(g) / self.total(won.astype(g.dtype), keepdims=True)
        return array_module(g).where(won, share, 0)


class LogSumExp(Reduction):
    """y = ln sum e^x, without overflow, -inf for no x; dy/dx = e^(x - y), 0 where y = -inf."""

    def forward(self, x):
        xp = array_module(x)
        if not self.count():
            self.save_for_backward(x, x)
            return self.total(x) - math.inf
        top = x.max(axis=self.axis, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)  # all -inf: the sum is 0, its log -inf
        with np.errstate(divide="ignore"):
            y = xp.log(self.total(xp.exp(x - top), keepdims=True)) + top
        self.save_for_backward(x, xp.where(y == -math.inf, 0, y))
        return y if self.keepdims else y.squeeze(self.axis)

    def backward(self, g):
        x, y = self.saved
        return self.spread(g) * array_module(x).exp(x - y)


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = sum of x over the axes."""
    return Sum(axis, keepdims)(x)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = mean of x over the axes."""
    return Mean(axis, keepdims)(x)


def var(x: Tensor, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """y = sum (x - mean)^2 / (M - ddof) over the axes, M entries each."""
    return Var(axis, keepdims, ddof)(x)


def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = largest entry of x over the axes."""
    return Max(axis, keepdims)(x)


def argmax(x: Tensor, axis: int | None = None) -> Any:
    """Where the largest entry of x is along an axis, or in all of x: integers, without a graph."""
    return x.data.argmax(axis)


def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln sum e^x over the axes."""
    return LogSumExp(axis, keepdims)(x)
