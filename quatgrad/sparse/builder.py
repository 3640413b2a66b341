"""Makes the steps of a plan while a trace is followed.

The value of an operation is where its entries lie: for each the number of an entry of a map, all
maps counted one after the other, and NOTHING for a 0. So operations that only move entries cost
nothing until somebody computes with the result, and most never do: a linear layer takes the entries
of a map in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.reference import Pair, out_size
from quatgrad.sparse.steps import Channelwise, Layer, Move, Shape, Step, Steps, Taps

NOTHING = -1


@dataclass(frozen=True)
class Value:
    """Where the entries of a tensor (1, ...) lie; `single`: nobody else reads the same result.

    `after` names the layer from which they come, for messages.
    """

    at: np.ndarray
    single: bool
    after: str


class Builder:
    """The steps so far, which map each writes, and where maps begin in the count of all entries."""

    def __init__(self, input_shape: Shape):
        self.made = Steps([])
        self.first = [0]  # of each map, and the end
        self.writer: dict[int, Step] = {}
        self.input = self.value(self.add_map(input_shape), "the image")

    # --------------------------------------------------------------------------------- maps

    def add_map(self, shape: Shape) -> int:
        """The number of a new map."""
        self.made.shapes.append(shape)
        self.first.append(self.first[-1] + math.prod(shape))
        return len(self.made.shapes) - 1

    def value(self, m: int, after: str) -> Value:
        """All of a map, as a tensor (1, H, W, C)."""
        at = np.arange(self.first[m], self.first[m + 1]).reshape(1, *self.made.shapes[m])
        return Value(at, True, after)

    def constant(self, a: Array) -> np.ndarray:
        """Where the entries of a constant lie: in a map that never changes."""
        m = self.add_map((1, 1, a.size))
        self.made.constants[m] = np.asarray(a, np.float32).reshape(1, 1, -1)
        return np.arange(self.first[m], self.first[m + 1]).reshape(a.shape)

    def map_at(self, at: np.ndarray) -> int | None:
        """The map whose entries these are, all, in order; None if there is none."""
        m = int(np.searchsorted(self.first, at.flat[0], side="right")) - 1 if at.size else -1
        whole = m >= 0 and at.size == self.first[m + 1] - self.first[m]
        return m if whole and np.array_equal(at.ravel(), self.range_of(m)) else None

    def range_of(self, m: int) -> np.ndarray:
        """Numbers of the entries of a map."""
        return np.arange(self.first[m], self.first[m + 1])

    def only_source(self, at: np.ndarray) -> int | None:
        """The one map in which all these entries lie, that are not NOTHING; else None."""
        there = at[at != NOTHING]
        if not there.size:
            return None
        low, high = np.searchsorted(self.first, [there.min(), there.max()], side="right") - 1
        return int(low) if low == high else None

    def as_map(self, value: Value) -> int:
        """The map that holds a value; a Move makes it, where no map has these entries in order."""
        shape = map_shape(value.at.shape)
        m = self.map_at(value.at)
        if m is not None and self.made.shapes[m] == shape:
            return m
        at = value.at.ravel()
        sources = np.unique(np.searchsorted(self.first, at[at != NOTHING], side="right") - 1)
        index = np.full(at.size, NOTHING, np.int64)
        end = 0
        for m in map(int, sources):
            inside = (at >= self.first[m]) & (at < self.first[m + 1])
            index[inside] = at[inside] - self.first[m] + end
            end += self.first[m + 1] - self.first[m]
        read = tuple(map(int, sources))
        y = self.add_map(shape)
        self.add(Move("move", read[0] if read else 0, y, read, index))
        return y

    # -------------------------------------------------------------------------------- steps

    def add(self, step: Step) -> None:
        """The next step."""
        self.made.steps.append(step)
        self.writer[step.y] = step

    def result(self, step: Step, like: Value | None = None, after: str = "") -> Value:
        """The value that a new step gives, in the form of another one where it has its size."""
        self.add(step)
        value = self.value(step.y, after or (like.after if like else step.name))
        return value if like is None else Value(value.at.reshape(like.at.shape), True, value.after)

    def layer(
        self,
        name: str,
        x: int,
        w: Array,
        alive: Array,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
    ) -> Value:
        """A new `Layer` on a map; w (A, U, V, P, Q)."""
        H, W, _ = self.made.shapes[x]
        C = w.shape[0] * w.shape[-1]
        y = self.add_map((*out_size((H, W), w.shape[1:3], stride, padding), C))
        shift = np.zeros(C)
        return self.result(Layer(name, x, y, w, stride, padding, shift, alive=alive), after=name)

    def channelwise(
        self, name: str, x: int, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0)
    ) -> Channelwise:
        """A step, not yet added, that treats each channel of a map by itself; w (U, V, C)."""
        H, W, C = self.made.shapes[x]
        y = self.add_map((*out_size((H, W), w.shape[:2], stride, padding), C))
        return Channelwise(name, x, y, w, stride, padding, np.zeros(C))

    def last_taps(self, value: Value) -> Taps | None:
        """The step whose whole result this is, if it can still do more while it stores."""
        m = self.map_at(value.at) if value.single else None
        step = None if m is None else self.writer.get(m)
        fits = m is not None and self.made.shapes[m][-1] == value.at.shape[-1]
        return step if fits and isinstance(step, Taps) and not step.relu else None

    def affine(self, name: str, value: Value, scale: Array, shift: Array) -> Value:
        """scale x + shift for each channel of x (1, ..., C): where x is stored, if possible."""
        C = value.at.shape[-1]
        scale, shift = np.broadcast_to(scale, (C,)), np.broadcast_to(shift, (C,))
        step = self.last_taps(value)
        if step is None or (step.residual is not None and not (scale == 1).all()):
            x = self.as_map(value)
            new = self.channelwise(name, x, np.ones((1, 1, C)))
            value, step = self.result(new, like=value), new
        if not (scale == 1).all():
            if isinstance(step, Layer) and step.components == 4:
                step.scale = scale if step.scale is None else step.scale * scale
            else:
                step.weight = step.weight * scale
        step.shift = step.shift * scale + shift
        return value

    def relu(self, value: Value) -> Value:
        """max(x, 0), where x is stored if that is possible."""
        step = self.last_taps(value)
        if step is None:
            step = self.channelwise("relu", (x := self.as_map(value)), self.ones(x))
            value = self.result(step, like=value)
        step.relu = True
        return value

    def sum(self, a: Value, b: Value) -> Value:
        """a + b: one of them is added where the other one is stored."""
        for value, other in ((a, b), (b, a)):
            step = self.last_taps(value)
            shape = map_shape(other.at.shape)
            if step is None or step.residual is not None or self.made.shapes[step.y] != shape:
                continue
            step.residual = self.as_map(other)
            self.made.steps.remove(step)  # nobody has read it, and it needs `other` now
            self.made.steps.append(step)
            return value
        step = self.channelwise("add", (x := self.as_map(a)), self.ones(x))
        step.residual = self.as_map(b)
        return self.result(step, like=a)

    def ones(self, m: int) -> Array:
        """The weight of a `Channelwise` that changes nothing."""
        return np.ones((1, 1, self.made.shapes[m][-1]))

    def finish(self, output: Value) -> Steps:
        """The steps that the output needs, in float32."""
        self.made.output = self.as_map(output)
        done = self.made.without_unused()
        to_float: Callable[[Array], Array] = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
        for step in done.steps:
            if isinstance(step, Taps):
                step.weight, step.shift = to_float(step.weight), to_float(step.shift)
                step.scale = None if step.scale is None else to_float(step.scale)
        return done


def map_shape(shape: tuple[int, ...]) -> Shape:
    """The map that holds a tensor (1, ...): (H, W, C), rows and columns 1 where it has none."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    *lead, C = shape[1:] if shape[:1] == (1,) and len(shape) > 1 else shape or (1,)
    return 1, math.prod(lead), C
