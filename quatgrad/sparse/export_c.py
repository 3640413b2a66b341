"""A plan as one self-contained C99 file, `NAME_predict(image, logits)`, for small devices.

No allocation, and no library but math.h where a step needs it: weights are constant arrays (flash),
maps one static array (RAM). Each survivor is its value and a byte: how many inputs are left out
before it, 255: go on adding. Maps are planes of a channel; the image is (H, W, C), as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import DataError, OptionError, unknown
from quatgrad.files import write_whole
from quatgrad.sparse import reference
from quatgrad.sparse.plan import Plan
from quatgrad.sparse.rounding import int8_scale, rounded
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

WEIGHTS = ("float32", "int8")
CARRY = 255
CHECKS = 2  # images that the file checks itself with, if none are given

#: Functions of an entry in C; {0}, {1} are its constants.
FUNCTIONS = {
    "leaky_relu": "x[k] > 0 ? x[k] : {0} * x[k]",
    "clip": "x[k] < {0} ? {0} : x[k] > {1} ? {1} : x[k]",
    "abs": "fabsf(x[k])",
    "exp": "expf(x[k])",
    "log": "logf(x[k])",
    "sqrt": "sqrtf(x[k])",
    "reciprocal": "1 / x[k]",
    "sigmoid": "1 / (1 + expf(-x[k]))",
    "tanh": "tanhf(x[k])",
    "gelu": "0.5f * x[k] * (1 + erff(0.70710678f * x[k]))",
}


@dataclass(frozen=True)
class Exported:
    """The two files, and bytes: of constant tables, and of maps."""

    source: Path
    header: Path
    flash: int
    ram: int


def export_c(
    plan: Plan,
    path: str | Path,
    weights: str = "float32",
    images: Array | None = None,
    about: str = "",
) -> Exported:
    """Write PATH.c and PATH.h for a plan; values as float32, or int8 with a scale for each output.

    `images` (N, H, W, C), encoded, are embedded with their logits: compiled with -DNAME_CHECK the
    file is a program that checks itself. `about` is a comment for the header. Errors: `OptionError`
    names a step that has no C, and a path whose last part is no name in C; `ShapeError` for other
    images; `DataError` if it cannot be written.
    """
    path = Path(path)
    path = path.with_suffix("") if path.suffix in (".c", ".h") else path
    name = path.name
    if weights not in WEIGHTS:
        why = ": C99 has no type for it" if weights == "float16" else ""
        raise OptionError(unknown("weights", weights, WEIGHTS) + why)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise OptionError(
            f"export_c: {name!r} names a function in C: a letter, then letters, digits, _"
        )
    if images is None or not len(images):
        shape = (CHECKS, *plan.input_shape)
        images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    images, plan = plan.checked(images), rounded(plan, weights)
    writer = _Writer(plan.steps, weights == "int8")
    body = writer.body()
    logits = _finite_logits(plan.steps, images)
    known: dict[str, Any] = {
        "NAME": name, "UPPER": name.upper(), "WEIGHT": "int8_t" if weights == "int8" else "float",
        "COUNT": f"uint{8 * writer.count_bytes}_t", "ARENA": max(writer.arena, 1),
        "PLACE": "int16_t" if writer.farthest < 1 << 15 else "int32_t",
        "TABLES": "\n".join(writer.tables), "BODY": body, "INPUTS": int(np.prod(plan.input_shape)),
        "OUTPUTS": plan.outputs, "IMAGES": len(images), "FLASH": writer.flash,
        "RAM": 4 * writer.arena, "WEIGHTS": weights, "ABOUT": _comment(about),
        "CHECK_IMAGES": _numbers(images.ravel()), "CHECK_LOGITS": _numbers(logits.ravel()),
    }  # fmt: skip
    made = Exported(path.with_suffix(".c"), path.with_suffix(".h"), writer.flash, 4 * writer.arena)
    source, header = _template(body + known["TABLES"])
    for file, text in ((made.source, source), (made.header, header)):
        text = re.sub(r"@(\w+)@", lambda m: str(known[m[1]]), text)
        try:
            write_whole(file, text.encode())
        except OSError as error:
            raise DataError(f"cannot write {file}: {error.strerror}") from error
    return made


def _finite_logits(steps: Steps, images: Array) -> Array:
    """C99 has no constant for NaN, and a check can compare no infinite logits."""
    for step in steps.steps:
        if not isinstance(step, Taps):
            continue
        alive = step.alive if isinstance(step, Layer) else True
        numbers = np.where(alive, step.weight, 0), step.shift, step.scale
        if not all(np.isfinite(a).all() for a in numbers if a is not None):
            raise OptionError(f"export_c: {step.name} has a number that is not finite: train again")
    with np.errstate(all="ignore"):
        logits = reference.run(steps, images)
    if not np.isfinite(logits).all():
        raise OptionError(
            "export_c: the logits are not finite for the images of the check: give other images, "
            "or train again"
        )
    return logits


def _template(code: str) -> tuple[str, str]:
    """Source and header, with those functions only that the code calls."""
    text = files("quatgrad.sparse").joinpath("predict.c.in").read_text()
    source, header = text.split("/* ---- header ---- */\n")
    start, *parts = re.split(r"/\* ---- (\w+) ---- \*/\n", source)
    parts[1::2] = [
        part if name == "end" or re.search(rf"\b{name}\(", code) else ""
        for name, part in zip(parts[::2], parts[1::2], strict=True)
    ]
    source = start + "".join(parts[1::2])
    if re.search(r"\b(?!print)[a-z]+f\(|\bINFINITY", code + source):
        source = source.replace("#include <stdint.h>", "#include <math.h>\n#include <stdint.h>", 1)
    return source, header


def _comment(text: str) -> str:
    """Lines of a comment in C."""
    lines = text.replace("*/", "* /").replace("/*", "/ *").splitlines()
    return "".join(f"\n   {line}".rstrip() for line in lines)


@dataclass
class _Writer:
    """Tables, and lines of code for each step."""

    steps: Steps
    is_int8: bool
    tables: list[str] = field(default_factory=list)
    flash: int = 0
    arena: int = 0
    most: int = 0  # survivors of a row
    counted: int = 0  # rows
    moved: int = 0  # entries of maps
    farthest: int = 0  # place of them

    def body(self) -> str:
        """The calls."""
        if not self.steps.steps:
            raise OptionError("export_c: this network gives its image: there is nothing to export")
        self.place = self._places()
        calls = [self.call(k, step) for k, step in enumerate(self.steps.steps)]
        if self.is_copied:
            H, W, C = self.steps.shapes[INPUT]
            calls.insert(0, f"    surround(image, {H}, {W}, {C}, {W * C}, {C}, 1, 0, 0, arena);")
        if self.is_turned:
            H, W, C = self.steps.shapes[self.steps.output]
            sizes = ", ".join(map(str, (W, C, H, 1, H * W, W, 0, 0)))
            calls.append(f"    /* the output is a map {H}x{W}x{C} */")
            calls.append(f"    surround({self.place[self.steps.output]}, {sizes}, logits);")
        for m, values in self.steps.constants.items():
            self._table("float", f"constant{m}", self._planes(m, values.ravel()), 4)
        self.flash += self.counted * self.count_bytes
        self.flash += self.moved * (2 if self.farthest < 1 << 15 else 4)
        return "\n".join(calls)

    @property
    def count_bytes(self) -> int:
        """What holds the number of survivors of a row."""
        return 1 if self.most < 1 << 8 else 2 if self.most < 1 << 16 else 4

    # --------------------------------------------------------------------------------- maps

    @property
    def is_copied(self) -> bool:
        """Must the image lie as maps do? Windows and moves find it as it is, others do not."""
        others = (
            step.reads if isinstance(step, Pointwise | Product) else (residual_of(step),)
            for step in self.steps.steps
        )
        return any(INPUT in maps for maps in others)

    @property
    def is_turned(self) -> bool:
        """Is the output a map, which leaves as (H, W, C)?"""
        H, W, C = self.steps.shapes[self.steps.output]
        return H * W > 1 and C > 1

    def _places(self) -> dict[int, str]:
        """Where each map is: the image, the logits, a constant, or a part of the arena that is free
        by then.
        """
        last = {m: k for k, step in enumerate(self.steps.steps) for m in step.reads}
        last[self.steps.output] = len(self.steps.steps)
        place = {INPUT: "image"} | {m: f"constant{m}" for m in self.steps.constants}
        if not self.is_turned:
            place[self.steps.output] = "logits"
        live: dict[int, tuple[int, int]] = {}
        if self.is_copied:
            place[INPUT], self.arena = "arena", self._size(INPUT)
            live[INPUT] = 0, self.arena
        for k, step in enumerate(self.steps.steps):
            for what, size in ((step.y, self._size(step.y)), (-1 - k, self._padded(step))):
                if not size or place.get(what) == "logits":
                    continue
                first = _first_fit(live.values(), size)
                live[what] = first, first + size
                self.arena = max(self.arena, first + size)
                place[what] = f"arena + {first}"
            live = {m: v for m, v in live.items() if last.get(m, k) > k}
        return place

    def _size(self, m: int) -> int:
        return int(np.prod(self.steps.shapes[m]))

    def _padded(self, step: Step) -> int:
        """Numbers of the map with its border of zeros, if the step needs one."""
        if not isinstance(step, Taps) or step.padding == (0, 0):
            return 0
        H, W, C = self.steps.shapes[step.x]
        return C * (H + 2 * step.padding[0]) * (W + 2 * step.padding[1])

    def _planes(self, m: int, entries: Array) -> Array:
        """The entries (H W C,) of a map in the order in which it lies."""
        return entries.reshape(self.steps.shapes[m]).transpose(2, 0, 1).ravel()

    def _lies_at(self, m: int) -> Array:
        """Where each entry of a map lies, in the order (H, W, C)."""
        at = np.arange(self._size(m))
        if m == INPUT and not self.is_copied:
            return at
        H, W, C = self.steps.shapes[m]
        return at.reshape(C, H, W).transpose(1, 2, 0).ravel()

    # -------------------------------------------------------------------------------- steps

    def call(self, k: int, step: Any) -> str:
        """The C code of a step."""
        (H, W, C), (I, J, D) = self.steps.shapes[step.x], self.steps.shapes[step.y]
        lines = [f"    /* {step.name}: {H}x{W}x{C} -> {I}x{J}x{D} */"]
        others: dict[type, Callable[[int, Any], list[str]]] = {
            Pointwise: self._pointwise,
            Product: self._product,
            Move: self._move,
        }
        if type(step) in others:
            return "\n".join(lines + others[type(step)](k, step))
        x, is_image = self.place[step.x], step.x == INPUT and not self.is_copied
        strides = (W * C, C, 1) if is_image else (W, 1, H * W)  # of rows, columns, channels
        if self._padded(step):
            border, (pu, pv) = self.place[-1 - k], step.padding
            sizes = ", ".join(map(str, (H, W, C, *strides, pu, pv)))
            lines.append(f"    surround({x}, {sizes}, {border});")
            x, strides = border, (W + 2 * pv, 1, (H + 2 * pu) * (W + 2 * pv))
        (s, t), (row, column, channel) = step.stride, strides
        geometry = f"{{{I}, {J}, {s * row}, {t * column}}}"
        y = self.place[step.y]
        if isinstance(step, MaxPool):
            A, (U, V) = 4 if step.quaternions else 1, step.window
            lines.append(f"    largest({x}, (geometry){geometry}, {U}, {V}, {row}, {column}, "
                         f"{channel}, {D // A}, {A}, {y});")  # fmt: skip
            return "\n".join(lines)
        residual = "0" if step.residual is None else self.place[step.residual]
        far = np.arange(step.window[0])[:, None] * row + np.arange(step.window[1]) * column
        layer = self._layer if isinstance(step, Layer) else self._channelwise
        end = f"{layer(k, step, far, channel)}, {int(step.relu)}}};"
        self.tables.append(f"static const layer layer{k} = {{{geometry}, {end}")
        lines.append(f"    rows(&layer{k}, {x}, {residual}, {y});")
        return "\n".join(lines)

    def _pointwise(self, k: int, step: Pointwise) -> list[str]:
        """A function of each entry, or of each quaternion."""
        x, y, n = self.place[step.x], self.place[step.y], self._size(step.x)
        if step.function == "modrelu":
            H, W, C = self.steps.shapes[step.x]
            self._table("float", f"bias{k}", step.numbers, 4)
            return [f"    modrelu({x}, {H * W}, {C // 4}, bias{k}, {y});"]
        return _loop(x, y, n, FUNCTIONS[step.function].format(*map(_float, step.numbers)))

    def _product(self, k: int, step: Product) -> list[str]:
        x, y, other = (self.place[m] for m in (step.x, step.y, step.other))
        return _loop(x, y, self._size(step.x), f"x[k] * ({other})[k]")

    def _move(self, k: int, step: Move) -> list[str]:
        """Of each source the places in it, one for each entry of y; -1: it is not from there."""
        lines, end = [], 0
        for m in step.sources or (INPUT,):
            here = (step.index >= end) & (step.index < end + self._size(m))
            at = np.where(here, self._lies_at(m)[np.where(here, step.index - end, 0)], -1)
            self._table("place", f"from{m}_{k}", self._planes(step.y, at), 0)
            where = f"from{m}_{k}, {len(at)}, {int(end == 0)}, {self.place[step.y]}"
            lines.append(f"    take({self.place[m]}, {where});")
            end += self._size(m)
            self.moved, self.farthest = self.moved + len(at), max(self.farthest, int(at.max()))
        return lines

    def _layer(self, k: int, step: Layer, far: Array, channel: int) -> str:
        """The tables of a layer, and what its structure says of them."""
        A, _, _, P, Q = step.weight.shape
        place = far[..., None] + np.arange(P) * channel  # (U, V, P)
        q, a, u, v, p = np.nonzero(step.alive.transpose(4, 0, 1, 2, 3))
        row = q * A + a
        order = np.lexsort((place[u, v, p], row))
        values, scale = step.weight[a, u, v, p, q][order], step.scale
        if self.is_int8:
            own = int8_scale(np.where(step.alive, step.weight, 0))
            values = np.rint(values / own[q[order]])
            scale = own if scale is None else scale * np.tile(own, A)
        self._rows(k, row[order], place[u, v, p][order], values, Q * A)
        return f"{Q}, {A}, {P * channel}, 0, {self._ends(k, step, scale)}"

    def _channelwise(self, k: int, step: Channelwise, far: Array, channel: int) -> str:
        """Each channel by itself: all have the same taps, and a scale."""
        U, V, C = step.weight.shape
        first = step.weight[:, :, abs(step.weight).max(axis=(0, 1)).argmax()].ravel()
        scale = step.weight[0, 0] / first[0] if first[0] else step.weight[0, 0]
        same = np.allclose(step.weight.reshape(-1, C), first[:, None] * scale, rtol=1e-6)
        if not same or (self.is_int8 and (first != first[0]).any()):
            raise OptionError(f"export_c: there is no C for the step {step.name!r} of this plan")
        if self.is_int8 and first[0]:
            scale, first = scale * first[0], np.ones(U * V)
        self._rows(k, np.zeros(U * V, np.int64), far.ravel(), first, 1)
        return f"{C}, 1, 0, {channel}, {self._ends(k, step, scale.astype(np.float32))}"

    # ------------------------------------------------------------------------------- tables

    def _rows(self, k: int, row: Array, place: Array, values: Array, rows: int) -> None:
        left_out = np.diff(place, prepend=-1) - 1
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        left_out[starts] = place[starts]
        carries = left_out // CARRY
        gaps = np.full(int(carries.sum()) + left_out.size, CARRY, np.int64)
        gaps[np.cumsum(carries + 1) - 1] = left_out % CARRY
        counts = np.bincount(row, minlength=rows)
        self.most = max(self.most, int(counts.max(initial=0)))
        self._table("weight", f"values{k}", values, 1 if self.is_int8 else 4)
        self._table("uint8_t", f"gaps{k}", gaps, 1)
        self._table("count", f"counts{k}", counts, 0)
        self.counted += rows

    def _ends(self, k: int, step: Taps, scale: Array | None) -> str:
        """The names of the tables of a layer."""
        tables = f"values{k}, gaps{k}, counts{k}"
        self._table("float", f"shift{k}", step.shift, 4)
        if scale is None:
            return f"{tables}, 0, 1, shift{k}"
        self._table("float", f"scale{k}", scale, 4)
        return f"{tables}, scale{k}, {len(scale)}, shift{k}"

    def _table(self, kind: str, name: str, a: Array, size: int) -> None:
        self.flash += size * len(a)
        numbers = _numbers(a, whole=kind != "float" and (kind != "weight" or self.is_int8))
        self.tables.append(f"static const {kind} {name}[{max(len(a), 1)}] = {{\n{numbers}}};")


def residual_of(step: Step) -> int | None:
    """The map that a step adds, if there is one."""
    return step.residual if isinstance(step, Taps) else None


def _loop(x: str, y: str, n: int, value: str) -> list[str]:
    return [
        "    {",
        f"        const float *x = {x};",
        f"        float *y = {y};",
        f"        for (int k = 0; k < {n}; k++) y[k] = {value};",
        "    }",
    ]


def _first_fit(taken: Iterable[tuple[int, int]], size: int) -> int:
    """The first place for so many numbers between those that are taken."""
    first = 0
    for begin, end in sorted(taken):
        if first + size <= begin:
            break
        first = max(first, end)
    return first


def _numbers(a: Array, whole: bool = False) -> str:
    """Numbers as C has them, in lines."""
    texts = [str(int(x)) if whole else _float(float(x)) for x in a] or ["0"]
    lines, line = [], ""
    for text in texts:
        if len(line) + len(text) > 96:
            lines.append(line)
            line = ""
        line += text + ","
    return "\n".join([*lines, line])


def _float(x: float) -> str:
    if not np.isfinite(x):
        return {np.inf: "INFINITY", -np.inf: "-INFINITY"}.get(x, "NAN")
    text = np.format_float_scientific(np.float32(x), unique=True, trim="0")
    return "0" if x == 0 else text.replace("e+00", "") + "f"
