"""A plan as tables of numbers, which compiled code reads: a row of `COLUMNS` for each kernel.

Maps are planes in an arena of float32, of which each thread has one; its first line stays 0. A row
says where a map begins there, and where in `floats` and `ints` the numbers are that it needs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quatgrad.kernels.numba_cpu.machine.cache import LANES
from quatgrad.kernels.reference import Pair
from quatgrad.sparse.batch import Part
from quatgrad.sparse.compiled.dense import split_weights
from quatgrad.sparse.compiled.rows import CAN_PERMUTE
from quatgrad.sparse.compiled.table import BLOCK, MOST_SUMS, ROW, TILES
from quatgrad.sparse.layout import OUTSIDE, SPAN, Planes
from quatgrad.sparse.steps import (
    INPUT,
    Channelwise,
    Layer,
    MaxPool,
    Move,
    Pointwise,
    Product,
    Step,
    Steps,
    Taps,
)

FUNCTIONS = (
    "leaky_relu",
    "clip",
    "abs",
    "exp",
    "log",
    "sqrt",
    "reciprocal",
    "sigmoid",
    "tanh",
    "gelu",
)  # modrelu has a kernel of its own

ROW_COST = 0.3  # what a number of a row costs beside its products, in vectors

MARGIN = 16 * LANES  # a tile may look a little further than a map

#: A kernel: its name in `kernels.KERNELS`, and the numbers that it is made for.
Kernel = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A row for each kernel, and what rows point into.

    arena: the numbers that it begins with. inputs, outputs: where each entry of the image and each
    logit is there; of `side` images, those of the next follow after each. sums: how many numbers a
    kernel adds up beside it.
    """

    kernels: list[Kernel]
    table: np.ndarray
    floats: np.ndarray
    ints: np.ndarray
    arena: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    side: int
    sums: int


