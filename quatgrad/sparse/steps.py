"""What a plan is made of: maps, and steps that write one each. It is data: readers carry it out.

A map is (H, W, C) for each image, C in component blocks where it holds quaternions; a vector is a
map of one pixel. Its entries are counted in that order. A step is one of

    Taps        y = relu(scale sum_uvp w_uvp x_{s i + u - pad, s j + v - pad, p} + shift + residual)
      Layer        with a weight for each input and output channel, real or of quaternions
      Channelwise  with a weight for each channel: pools that average, sums, norms that stand alone
    MaxPool     the largest entry of each window, or the longest quaternion
    Move        entries of other maps in another order
    Pointwise   a function of each entry by itself, or of each quaternion
    Product     entry by entry

Linear layers, norms, rectifiers, shortcuts and means over a map are all Taps: a linear layer on a
map is a window of the whole map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from quatgrad.kernels.reference import Pair

Shape = tuple[int, int, int]
INPUT = 0  # the map that holds the image


@dataclass(eq=False)
class Step:
    """x -> y, both numbers of maps; `name` is that of the weight, or of the operation."""

    name: str
    x: int
    y: int

    @property
    def reads(self) -> tuple[int, ...]:
        """The maps that it needs."""
        return (self.x,)


@dataclass(eq=False)
class Taps(Step):
    """A window (U, V) that moves over a map, and what happens where the sum is stored.

    scale None stands for ones, residual None for no map; shift is (C,) of the output.
    """

    weight: np.ndarray
    stride: Pair
    padding: Pair
    shift: np.ndarray
    scale: np.ndarray | None = None
    residual: int | None = None
    relu: bool = False

    @property
    def reads(self) -> tuple[int, ...]:
        """x, and the residual if there is one."""
        return (self.x,) if self.residual is None else (self.x, self.residual)


@dataclass(eq=False)
class Layer(Taps):
    """weight (A, U, V, P, Q), A = 4 components of quaternions or 1; what is not `alive` is 0.

    With `whole` all components of a quaternion live together.
    """

    alive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def components(self) -> int:
        """4 for quaternions, else 1."""
        return self.weight.shape[0]

    @property
    def window(self) -> Pair:
        """(U, V)."""
        return self.weight.shape[1], self.weight.shape[2]

    @property
    def density(self) -> float:
        """The share of the weights that lives."""
        return float(self.alive.mean()) if self.alive.size else 0.0

    @property
    def whole(self) -> bool:
        """Do the components of each quaternion live or die together?"""
        return self.components == 4 and bool((self.alive.any(0) == self.alive.all(0)).all())


@dataclass(eq=False)
class Channelwise(Taps):
    """weight (U, V, C): each channel by itself."""

    @property
    def window(self) -> Pair:
        """(U, V)."""
        return self.weight.shape[0], self.weight.shape[1]


@dataclass(eq=False)
class MaxPool(Step):
    """The largest entry of each window; of whole quaternions the (first) longest."""

    window: Pair
    stride: Pair
    quaternions: bool = False


@dataclass(eq=False)
class Move(Step):
    """y[k] = all[index[k]], 0 for index -1; `all` are the entries of `sources`, in order."""

    sources: tuple[int, ...]
    index: np.ndarray

    @property
    def reads(self) -> tuple[int, ...]:
        """The maps whose entries it takes."""
        return self.sources


@dataclass(eq=False)
class Pointwise(Step):
    """y = f(x), f by its name in `reference.FUNCTIONS`; `numbers` are its constants."""

    function: str
    numbers: np.ndarray


@dataclass(eq=False)
class Product(Step):
    """y = x other, entry by entry."""

    other: int

    @property
    def reads(self) -> tuple[int, ...]:
        """Both factors."""
        return self.x, self.other


@dataclass(eq=False)
class Steps:
    """Shapes of maps, steps in order, maps that never change, and the map that holds the logits."""

    shapes: list[Shape]
    steps: list[Step] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    output: int = INPUT

    def layers(self) -> Iterator[Layer]:
        """The steps with weights that a ticket can prune."""
        return (step for step in self.steps if isinstance(step, Layer))

    def without_unused(self) -> Steps:
        """The steps on whose results the output depends."""
        needed, kept = {self.output}, []
        for step in reversed(self.steps):
            if step.y in needed:
                needed.update(step.reads)
                kept.append(step)
        return Steps(self.shapes, kept[::-1], self.constants, self.output)
