"""A plan as one self-contained C99 file, `NAME_predict(image, logits)`, for small devices.

No allocation and no library: weights are constant arrays (flash), maps one static array (RAM). Each
survivor is its value and a byte: how many inputs are left out before it, 255: go on adding. Maps
are planes of a channel; the image is (H, W, C), as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
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
from quatgrad.sparse.steps import INPUT, Channelwise, Layer, MaxPool, Step, Steps, Taps

WEIGHTS = ("float32", "int8")
CARRY = 255
CHECKS = 2  # images that the file checks itself with, if none are given


@dataclass(frozen=True)
class Exported:
    """The two files, and bytes: of constant tables, and of maps."""

    source: Path
    header: Path
    flash: int
    ram: int


def export_c(
    plan: Plan, path: str | Path, weights: str = "float32", images: Array | None = None
) -> Exported:
    """Write PATH.c and PATH.h for a plan; values as float32, or int8 with a scale for each output.

    `images` (N, H, W, C), encoded, are embedded with their logits: compiled with -DNAME_CHECK the
    file is a program that checks itself. Errors: `OptionError` names a step that has no C, and a
    path whose last part is no name in C.
    """
    path = Path(path).with_suffix("")
    name = path.name
    if weights not in WEIGHTS:
        raise OptionError(unknown("weights", weights, WEIGHTS))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise OptionError(f"export_c: {name!r} names a function in C: letters, digits, _")
    if images is None:
        shape = (CHECKS, *plan.input_shape)
        images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    writer = _Writer(plan.steps, name, weights == "int8")
    body = writer.body()
    logits = reference.run(writer.rounded, np.asarray(images, np.float32))
    template = files("quatgrad.sparse").joinpath("predict.c.in").read_text()
    known = {
        "NAME": name, "UPPER": name.upper(), "WEIGHT": "int8_t" if weights == "int8" else "float",
        "COUNT": "uint8_t" if writer.most < 256 else "uint16_t", "ARENA": max(writer.arena, 1),
        "TABLES": "\n".join(writer.tables), "BODY": body, "INPUTS": int(np.prod(plan.input_shape)),
        "OUTPUTS": plan.outputs, "IMAGES": len(images), "FLASH": writer.flash,
        "CHECK_IMAGES": _numbers(images.ravel()), "CHECK_LOGITS": _numbers(logits.ravel()),
    }  # fmt: skip
    made = Exported(path.with_suffix(".c"), path.with_suffix(".h"), writer.flash, 4 * writer.arena)
    source, header = template.split("/* ---- header ---- */\n")
    for file, text in ((made.source, source), (made.header, header)):
        text = re.sub(r"@(\w+)@", lambda m: str(known[m[1]]), text)
        try:
            write_whole(file, text.encode())
        except OSError as error:
            raise DataError(f"cannot write {file}: {error.strerror}") from error
    return made


@dataclass
class _Writer:
    """Tables, and a line of code for each step; `rounded` are the steps with what is written."""

    steps: Steps
    name: str
    is_int8: bool
    tables: list[str] = field(default_factory=list)
    flash: int = 0
    arena: int = 0
    most: int = 0  # survivors of a row
    counted: int = 0  # rows

    def body(self) -> str:
        """The calls."""
        self.rounded = Steps(
            self.steps.shapes,
            [self._rounded(step) for step in self.steps.steps],
            self.steps.constants,
            self.steps.output,
        )
        self.place = self._places()
        H, W, C = self.steps.shapes[self.steps.output]
        if H * W > 1 and C > 1:
            raise OptionError(f"export_c: the output is a map {H}x{W}x{C}; C gives a vector")
        calls = [self.call(k, step) for k, step in enumerate(self.rounded.steps)]
        self.flash += self.counted * (1 if self.most < 256 else 2)
        if self.is_copied:
            H, W, C = self.steps.shapes[INPUT]
            calls.insert(0, f"    surround(image, {H}, {W}, {C}, {W * C}, {C}, 1, 0, 0, arena);")
        return "\n".join(calls)

    @property
    def is_copied(self) -> bool:
        """Is the image added to a map? Then it must lie as the map does."""
        return any(getattr(step, "residual", None) == INPUT for step in self.steps.steps)

    def _rounded(self, step: Step) -> Step:
        if not isinstance(step, Layer | Channelwise | MaxPool) or self.steps.constants:
            raise OptionError(f"export_c: there is no C for the step {step.name!r} of this plan")
        if not isinstance(step, Layer) or not self.is_int8:
            return step
        w = np.where(step.alive, step.weight, 0)
        return Layer(**vars(step) | {"weight": (np.rint(w / (s := _scale(w))) * s)})

    def _places(self) -> dict[int, str]:
        """Where each map is: the image, the logits, or a part of the arena that is free by then."""
        last = {m: k for k, step in enumerate(self.rounded.steps) for m in step.reads}
        place = {INPUT: "image"}
        live: dict[int, tuple[int, int]] = {}
        if self.is_copied:
            place[INPUT], self.arena = "arena", self._size(INPUT)
            live[INPUT] = 0, self.arena
        for k, step in enumerate(self.rounded.steps):
            window = self._padded(step)
            for what, size in ((step.y, self._size(step.y)), (-1, window)):
                if what == self.rounded.output or not size:
                    continue
                first = _first_fit(live.values(), size)
                live[what] = first, first + size
                self.arena = max(self.arena, first + size)
                place[what if what >= 0 else -1 - k] = f"arena + {first}"
            live = {m: v for m, v in live.items() if last.get(m, k) > k}
        return place | {self.rounded.output: "logits"}

    def _size(self, m: int) -> int:
        return int(np.prod(self.steps.shapes[m]))

    def _padded(self, step: Step) -> int:
        """Numbers of the map with its border of zeros, if the step needs one."""
        if not isinstance(step, Taps) or step.padding == (0, 0):
            return 0
        H, W, C = self.steps.shapes[step.x]
        return C * (H + 2 * step.padding[0]) * (W + 2 * step.padding[1])

    # -------------------------------------------------------------------------------- steps

    def call(self, k: int, step: Any) -> str:
        """The C code of a step."""
        (H, W, C), (I, J, D) = self.steps.shapes[step.x], self.steps.shapes[step.y]
        x, lines = self.place[step.x], [f"    /* {step.name}: {H}x{W}x{C} -> {I}x{J}x{D} */"]
        is_image = step.x == INPUT and not self.is_copied
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
        write = self._layer if isinstance(step, Layer) else self._channelwise
        table = write(k, step, far, channel)
        end = f"{table}, {int(step.relu)}}};"
        self.tables.append(f"static const layer layer{k} = {{{geometry}, {end}")
        lines.append(f"    rows(&layer{k}, {x}, {residual}, {y});")
        return "\n".join(lines)

    def _layer(self, k: int, step: Layer, far: Array, channel: int) -> str:
        """The tables of a layer, and what its structure says of them."""
        A, _, _, P, Q = step.weight.shape
        place = far[..., None] + np.arange(P) * channel  # (U, V, P)
        q, a, u, v, p = np.nonzero(step.alive.transpose(4, 0, 1, 2, 3))
        row = q * A + a
        order = np.lexsort((place[u, v, p], row))
        values = step.weight[a, u, v, p, q][order]
        scale, last = None if step.scale is None else step.scale, ""
        if self.is_int8:
            own = _scale(np.where(step.alive, step.weight, 0))
            values = np.rint(values / own[q[order]])
            scale = own if scale is None else scale * np.tile(own, A)
        self._rows(k, row[order], place[u, v, p][order], values, Q * A)
        last = self._scales(k, step, scale)
        return f"{Q}, {A}, {P * channel}, 0, values{k}, gaps{k}, counts{k}, {last}"

    def _channelwise(self, k: int, step: Channelwise, far: Array, channel: int) -> str:
        """Each channel by itself: all have the taps of the first, or its one value as a scale."""
        U, V, C = step.weight.shape
        first = step.weight[:, :, :1]
        scale = (step.weight[0, 0] / np.where(first[0, 0] == 0, 1, first[0, 0])).astype(np.float32)
        if not np.allclose(step.weight, first * scale, rtol=1e-6) or (first == 0).any():
            raise OptionError(f"export_c: there is no C for the step {step.name!r} of this plan")
        value = first.ravel()
        if self.is_int8:
            scale, value = scale * value[0], value / value[0]
        if (np.rint(value) != value).any() and self.is_int8:
            raise OptionError(f"export_c: there is no int8 C for the step {step.name!r}")
        self._rows(k, np.zeros(U * V, np.int64), far.ravel(), value, 1)
        last = self._scales(k, step, scale)
        return f"{C}, 1, 0, {channel}, values{k}, gaps{k}, counts{k}, {last}"

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

    def _scales(self, k: int, step: Taps, scale: Array | None) -> str:
        self._table("float", f"shift{k}", step.shift, 4)
        if scale is None:
            return f"0, 1, shift{k}"
        self._table("float", f"scale{k}", scale, 4)
        return f"scale{k}, {len(scale)}, shift{k}"

    def _table(self, kind: str, name: str, a: Array, size: int) -> None:
        self.flash += size * len(a)
        numbers = _numbers(a, whole=kind != "float" and (kind != "weight" or self.is_int8))
        self.tables.append(f"static const {kind} {name}[{max(len(a), 1)}] = {{\n{numbers}}};")


def _scale(w: Array) -> Array:
    """What 1 of an int8 stands for, for each output feature of w (A, U, V, P, Q)."""
    largest = abs(w).reshape(-1, w.shape[-1]).max(axis=0, initial=0)
    return np.where(largest == 0, 1, largest / 127).astype(np.float32)


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
    text = np.format_float_scientific(np.float32(x), unique=True, trim="0")
    return "0" if x == 0 else text.replace("e+00", "") + "f"
