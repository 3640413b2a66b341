"""Where the pixels of a map lie, so that one number of a window is one distance for all outputs.

A channel of a map is a *plane*. It has the map itself, its *home*, in one of two forms:

flat     rows one after the other, so many zeros between them as windows need. All windows of
         stride 1 that keep the size of the map read it as it is: tap (u, v) is the distance
         u pitch + v. For maps at least as wide as a vector.
packed   vectors of so many whole rows as go into one, rows t, t + D, t + 2 D, ...; so that the next
         row is the next vector. For small maps: all lanes compute.

Windows that cannot read the home read *copies* of it, shifted by columns, and cut into phases where
the stride is more than 1. A copy has the form in which the output is packed. Distances are counted
in numbers of float32, from the begin of a plane.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from quatgrad.kernels.numba_cpu.machine.cache import LANES, LINE
from quatgrad.kernels.reference import Pair
from quatgrad.sparse.steps import Shape

OUTSIDE = -1
SPAN = LINE // 4  # numbers in a line of the cache


@dataclass(frozen=True)
class Packed:
    """A map (H, W) in vectors: `group` rows side by side, `depth` one below the other."""

    H: int
    W: int

    @property
    def group(self) -> int:
        """Rows in a vector."""
        return max(1, LANES // self.W)

    @property
    def depth(self) -> int:
        """How many rows are below each other."""
        return -(-self.H // self.group)

    @property
    def across(self) -> int:
        """Vectors that make a row."""
        return -(-self.W // LANES)

    @property
    def vectors(self) -> int:
        """Vectors of a plane."""
        return self.depth * self.across

    def pixels(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each lane of the vectors of rows first .. last - 1: (vectors, LANES).

        Lanes that hold no column have the column OUTSIDE.
        """
        lane = np.arange(LANES)
        if self.across > 1:
            column = np.arange(self.across)[:, None] * LANES + lane  # (across, LANES)
            group = np.zeros_like(column)
        else:
            column, group = (lane % self.W)[None], (lane // self.W)[None]
        column = np.where((column < self.W) & (group < self.group), column, OUTSIDE)
        row = np.arange(first, last)[:, None, None] + self.depth * group  # (rows, across, LANES)
        shape = (-1, LANES)
        return row.reshape(shape), np.broadcast_to(column, row.shape).reshape(shape)


#: A copy: the form of the output, strides, the phase of rows, and the shift of columns.
Key = tuple[Packed, Pair, int, int]


@dataclass
class Planes:
    """The planes of a map: `ask` for all windows that will read it, then `place`, then look up."""

    shape: Shape
    border: int  # zeros between the rows of a flat map, and rows of them above and below
    wanted: dict[Key, list[int]] = field(default_factory=dict)  # first and last shift of rows
    starts: dict[Key, int] = field(default_factory=dict)
    home: int = 0  # where the first pixel is, or the first vector
    step: int = 0  # from a channel to the next

    def __post_init__(self) -> None:
        self.H, self.W, self.C = self.shape
        self.packed = Packed(self.H, self.W)
        self.flat = self.W >= LANES
        self.pitch = self.W + self.border

    @property
    def single(self) -> bool:
        """Has it one pixel, and no copies? Then its channels lie side by side."""
        return self.H == self.W == 1 and not self.wanted

    # -------------------------------------------------------------------------------- readers

    def is_direct(self, window: Pair, stride: Pair, padding: Pair, out: Pair) -> bool:
        """Can such a window read the home, in the vectors of the home?"""
        if stride != (1, 1) or out != (self.H, self.W):
            return False
        return window == (1, 1) or (self.flat and max(padding) <= self.border)

    def ask(self, window: Pair, stride: Pair, padding: Pair, out: Pair) -> None:
        """Such a window will read the map."""
        if out == (1, 1) or self.is_direct(window, stride, padding, out):
            return
        for u in range(window[0]):
            shift, phase = divmod(u - padding[0], stride[0])
            for v in range(window[1]):
                key = (Packed(*out), stride, phase, v - padding[1])
                low, high = self.wanted.get(key, [shift, shift])
                self.wanted[key] = [min(low, shift), max(high, shift)]

    def place(self) -> None:
        """Give home and copies their places."""
        if self.single:
            self.step = 1
            return
        end, inside = 0, (self.packed, (1, 1), 0, 0)
        if self.flat:
            self.home = self.border * (self.pitch + 1)
            end = 2 * self.home + (self.vectors + 1) * LANES  # the last row may be stored further
        elif inside in self.wanted:  # the copy that is not shifted has the home within
            low, high = self.wanted[inside] = [
                f(0, n) for f, n in zip((min, max), self.wanted[inside], strict=True)
            ]
            self.home = -low * self.packed.across * LANES
        else:
            end = self.packed.vectors * LANES
        for key, (low, high) in self.wanted.items():
            end = -(-end // SPAN) * SPAN
            form = key[0]
            self.starts[key] = end
            end += (form.depth + high - low) * form.across * LANES
        if inside in self.starts and not self.flat:
            self.home += self.starts[inside]
        lines = -(-end // SPAN)
        self.step = SPAN * (lines + (lines % 2 == 0))  # odd: else all channels share lines of L1

    # -------------------------------------------------------------------------------- look up

    @property
    def vectors(self) -> int:
        """Vectors of the home."""
        return -(-self.H * self.pitch // LANES) if self.flat else self.packed.vectors

    def pixel(self) -> np.ndarray:
        """Where each pixel of the home lies: (H, W)."""
        i, j = np.ogrid[: self.H, : self.W]
        if self.single:
            return np.zeros((1, 1), np.int64)
        if self.flat:
            return self.home + i * self.pitch + j
        group, row = divmod(i, self.packed.depth)  # flat is for what is wider than a vector
        return self.home + row * self.packed.across * LANES + group * self.W + j

    def tap(self, window: Pair, stride: Pair, padding: Pair, out: Pair) -> np.ndarray:
        """Where the first vector of the outputs finds (u, v): (U, V); OUTSIDE for no pixel."""
        taps = np.full(window, OUTSIDE, np.int64)
        direct = self.is_direct(window, stride, padding, out)
        pixel = self.pixel()
        for u, v in np.ndindex(*window):
            i, j = u - padding[0], v - padding[1]
            if out == (1, 1):
                if 0 <= i < self.H and 0 <= j < self.W:
                    taps[u, v] = pixel[i, j]
            elif direct:
                taps[u, v] = self.home + i * self.pitch + j
            else:
                shift, phase = divmod(i, stride[0])
                key = (Packed(*out), stride, phase, j)
                row = shift - self.wanted[key][0]
                taps[u, v] = self.starts[key] + row * key[0].across * LANES
        return taps

    def stores(self, direct: bool) -> tuple[np.ndarray, np.ndarray]:
        """Where each vector of a writer goes (vectors,), and which lanes hold pixels (.., LANES).

        A direct writer computes in the vectors of the home, others in those of a packed map.
        """
        if direct and self.flat:
            at = np.arange(self.vectors)[:, None] * LANES + np.arange(LANES)
            holds = (at % self.pitch < self.W) & (at < self.H * self.pitch)
            return self.home + at[:, 0], holds
        row, column = self.packed.pixels(0, self.packed.depth)
        holds = (column != OUTSIDE) & (row < self.H)
        if self.flat:
            return self.home + row[:, 0] * self.pitch + column[:, 0], holds
        return self.home + np.arange(len(row)) * LANES, holds

    def copies(self) -> list[tuple[int, np.ndarray]]:
        """(destination, where each lane comes from or OUTSIDE) of all vectors that are copied."""
        done = []
        pixel = self.pixel()
        for (form, stride, phase, column_shift), (low, high) in self.wanted.items():
            start = self.starts[form, stride, phase, column_shift]
            row, column = form.pixels(low, form.depth + high)
            i, j = stride[0] * row + phase, stride[1] * column + column_shift
            there = (column != OUTSIDE) & (i >= 0) & (i < self.H) & (j >= 0) & (j < self.W)
            source = np.where(there, pixel[np.where(there, i, 0), np.where(there, j, 0)], OUTSIDE)
            for t, lanes in enumerate(source):
                at = start + t * LANES
                itself = lanes == at + np.arange(LANES)
                if (there[t] & ~itself).any():
                    done.append((at, lanes))
        return done
