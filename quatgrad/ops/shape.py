"""Operations that move entries without changing them; each adjoint moves them back."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from quatgrad.autograd import Function, Tensor
from quatgrad.backend import array_module
from quatgrad.errors import ShapeError
from quatgrad.ops.arithmetic import unbroadcast


class Reshape(Function):
    """The same entries, in row-major order, under another shape."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return x.reshape(self.shape)

    def backward(self, g):
        return g.reshape(self.shapes[0])


class Transpose(Function):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]."""

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, g):
        inverse = sorted(range(g.ndim), key=lambda d: self.axes[d] % g.ndim)
        return g.transpose(inverse)


class BroadcastTo(Function):
    """y[..., i] = x[i] for every value of the new axes."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return array_module(x).broadcast_to(x, self.shape)

    def backward(self, g):
        return unbroadcast(g, self.shapes[0])


class Pad(Function):
    """x inside, a constant around it; widths ((before, after), ...) for each axis."""

    def __init__(self, widths: Sequence[tuple[int, int]], value: float):
        self.widths, self.value = widths, value

    def forward(self, x):
        if len(self.widths) != x.ndim:
            raise ShapeError(
                f"pad: a tensor of shape {x.shape} wants {x.ndim} pairs (before, after), one for "
                f"each axis; got {len(self.widths)}"
            )
        return array_module(x).pad(x, self.widths, constant_values=self.value)

    def backward(self, g):
        inside = zip(self.widths, self.shapes[0], strict=True)
        return g[tuple(slice(before, before + n) for (before, _), n in inside)]


class GetItem(Function):
    """y = x[index]; an entry taken twice gets both gradients."""

    def __init__(self, index: Any):
        self.index = deepcopy(index)  # backward needs it as it is now

    def forward(self, x):
        return x[self.index]

    def backward(self, g):
        xp = array_module(g)
        dx = xp.zeros(self.shapes[0], g.dtype)
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if all(p is None or p is ... or isinstance(p, int | slice) for p in parts):
            dx[self.index] = g  # no entry twice
        else:
            xp.add.at(dx, self.index, g)
        return dx


class Concatenate(Function):
    """Tensors one after the other along an axis."""

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, *xs):
        return array_module(*xs).concatenate(xs, self.axis)

    def backward(self, g):
        ends = [0]
        for shape in self.shapes:
            ends.append(ends[-1] + shape[self.axis])
        return tuple(array_module(g).split(g, ends[1:-1], self.axis))


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same entries under another shape; one size may be -1. A tuple or separate sizes."""
    return Reshape(_sizes(shape))(x)


def flatten(x: Tensor) -> Tensor:
    """(N, ...) -> (N, everything else)."""
    return Reshape((x.shape[0], -1))(x)


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Axes in another order; without arguments, in reverse order."""
    return Transpose(_sizes(axes) if axes else tuple(range(x.ndim))[::-1])(x)


def broadcast_to(x: Tensor, *shape: Any) -> Tensor:
    """x, repeated to a larger shape by NumPy's broadcasting rules."""
    return BroadcastTo(_sizes(shape))(x)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """A border of `value`: widths ((before, after), ...) for each axis."""
    return Pad(widths, value)(x)


def getitem(x: Tensor, index: Any) -> Tensor:
    """y = x[index], with any NumPy index: numbers, slices, None, integer and bool arrays."""
    return GetItem(index)(x)


def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after the other along an existing axis."""
    return Concatenate(axis)(*xs)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    at = range(xs[0].ndim + 1)[axis]  # counts negative axes from the end; IndexError beyond
    return concatenate([x.reshape(*x.shape[:at], 1, *x.shape[at:]) for x in xs], at)


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args
