"""Reductions over one axis, several, or all (axis=None)."""

import math

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor
from quatgrad.kernels.registry import kernel

Axis = int | tuple[int, ...] | None


class Reduction(Function):
    """What the reductions share: the axes, and how g finds its way back over them."""

    numpy_checks_shapes = True

    def __init__(self, axis: Axis, keepdims: bool):
        self.axis, self.keepdims = axis, keepdims

    def spread(self, y: Array) -> Array:
        """y with the reduced axes put back as axes of size 1, so that it broadcasts against x."""
        shape = self.shapes[0]
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        reduced = range(len(shape)) if axes is None else {d % len(shape) for d in axes}
        return y.reshape([1 if d in reduced else n for d, n in enumerate(shape)])

    def count(self, y: Array) -> int:
        """How many entries of x each entry of y was made of."""
        return math.prod(self.shapes[0]) // (y.size or 1)

    def total(self, x: Array, keepdims: bool = False) -> Array:
        """The sum of x over the axes."""
        return kernel("sum_over")(x, self.axis, keepdims or self.keepdims)

    def average(self, x: Array, keepdims: bool = False) -> Array:
        """The mean of x over the axes."""
        y = self.total(x, keepdims)
        return y / self.count(y)


class Sum(Reduction):
    """y = sum x."""

    def forward(self, x):
        return self.total(x)

    def backward(self, g):
        return array_module(g).broadcast_to(self.spread(g), self.shapes[0])


class Mean(Reduction):
    """y = sum x / M."""

    def forward(self, x):
        return self.average(x)

    def backward(self, g):
        return array_module(g).broadcast_to(self.spread(g) / self.count(g), self.shapes[0])


class Var(Reduction):
    """y = sum (x - mean)^2 / (M - ddof); dy/dx = 2 (x - mean) / (M - ddof)."""

    def __init__(self, axis: Axis, keepdims: bool, ddof: int):
        super().__init__(axis, keepdims)
        self.ddof = ddof

    def forward(self, x):
        self.save_for_backward(x)
        d = x - self.average(x, keepdims=True)
        y = self.total(d * d)
        return y / (self.count(y) - self.ddof)

    def backward(self, g):
        (x,) = self.saved
        d = x - self.average(x, keepdims=True)
        return self.spread(g) * d * (2 / (self.count(g) - self.ddof))


class Max(Reduction):
    """y = max x; equal winners share g equally."""

    def forward(self, x):
        y = x.max(axis=self.axis, keepdims=self.keepdims)
        self.save_for_backward(x, y)
        return y

    def backward(self, g):
        x, y = self.saved
        won = (x == self.spread(y)).astype(g.dtype)
        return won * (self.spread(g) / self.total(won, keepdims=True))


class LogSumExp(Reduction):
    """y = ln sum e^x, without overflow; dy/dx = e^(x - y)."""

    def forward(self, x):
        xp = array_module(x)
        top = x.max(axis=self.axis, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)  # all -inf: the sum is 0, its log -inf
        y = xp.log(self.total(xp.exp(x - top), keepdims=True)) + top
        self.save_for_backward(x, y)
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


def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln sum e^x over the axes."""
    return LogSumExp(axis, keepdims)(x)
