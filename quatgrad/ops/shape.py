"""Operations that move entries without changing them; each adjoint moves them back."""

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from numbers import Integral
from reprlib import repr as shown
from typing import Any

import numpy as np

from quatgrad.arrays import array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import OptionError, ShapeError, unknown
from quatgrad.kernels.registry import kernel
from quatgrad.ops.arithmetic import unbroadcast
from quatgrad.scalars import integer, number

#: How a map goes on past its border -> what numpy.pad calls it.
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Reshape(Function):
    """The same entries, in row-major order, under another shape."""

    numpy_checks_shapes = True

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return x.reshape(self.shape)

    def backward(self, g):
        return g.reshape(self.shapes[0])


class Transpose(Function):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]."""

    numpy_checks_shapes = True

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, g):
        inverse = sorted(range(g.ndim), key=lambda d: self.axes[d] % g.ndim)
        return g.transpose(inverse)


class Vectors(Function):
    """y[n, (a, h, w, q)] = x[n, h, w, (a, q)]: maps as vectors, components outermost."""

    def __init__(self, components: int):
        self.components = components

    def forward(self, x):
        N, H, W, C = x.shape
        A = self.components
        # (N, H, W, A Q) -> (N, A, H W, Q) -> (N, A H W Q)
        return x.reshape(N, H * W, A, C // A).swapaxes(1, 2).reshape(N, H * W * C)

    def backward(self, g):
        (N, H, W, C), A = self.shapes[0], self.components
        return g.reshape(N, A, H * W, C // A).swapaxes(1, 2).reshape(N, H, W, C)


class BroadcastTo(Function):
    """y[..., i] = x[i] for every value of the new axes."""

    numpy_checks_shapes = True

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return array_module(x).broadcast_to(x, self.shape)

    def backward(self, g):
        return unbroadcast(g, self.shapes[0])


class Pad(Function):
    """x inside, a constant around it; widths ((before, after), ...) for each axis."""

    numpy_checks_shapes = True

    def __init__(self, widths: Sequence[tuple[int, int]], value: float):
        self.widths, self.value = widths, value

    def forward(self, x):
        return array_module(x).pad(x, self.widths, constant_values=self.value)

    def backward(self, g):
        inside = zip(self.widths, self.shapes[0], strict=True)
        return g[tuple(slice(before, before + n) for (before, _), n in inside)]


class PadMode(Function):
    """x, continued past its ends along each axis: y[i] = x[index[i]]; dx[index[i]] += g[i].

    `index` is what `numpy.pad` makes of the numbers 0, 1, ... of an axis, so widths may be larger
    than the axis. The adjoint adds the slices of the border one by one: they are few.
    """

    numpy_checks_shapes = True

    def __init__(self, widths: Sequence[tuple[int, int]], mode: str):
        self.widths, self.mode = widths, mode

    def forward(self, x):
        for axis, index in self.borders():
            x = array_module(x).take(x, array_module(x).asarray(index), axis)
        return x

    def backward(self, g):
        for axis, index in self.borders():
            (before, after), n = self.widths[axis], self.shapes[0][axis]
            g = array_module(g).moveaxis(g, axis, 0)  # (before + n + after, other axes)
            dx = g[before : before + n].copy()  # (n, other axes)
            for k in (*range(before), *range(before + n, before + n + after)):
                dx[index[k]] += g[k]
            g = array_module(g).moveaxis(dx, 0, axis)
        return g

    def borders(self) -> list[tuple[int, np.ndarray]]:
        """(axis, index) for every axis that has a border."""
        sizes = zip(self.widths, self.shapes[0], strict=True)
        return [
            (axis, np.pad(np.arange(n), width, mode=PADDING_MODES[self.mode]))  # type: ignore[call-overload]
            for axis, (width, n) in enumerate(sizes)
            if any(width)
        ]


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
        if all(p is None or p is ... or isinstance(p, Integral | slice) for p in parts):
            dx[self.index] = g  # no entry twice
        else:  # an entry taken often gets a sum of many gradients, in a fixed order
            entries = xp.arange(dx.size).reshape(dx.shape)[self.index].ravel()
            dx = kernel("segment_sum")(g.reshape(-1, 1), entries, dx.size).reshape(dx.shape)
        return dx


class Concatenate(Function):
    """Tensors one after the other along an axis."""

    numpy_checks_shapes = True

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
    (x,) = as_tensors("flatten", x)
    if x.ndim == 0:
        raise ShapeError("flatten: takes (N, ...); got a number, of shape ()")
    return Reshape((x.shape[0], math.prod(x.shape[1:])))(x)


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Axes in another order; without arguments, in reverse order."""
    reverse = axes in ((), (None,))  # NumPy's own transpose says None
    return Transpose(tuple(range(x.ndim))[::-1] if reverse else _sizes(axes))(x)


def broadcast_to(x: Tensor, *shape: Any) -> Tensor:
    """x, repeated to a larger shape by NumPy's broadcasting rules."""
    return BroadcastTo(_sizes(shape))(x)


def pad(
    x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0.0, mode: str = "zeros"
) -> Tensor:
    """A border around x: widths ((before, after), ...) for each axis.

    mode "zeros": of `value`; "reflect": x mirrored at its first and last entry, 2 1 | 0 1 2 | 1 0;
    "replicate": those entries repeated, 0 0 | 0 1 2 | 2 2; "circular": x over again,
    1 2 | 0 1 2 | 0 1. As numpy.pad's constant, reflect, edge, wrap. Errors: `OptionError`.
    """
    if mode not in PADDING_MODES:
        raise OptionError(f"pad: {unknown('mode', mode, PADDING_MODES)}")
    (x,) = as_tensors("pad", x)
    given = [tuple(w) if isinstance(w, Iterable) else (w,) for w in widths]
    if len(given) != x.ndim or any(len(pair) != 2 for pair in given):
        raise ShapeError(
            f"pad: a tensor of shape {x.shape} wants {x.ndim} pairs (before, after), one for "
            f"each axis; got {shown(widths)}"
        )
    pairs = [(integer(n, "pad: a width"), integer(m, "pad: a width")) for n, m in given]
    op = Pad(pairs, number(value, "pad: the value")) if mode == "zeros" else PadMode(pairs, mode)
    return op(x)


def getitem(x: Tensor, index: Any) -> Tensor:
    """y = x[index], with any NumPy index: numbers, slices, None, integer and bool arrays."""
    return GetItem(index)(x)


def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after the other along an existing axis."""
    return Concatenate(integer(axis, "concatenate: the axis"))(*xs)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    if not len(xs):
        raise ShapeError("stack: no tensors given")
    xs = as_tensors("stack", *xs)
    at = range(xs[0].ndim + 1)[axis]  # counts negative axes from the end; IndexError beyond
    # each (.., n, ..) -> (.., 1, n, ..), then side by side
    return concatenate([x.reshape(*x.shape[:at], 1, *x.shape[at:]) for x in xs], at)


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    several = len(args) == 1 and isinstance(args[0], Iterable)
    sizes = tuple(args[0] if several else args)
    if all(type(n) is int for n in sizes):
        return sizes
    return tuple(integer(n, "a size or axis") for n in sizes)