def tile(vectors: int, tiles: Iterable[int]) -> int:
    """The tile that goes through so many vectors at the least cost."""
    return min(
        (t for t in tiles if t <= vectors), key=lambda t: (-(-vectors // t) * (t + ROW_COST), t)
    )


#: Is a layer of these steps computed as a dense one?
Choose = Callable[[Layer, Steps], bool]


@dataclass
class Compiler:
    """Makes the tables, step by step."""

    part: Part
    choose: Choose
    kernels: list[Kernel] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    floats: list[np.ndarray] = field(default_factory=list)
    ints: list[np.ndarray] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=lambda: {"floats": 0, "ints": 0})
    sums: int = MOST_SUMS
    extra: int = 0  # numbers of the arena beside the maps

    def program(self) -> Program:
        """All of it."""
        self.steps = self.part.steps
        self.layouts = self._layouts()
        self.base = self._bases()
        self._copies(INPUT)
        for step in self.steps.steps:
            COMPILE[type(step)](self, step)
            self._copies(step.y)
        arena = np.zeros(self.size + self.extra, np.float32)
        order = self.part.order
        K = math.prod(self.steps.shapes[self.steps.output]) // self.part.side
        for m, constant in self.steps.constants.items():
            if m in self.base:
                arena[self.absolute(m)] = constant.ravel()
        return Program(
            self.kernels,
            np.array(self.rows, ROW),
            np.concatenate([*self.floats, np.zeros(0, np.float32)]),
            np.concatenate([*self.ints, np.zeros(0, np.int32)]),
            arena,
            self.absolute(INPUT).astype(np.int32)[... if order is None else order],
            self.absolute(self.steps.output).astype(np.int32)[:K],
            self.part.side,
            self.sums,
        )

    # ------------------------------------------------------------------------------- the arena

    def _layouts(self) -> dict[int, Planes]:
        """The planes of each map, with all copies that its readers want."""
        windows = [w for step in self.steps.steps if (w := window_of(step, self.steps))]
        same = [w for w in windows if w[1] == (1, 1) and w[3] == w[4]]
        border = max((max(w[2]) for w in same), default=0)
        layouts = {m: Planes(shape, border) for m, shape in enumerate(self.steps.shapes)}
        for step in self.steps.steps:
            if w := window_of(step, self.steps):
                layouts[step.x].ask(*w[:4])
        for planes in layouts.values():
            planes.place()
        return layouts

    def _bases(self) -> dict[int, int]:
        """Where each map begins; one that nobody reads any more makes room for one like it."""
        steps, constants = self.steps.steps, self.steps.constants
        last = {m: k for k, step in enumerate(steps) for m in step.reads}
        read = {m for step in steps for m in step.reads}
        last[self.steps.output] = len(steps)
        free: dict[tuple, list[int]] = defaultdict(list)
        end, base = SPAN, {}

        def take(m: int) -> None:
            nonlocal end
            places = free[self._like(m)]
            if places and m not in constants:
                base[m] = places.pop()
                return
            base[m] = end
            end += -(-(self.layouts[m].step * self.steps.shapes[m][2] + 2 * LANES) // SPAN) * SPAN

        for m in (INPUT, *(c for c in constants if c in read)):
            take(m)
        for k, step in enumerate(steps):
            take(step.y)
            for m in {*step.reads, step.y}:
                if last.get(m, k) == k and m not in constants and m != INPUT:
                    free[self._like(m)].append(base[m])
        self.size = end + MARGIN
        return base

    def _like(self, m: int) -> tuple:
        """Maps of which this is equal may lie at the same place, one after the other."""
        planes = self.layouts[m]
        return planes.shape, planes.home, planes.step, tuple(planes.starts.items())

    def absolute(self, m: int) -> np.ndarray:
        """Where each entry of a map is, in the order (H, W, C)."""
        planes = self.layouts[m]
        channel = self.base[m] + np.arange(self.steps.shapes[m][2]) * planes.step
        return (planes.pixel()[..., None] + channel).ravel()

    # ---------------------------------------------------------------------------- numbers in tables

    def put_floats(self, numbers: Any) -> int:
        """Where in `floats` these numbers are now."""
        return self._put("floats", np.asarray(numbers, np.float32))

    def put_ints(self, numbers: Any) -> int:
        """Where in `ints` these numbers are now."""
        return self._put("ints", np.asarray(numbers, np.int32))

    def _put(self, name: str, a: np.ndarray) -> int:
        first = self.sizes[name]
        getattr(self, name).append(a.ravel())
        self.sizes[name] += a.size
        return first

    def row(self, *kernel: Any, **columns: int) -> None:
        """The next row of the table."""
        row = np.zeros((), ROW)
        for name, number in columns.items():
            row[name] = number
        self.kernels.append(kernel)
        self.rows.append(row)

    def output(self, m: int) -> dict[str, int]:
        """The columns of a map that is written."""
        C = self.steps.shapes[m][2]
        return {"y": self.base[m], "y_step": self.layouts[m].step, "outputs": C}

    def input(self, m: int) -> dict[str, int]:
        """The columns of a map that is read from its begin."""
        return {"x": self.base[m], "input_step": self.layouts[m].step}

    def _copies(self, m: int) -> None:
        """The rows that make all copies of a map."""
        vectors, singles = [], []
        for to, lanes in self.layouts[m].copies():
            found = _two_vectors(lanes)
            if found is None:
                singles += [(x, to + k) for k, x in enumerate(lanes) if x != OUTSIDE]
            else:
                vectors.append((*found[:2], to, self.put_ints(found[2])))
        for kernel, copied in ("copies", vectors), ("copied_numbers", singles):
            if copied:
                first = self.put_ints(copied)
                self.row(kernel, pixels=first, taps=len(copied), **self.output(m))

    # ------------------------------------------------------------------------------------ steps

    def storing(self, step: Taps, direct: bool, single: bool) -> dict[str, int]:
        """The columns of what happens where a sum is stored."""
        planes, C = self.layouts[step.y], self.steps.shapes[step.y][2]
        columns = self.output(step.y) | {"relu": int(step.relu)}
        self.sums = max(self.sums, C)
        columns["shifts"] = self.put_floats(step.shift)
        columns["scales"] = self.put_floats(np.ones(C) if step.scale is None else step.scale)
        if step.residual is not None:
            other = self.layouts[step.residual]  # it is read where the output is written
            first = self.base[step.residual] + other.home - planes.home
            columns |= {"has_residual": 1, "residual": first, "residual_step": other.step}
        at, holds = planes.stores(direct)
        if single:
            at, holds = at[:1] * 0 + planes.home, holds[:1]
        columns["places"] = self.put_ints(at)
        bits = (holds << np.arange(LANES)).sum(axis=1).astype(np.uint32).view(np.int32)
        return columns | {"holds": self.put_ints(bits), "vectors": len(at)}

    def window(self, step: Taps | MaxPool) -> tuple[np.ndarray, bool, bool]:
        """Taps (U, V), whether they read the home directly, and whether the output is one pixel."""
        found = window_of(step, self.steps)
        assert found
        *asked, _ = found
        planes, out = self.layouts[step.x], found[3]
        single = out == (1, 1)
        return planes.tap(*asked), not single and planes.is_direct(*asked), single

    def layer(self, step: Layer) -> None:
        """A layer, dense or sparse, in vectors or of one pixel."""
        taps, direct, single = self.window(step)
        planes, A = self.layouts[step.x], step.components
        P, Q = step.weight.shape[-2:]
        columns = self.storing(step, direct, single) | {"outputs": Q}
        columns |= {"x": self.base[step.x], "input_step": P * planes.step}
        distance = taps[..., None] + np.arange(P) * planes.step  # (U, V, P)
        there = np.broadcast_to((taps != OUTSIDE)[..., None], distance.shape)
        w = np.where(step.alive, step.weight, np.float32(0))
        if bool(w[:, there].any()) and self.choose(step, self.steps):
            self._dense(w[:, there], distance[there], single, columns)
            return
        kind = "real" if A == 1 else "whole" if step.whole and not single else "quaternion"
        alive = step.alive & there[..., None]
        columns |= self._survivors(w, alive[:1] if kind == "whole" else alive, distance)
        kernel = (f"{kind}_pixel",) if single else (kind, tile(columns["vectors"], TILES[kind]))
        self.row(*kernel, **columns)

    def _dense(
        self, w: np.ndarray, taps: np.ndarray, single: bool, columns: dict[str, int]
    ) -> None:
        """w (A, K, Q) at K taps; taps that no output uses are left out."""
        used = w.any(axis=(0, 2))
        w, taps = w[:, used], taps[used]
        A, K, Q = w.shape
        columns |= {"taps": K, "distances": self.put_ints(taps)}
        kind = "dense" if A == 1 else "dense_quaternion"
        if single:
            self.row(f"{kind}_pixel", values=self.put_floats(w.transpose(1, 0, 2)), **columns)
            return
        if A == 4:
            w = split_weights(w)
            columns["extra"] = self.size
            self.extra = max(self.extra, 4 * columns["input_step"] + MARGIN)
        vectors = columns["vectors"]
        T = min((t for t in BLOCK if t <= vectors), key=lambda t: (-(-vectors // t) * t, -t))
        R = BLOCK[T]
        padded = np.zeros((len(w), K, -(-Q // R) * R), np.float32)
        padded[..., :Q] = w
        blocks = padded.reshape(len(w), K, -1, R).transpose(2, 0, 1, 3)  # (blocks, A or 8, K, R)
        self.row(kind, T, values=self.put_floats(blocks), **columns)

    def _survivors(self, w: np.ndarray, alive: np.ndarray, distance: np.ndarray) -> dict[str, int]:
        """Rows of survivors by output, then by component; of whole quaternions four values each."""
        A, *_, Q = alive.shape
        q, a, u, v, p = np.nonzero(alive.transpose(4, 0, 1, 2, 3))
        counts = np.bincount(q * A + a, minlength=Q * A)
        return {
            "values": self.put_floats(w[a, u, v, p, q] if len(w) == A else w[:, u, v, p, q].T),
            "distances": self.put_ints(distance[u, v, p]),
            "rows": self.put_ints(np.concatenate([[0], np.cumsum(counts)])),
        }

    def channelwise(self, step: Channelwise) -> None:
        """Each channel by itself: a row for each, or the mean of its plane."""
        taps, direct, single = self.window(step)
        planes, C = self.layouts[step.x], self.steps.shapes[step.y][2]
        columns = self.storing(step, direct, single) | self.input(step.x)
        whole_map = step.window == planes.shape[:2] and step.padding == (0, 0)
        same = (step.weight == step.weight[0, 0, 0]).all()
        if single and whole_map and not planes.single and same:
            columns |= {"values": self.put_floats(step.weight[0, 0, :1])}
            columns |= {"vectors": planes.vectors, "x": self.base[step.x] + planes.home}
            self.row("mean", **columns)
            return
        distance = taps[..., None] + np.arange(C) * planes.step
        there = np.broadcast_to((taps != OUTSIDE)[..., None], distance.shape)
        c, u, v = np.nonzero(there.transpose(2, 0, 1))
        columns["values"] = self.put_floats(step.weight[u, v, c])
        columns["distances"] = self.put_ints(distance[u, v, c])
        counts = np.bincount(c, minlength=C)
        columns["rows"] = self.put_ints(np.concatenate([[0], np.cumsum(counts)]))
        real = ("real", tile(columns["vectors"], TILES["real"]))
        self.row(*(("real_pixel",) if single else real), **columns)

    def max_pool(self, step: MaxPool) -> None:
        """In vectors; whole quaternions, and one output pixel, pixel by pixel."""
        H, W, C = self.steps.shapes[step.y]
        planes = self.layouts[step.x]
        if step.quaternions or (H, W) == (1, 1):
            pixel, to = planes.pixel(), self.layouts[step.y].pixel()
            (U, V), (s, t) = step.window, step.stride
            lists = [
                [*pixel[i * s : i * s + U, j * t : j * t + V].ravel(), to[i, j]]
                for i, j in np.ndindex(H, W)
            ]
            columns = self.input(step.x) | self.output(step.y) | {"pixels": self.put_ints(lists)}
            components = 4 if step.quaternions else 1
            self.row("longest", taps=H * W, width=U * V, components=components, **columns)
            return
        taps, direct, _ = self.window(step)
        plain = Taps(step.name, step.x, step.y, np.ones(0), step.stride, (0, 0), np.zeros(C))
        columns = self.storing(plain, direct, False) | self.input(step.x)
        columns["distances"] = self.put_ints(taps.ravel() + np.arange(C)[:, None] * planes.step)
        columns["rows"] = self.put_ints(np.arange(C + 1) * taps.size)
        self.row("largest", tile(columns["vectors"], TILES["largest"]), **columns)

    def move(self, step: Move) -> None:
        """Entry by entry."""
        all_entries = [self.absolute(m) for m in step.sources] or [np.zeros(1, np.int64)]
        source = np.where(step.index < 0, 0, np.concatenate(all_entries)[step.index])
        pixels = self.put_ints([source, self.absolute(step.y)])
        self.row("move", pixels=pixels, taps=len(source))

    def pointwise(self, step: Pointwise) -> None:
        """A function of each entry."""
        columns = self.input(step.x) | self.output(step.y) | self._pixels(step.x, step.y)
        columns |= {"values": self.put_floats(step.numbers)}
        if step.function == "modrelu":
            self.row("modrelu", **columns)
        else:
            self.row("function", width=FUNCTIONS.index(step.function), **columns)

    def product(self, step: Product) -> None:
        """Entry by entry."""
        columns = self.input(step.x) | self.output(step.y)
        columns |= {"residual": self.base[step.other]}
        columns |= {"residual_step": self.layouts[step.other].step}
        self.row("product", **columns | self._pixels(step.x, step.other, step.y))

    def _pixels(self, *maps: int) -> dict[str, int]:
        """Pixels of maps of one shape, one map after the other."""
        pixels = [self.layouts[m].pixel().ravel() for m in maps]
        return {"pixels": self.put_ints(pixels), "taps": len(pixels[0])}


def _two_vectors(lanes: np.ndarray) -> tuple[int, int, np.ndarray] | None:
    """Two places whose vectors have all these lanes, and which lane is which; None if not."""
    there = lanes[lanes != OUTSIDE]
    a = int(there.min())
    b = int(there[there >= a + LANES].min(initial=np.iinfo(np.int64).max))
    if b > there.max():
        b = a
    if not CAN_PERMUTE or there.max() >= b + LANES:
        return None
    order = np.where(lanes < a + LANES, lanes - a, lanes - b + LANES)
    return a, b, np.where(lanes == OUTSIDE, -1, order)


def window_of(step: Step, steps: Steps) -> tuple[Pair, Pair, Pair, Pair, Pair] | None:
    """(window, stride, padding, size of the output, size of the input) of such a step."""
    size = steps.shapes[step.y][:2], steps.shapes[step.x][:2]
    if isinstance(step, Layer | Channelwise):
        return step.window, step.stride, step.padding, *size
    if isinstance(step, MaxPool) and not step.quaternions:
        return step.window, step.stride, (0, 0), *size
    return None


COMPILE: dict[type[Step], Callable[[Compiler, Any], None]] = {
    Layer: Compiler.layer,
    Channelwise: Compiler.channelwise,
    MaxPool: Compiler.max_pool,
    Move: Compiler.move,
    Pointwise: Compiler.pointwise,
    Product: Compiler.product,
}
