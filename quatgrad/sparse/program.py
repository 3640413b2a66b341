"""A plan as tables of numbers, which compiled code reads: one row of int64 for each step.

Maps are planes in an arena of float32, of which each thread has one; its first line stays 0. A row
of the table says what to do, where a map begins, and where in the other tables the step's numbers
are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from quatgrad.kernels.numba_cpu.machine.cache import LANES
from quatgrad.kernels.reference import Pair
from quatgrad.sparse.compiled.dense import QUATERNION_BLOCK, REAL_BLOCK
from quatgrad.sparse.compiled.rows import CAN_PERMUTE
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

COLUMNS = {
    "kind": "what to do",
    "x": "where the map that is read begins",
    "input_step": "from one of its channels, or components of quaternions, to the next",
    "y": "where the map that is written begins",
    "y_step": "from one of its channels to the next",
    "has_residual": "0 or 1",
    "residual": "where a map begins that is added",
    "residual_step": "from one of its channels to the next",
    "low": "1: what is stored is at least 0",
    "outputs": "channels of the output, or quaternions",
    "components": "1, or 4 of quaternions",
    "vectors": "of a channel of the output",
    "tile": "of them computed together",
    "block": "outputs computed together",
    "taps": "of a dense layer; or pixels, or entries",
    "row": "where its rows begin in `rows`, or its taps in `indices`",
    "value": "where its numbers begin in `numbers`",
    "channel": "where its channels begin in `scales` and `shifts`",
    "place": "where its vectors begin in `places` and `holds`",
    "pixels": "where its pixels begin in `indices`",
    "width": "which function, or pixels of a window",
    "map_channels": "channels of the output, components apart",
    "copies": "of a plane that is written: the first",
    "copies_end": "and the one after the last",
    "singles": "numbers that are copied: the first",
    "singles_end": "and the one after the last",
}
ROW = np.dtype([(name, np.int64) for name in COLUMNS])

#: Kinds: layers in vectors, layers with one output pixel, and the rest.
SPARSE, WHOLE, DENSE = range(3)
SCALAR, DENSE_VECTOR, MEAN = range(3, 6)
LARGEST, LONGEST, ENTRIES, FUNCTION, PRODUCT, ENDS = range(6, 12)

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
    "modrelu",
)

#: Vectors of a tile, for which there are functions: sums of it are in registers.
REAL_TILES = (1, 2, 3, 4, 6, 8, 9, 11)
QUATERNION_TILES = (1, 2, 3, 4, 6) if LANES == 16 else (1, 2, 3)
WHOLE_TILES = (1, 2, 3, 4) if LANES == 16 else (1, 2)
MOST_SUMS = 24 * LANES  # numbers that the sums of a tile may take
ROW_COST = 1.5  # what a number of a row costs beside its products, in vectors


class Tables(NamedTuple):
    """All numbers of a program, of which each row of its table has a part.

    values, distances     survivors, one after another; `rows` says where each row begins
    wholes, whole_distances   the same for whole quaternions, four values each
    scales, shifts        of the channels of layers
    places, holds         where each vector of an output goes, and a bit for each lane with a pixel
    copies, orders        (from, from, to, order) of a plane, and orders of lanes
    singles               (from, to) of a plane
    numbers, indices      dense weights and constants; their taps, and pixels
    """

    values: np.ndarray
    distances: np.ndarray
    wholes: np.ndarray
    whole_distances: np.ndarray
    rows: np.ndarray
    scales: np.ndarray
    shifts: np.ndarray
    places: np.ndarray
    holds: np.ndarray
    copies: np.ndarray
    orders: np.ndarray
    singles: np.ndarray
    numbers: np.ndarray
    indices: np.ndarray


TYPES = dict.fromkeys(Tables._fields, np.int32) | dict.fromkeys(
    ("values", "wholes", "scales", "shifts", "numbers"), np.float32
)


@dataclass(frozen=True, eq=False)
class Program:
    """Rows, tables, the numbers that an arena begins with, and how many sums a step has."""

    table: np.ndarray
    tables: Tables
    arena: np.ndarray
    sums: int


def tile(vectors: int, tiles: Iterable[int]) -> int:
    """The tile that goes through so many vectors at the least cost."""
    return min(
        (t for t in tiles if t <= vectors), key=lambda t: (-(-vectors // t) * (t + ROW_COST), t)
    )


#: Is a layer computed as a dense one?
Choose = Callable[[Layer], bool]


@dataclass
class Compiler:
    """Makes the tables, step by step."""

    steps: Steps
    choose: Choose
    parts: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: list[np.ndarray] = field(default_factory=list)
    sums: int = MOST_SUMS

    def program(self) -> Program:
        """All of it."""
        self.layouts = self._layouts()
        self.base = self._bases()
        self._ends(INPUT, is_input=True)
        for step in self.steps.steps:
            COMPILE[type(step)](self, step)
        self._ends(self.steps.output, is_input=False)
        arena = np.zeros(self.size, np.float32)
        for m, constant in self.steps.constants.items():
            if m in self.base:
                arena[self.absolute(m)] = constant.ravel()
        tables = {}
        for name, kind in TYPES.items():
            empty = np.zeros((0, {"copies": 4, "singles": 2}.get(name, 1)), kind)
            parts = self.parts[name] or [empty if name in ("copies", "singles") else empty[:, 0]]
            tables[name] = np.ascontiguousarray(np.concatenate(parts), kind)
        return Program(np.stack(self.rows), Tables(**tables), arena, self.sums)

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
        self.size = end + 16 * LANES  # a tile may look a little further
        return base

    def _like(self, m: int) -> tuple:
        """Maps of which this is equal may lie at the same place, one after the other."""
        planes = self.layouts[m]
        return planes.shape, planes.home, planes.step, tuple(planes.starts.items())

    def start(self, m: int) -> int:
        """Where the first pixel of a map is."""
        return self.base[m] + self.layouts[m].home

    def absolute(self, m: int) -> np.ndarray:
        """Where each entry of a map is, in the order (H, W, C)."""
        planes = self.layouts[m]
        channel = self.base[m] + np.arange(self.steps.shapes[m][2]) * planes.step
        return (planes.pixel()[..., None] + channel).ravel()

    # ---------------------------------------------------------------------------- numbers in tables

    def put(self, name: str, numbers: Any) -> int:
        """Where in a table these numbers are now."""
        a, first = np.asarray(numbers, TYPES[name]), self.sizes[name]
        self.parts[name].append(a)
        self.sizes[name] += len(a)
        return first

    def row(self, step: Step | None, **columns: int) -> None:
        """The next row of the table."""
        row = np.zeros((), ROW)
        for name, number in columns.items():
            row[name] = number
        self.rows.append(row)

    def output(self, m: int) -> dict[str, int]:
        """The columns of a map that is written."""
        planes = self.layouts[m]
        vectors, singles = [], []
        for to, lanes in planes.copies():
            found = self._two_vectors(lanes)
            if found is None:
                singles += [(x, to + k) for k, x in enumerate(lanes) if x != OUTSIDE]
            else:
                vectors.append((*found[:2], to, self.put("orders", found[2]) // LANES))
        return {
            "y": self.base[m],
            "y_step": planes.step,
            "map_channels": self.steps.shapes[m][2],
            "copies": self.put("copies", np.array(vectors).reshape(-1, 4)),
            "copies_end": self.sizes["copies"],
            "singles": self.put("singles", np.array(singles).reshape(-1, 2)),
            "singles_end": self.sizes["singles"],
        }

    def _two_vectors(self, lanes: np.ndarray) -> tuple[int, int, np.ndarray] | None:
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

    def input(self, m: int) -> dict[str, int]:
        """The columns of a map that is read from its begin."""
        return {"x": self.base[m], "input_step": self.layouts[m].step}

    # ------------------------------------------------------------------------------------ steps

    def _ends(self, m: int, is_input: bool) -> None:
        """The input, or the output: its pixels."""
        pixel = self.layouts[m].pixel().ravel()
        place = self.output(m) if is_input else self.input(m)
        self.row(
            None,
            kind=ENDS,
            pixels=self.put("indices", pixel),
            taps=len(pixel),
            **place | {"map_channels": self.steps.shapes[m][2]},
        )

    def storing(self, step: Taps, direct: bool, single: bool) -> dict[str, int]:
        """The columns of what happens where a sum is stored."""
        planes, C = self.layouts[step.y], self.steps.shapes[step.y][2]
        columns = self.output(step.y) | {"low": int(step.relu)}
        self.sums = max(self.sums, C)
        columns["channel"] = self.put("shifts", step.shift)
        self.put("scales", np.ones(C) if step.scale is None else step.scale)
        if step.residual is not None:
            other = self.layouts[step.residual]  # it is read where the output is written
            first = self.base[step.residual] + other.home - planes.home
            columns |= {"has_residual": 1, "residual": first, "residual_step": other.step}
        at, holds = planes.stores(direct)
        if single:
            at, holds = at[:1] * 0 + planes.home, holds[:1]
        columns["place"] = self.put("places", at)
        self.put("holds", (holds << np.arange(LANES)).sum(axis=1).astype(np.uint32).view(np.int32))
        return columns | {"vectors": len(at)}

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
        columns = self.storing(step, direct, single) | {"outputs": Q, "components": A}
        columns |= {"x": self.base[step.x], "input_step": P * planes.step}
        distance = taps[..., None] + np.arange(P) * planes.step  # (U, V, P)
        there = np.broadcast_to((taps != OUTSIDE)[..., None], distance.shape)
        w = np.where(step.alive, step.weight, np.float32(0))
        is_dense = bool(w[:, there].any()) and self.choose(step)
        if is_dense:
            columns |= self._dense(w[:, there], distance[there], single, columns.get("vectors", 1))
        elif step.whole and not single:
            columns |= {"kind": WHOLE, "tile": tile(columns["vectors"], WHOLE_TILES)}
            columns["row"] = self._survivors(w, step.alive[:1] & there[..., None], distance, True)
        else:
            columns["row"] = self._survivors(w, step.alive & there[..., None], distance, False)
            tiles = QUATERNION_TILES if A == 4 else REAL_TILES
            columns["kind"] = SCALAR if single else SPARSE
            columns["tile"] = 0 if single else tile(columns["vectors"], tiles)
        self.row(step, **columns)

    def _dense(self, w: np.ndarray, taps: np.ndarray, single: bool, vectors: int) -> dict[str, int]:
        """w (A, K, Q) at K taps; taps that no output uses are left out."""
        used = w.any(axis=(0, 2))
        w, taps = w[:, used], taps[used]
        A, K, Q = w.shape
        columns = {"taps": K, "row": self.put("indices", taps), "block": Q}
        if single:
            return columns | {
                "kind": DENSE_VECTOR,
                "value": self.put("numbers", w.transpose(1, 0, 2).ravel()),
            }
        blocks = QUATERNION_BLOCK if A == 4 else REAL_BLOCK
        T = min((t for t in blocks if t <= vectors), key=lambda t: (-(-vectors // t) * t, -t))
        R = blocks[T]
        padded = np.zeros((A, K, -(-Q // R) * R), np.float32)
        padded[..., :Q] = w
        packed = padded.reshape(A, K, -1, R).transpose(2, 1, 3, 0)  # (blocks, K, R, A)
        value = self.put("numbers", packed.ravel())
        return columns | {"kind": DENSE, "tile": T, "block": R, "value": value}

    def _survivors(
        self, w: np.ndarray, alive: np.ndarray, distance: np.ndarray, whole: bool
    ) -> int:
        """Rows of survivors by output, then by component: where the first row is in `rows`."""
        A, *_, Q = alive.shape
        q, a, u, v, p = np.nonzero(alive.transpose(4, 0, 1, 2, 3))
        names = ("wholes", "whole_distances") if whole else ("values", "distances")
        self.put(names[0], w[:, u, v, p, q].T.ravel() if whole else w[a, u, v, p, q])
        first = self.put(names[1], distance[u, v, p])
        counts = np.bincount(q * A + a, minlength=Q * A)
        return self.put("rows", first + np.concatenate([[0], np.cumsum(counts)]))

    def channelwise(self, step: Channelwise) -> None:
        """Each channel by itself: a row for each, or the mean of its plane."""
        taps, direct, single = self.window(step)
        planes, C = self.layouts[step.x], self.steps.shapes[step.y][2]
        columns = self.storing(step, direct, single) | {"outputs": C, "components": 1}
        columns |= {"x": self.base[step.x], "input_step": planes.step}
        whole_map = step.window == planes.shape[:2] and step.padding == (0, 0)
        if single and whole_map and (step.weight == step.weight[0, 0, 0]).all():
            value = self.put("numbers", step.weight[0, 0, :1])
            vectors = 1 if planes.single else planes.vectors
            columns |= {"kind": MEAN, "value": value, "vectors": vectors, "x": self.start(step.x)}
            if not planes.single:
                self.row(step, **columns)
                return
        distance = taps[..., None] + np.arange(C) * planes.step
        there = np.broadcast_to((taps != OUTSIDE)[..., None], distance.shape)
        c, u, v = np.nonzero(there.transpose(2, 0, 1))
        self.put("values", step.weight[u, v, c])
        first = self.put("distances", distance[u, v, c])
        rows = first + np.concatenate([[0], np.cumsum(np.bincount(c, minlength=C))])
        columns |= {"row": self.put("rows", rows), "x": self.base[step.x]}
        columns["kind"] = SCALAR if single else SPARSE
        columns["tile"] = 0 if single else tile(columns["vectors"], REAL_TILES)
        self.row(step, **columns)

    def max_pool(self, step: MaxPool) -> None:
        """In vectors; whole quaternions, and one output pixel, pixel by pixel."""
        H, W, C = self.steps.shapes[step.y]
        planes = self.layouts[step.x]
        if step.quaternions or (H, W) == (1, 1):
            pixel = planes.pixel()
            (U, V), (s, t) = step.window, step.stride
            lists = [
                [
                    *pixel[i * s : i * s + U, j * t : j * t + V].ravel(),
                    self.layouts[step.y].pixel()[i, j],
                ]
                for i, j in np.ndindex(H, W)
            ]
            self.row(
                step,
                kind=LONGEST,
                pixels=self.put("indices", np.ravel(lists)),
                taps=H * W,
                width=U * V,
                components=4 if step.quaternions else 1,
                **self.input(step.x),
                **self.output(step.y),
            )
            return
        taps, direct, _ = self.window(step)
        plain = Taps(step.name, step.x, step.y, np.ones(0), step.stride, (0, 0), np.zeros(C))
        columns = self.storing(plain, direct, False) | self.input(step.x)
        columns |= {"kind": LARGEST, "outputs": C, "components": 1}
        columns["tile"] = 4 if columns["vectors"] >= 4 else 1
        distances = taps.ravel() + np.arange(C)[:, None] * self.layouts[step.x].step
        self.put("values", np.zeros(distances.size))
        first = self.put("distances", distances.ravel())
        columns["row"] = self.put("rows", first + np.arange(C + 1) * taps.size)
        self.row(step, **columns)

    def move(self, step: Move) -> None:
        """Entry by entry."""
        all_entries = [self.absolute(m) for m in step.sources] or [np.zeros(1, np.int64)]
        source = np.where(step.index < 0, 0, np.concatenate(all_entries)[step.index])
        first = self.put("indices", source)
        self.put("indices", self.absolute(step.y))
        self.row(step, kind=ENTRIES, pixels=first, taps=len(source), **self.output(step.y))

    def pointwise(self, step: Pointwise) -> None:
        """A function of each entry."""
        columns = self.input(step.x) | self.output(step.y)
        columns |= {"kind": FUNCTION, "width": FUNCTIONS.index(step.function)}
        columns |= {"value": self.put("numbers", step.numbers)}
        self.row(step, **columns | self._pixels(step.x, step.y))

    def product(self, step: Product) -> None:
        """Entry by entry."""
        columns = self.input(step.x) | self.output(step.y) | {"kind": PRODUCT}
        columns |= {"residual": self.base[step.other]}
        columns |= {"residual_step": self.layouts[step.other].step}
        self.row(step, **columns | self._pixels(step.x, step.other, step.y))

    def _pixels(self, *maps: int) -> dict[str, int]:
        """Pixels of maps of one shape, one map after the other."""
        pixels = [self.layouts[m].pixel().ravel() for m in maps]
        return {"pixels": self.put("indices", np.concatenate(pixels)), "taps": len(pixels[0])}


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
