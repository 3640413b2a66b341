"""`prepare` a network, call it, and see what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend, use_backend
from quatgrad.costs import check_masks, check_model, check_shape
from quatgrad.errors import DTypeError, OptionError, ShapeError, unknown
from quatgrad.nn import Module
from quatgrad.sparse import reference
from quatgrad.sparse.choice import KINDS, choose, engine_is_faster
from quatgrad.sparse.compact import compact
from quatgrad.sparse.rules import follow
from quatgrad.sparse.steps import Layer, Steps

MANY = 16  # images from which they are computed as a batch


@dataclass(frozen=True, eq=False)
class Plan:
    """A network prepared for images of one shape: `plan(images)` gives its logits.

    `kinds` says of some weights, by name, how their layers are computed: "dense" or "sparse".
    """

    steps: Steps
    input_shape: tuple[int, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, images: Any) -> Array:
        """Logits (N, K), float32, of images (N, H, W, C).

        One image is computed in this thread; the images of a batch are shared among Numba's. From
        MANY images on, sums are made in another order, and their last bits are others.
        """
        x = self.checked(images)
        if not len(x):
            return np.zeros((0, self.outputs), np.float32)
        if get_backend() == "numpy":
            return reference.run(self.steps, x)
        if len(x) >= MANY and self.by_engine and get_backend() == "numba":
            from quatgrad.sparse import engine

            return engine.run(self.steps, x)
        run = self.one_by_one if len(x) < MANY else self.many
        return run(x.reshape(len(x), -1))

    def checked(self, images: Any) -> Array:
        """Images as float32 in one piece; `ShapeError`, `DTypeError` if they are none for it."""
        x = np.asarray(images.data if isinstance(images, Tensor) else images)
        if x.dtype.kind not in "biuf":
            raise DTypeError(
                f"the plan is for images of real numbers, float32; got an array of {x.dtype}"
            )
        x = np.ascontiguousarray(x, np.float32)
        if x.shape[1:] != self.input_shape:
            raise ShapeError(
                f"the plan is for images of shape {self.input_shape}, (N, H, W, C) in all; got an "
                f"array of shape {x.shape}"
            )
        return x

    def __reduce__(self) -> Any:  # copies make their own tables, which have a lock
        return Plan, (self.steps, self.input_shape, self.kinds)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the last map; of logits (1, 1, K)."""
        return self.steps.shapes[self.steps.output]

    @property
    def outputs(self) -> int:
        """K."""
        return int(np.prod(self.output_shape))

    @cached_property
    def one_by_one(self) -> Any:
        """What computes a few images, with its tables: made at the first call."""
        from quatgrad.sparse.batch import Part

        return self._runner([Part(self.steps)])

    @cached_property
    def many(self) -> Any:
        """What computes a batch."""
        from quatgrad.sparse.batch import in_parts

        parts = in_parts(self.steps)
        return self.one_by_one if parts[0].steps is self.steps else self._runner(parts)

    def _runner(self, parts: Any) -> Any:
        from quatgrad.sparse.compiled.runner import Runner
        from quatgrad.sparse.program import Compiler

        return Runner([Compiler(part, self.is_dense).program() for part in parts])

    @cached_property
    def by_engine(self) -> bool:
        """Does the engine compute batches? Not if somebody wants a way for one of the layers."""
        return not self.kinds and engine_is_faster(self.steps)

    def is_dense(self, layer: Layer, steps: Steps) -> bool:
        """Is a layer of these steps computed with its zeros?"""
        return self.kinds.get(layer.name, choose(layer, steps)) == "dense"

    def explain(self) -> str:
        """A line for each step: what it does, on which maps, and how its layer is computed."""
        rows = [("step", "from", "to", "alive", "computed")]
        for step in self.steps.steps:
            x, y = ("x".join(map(str, self.steps.shapes[m])) for m in (step.x, step.y))
            alive = kind = ""
            if isinstance(step, Layer):
                alive = f"{100 * step.density:.1f} %"
                what = "" if step.components == 1 else ", quaternions"
                what = ", whole quaternions" if step.whole else what
                kind = ("dense" if self.is_dense(step, self.steps) else "sparse") + what
            rows.append((step.name, x, y, alive, kind))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        if self.by_engine:
            lines.append(f"batches of {MANY} images or more: all dense, by the engine's kernels")
        return "\n".join(lines)


def prepare(
    model: Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Array] | Any = None,
    kinds: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a model in evaluation mode, for images of `input_shape` (H, W, C).

    masks: bool by the name of a weight, or a ticket, which has them: what lives. Without them, what
    is not 0. kinds: "dense" or "sparse" by the name of a weight, where the choice by density is not
    wanted. The plan has copies: the model may be trained on. Errors: `OptionError` names a layer
    that no plan can have, masks that fit no weight, and unknown kinds.
    """
    check_model("prepare", model)
    check_shape("prepare", input_shape)
    masks = getattr(masks, "masks", masks)
    check_masks("prepare", model, masks)
    if not isinstance(kinds or {}, Mapping):
        raise OptionError(
            "prepare: kinds are a dict, the name of a weight -> dense or sparse; got "
            f"{type(kinds).__name__}"
        )
    weights = dict(model.weight_parameters())
    for name, kind in (kinds or {}).items():
        if name not in weights or kind not in KINDS:
            known = (weights, "weight", name) if kind in KINDS else (KINDS, "kind", kind)
            raise OptionError(f"prepare: {unknown(known[1], known[2], known[0])}")
    # Plain kernels read the graph: one image is too few for which to compile the fast ones.
    with use_backend("cupy" if get_backend() == "cupy" else "numpy"):
        steps = follow(model, tuple(input_shape), masks)
    return Plan(compact(steps), tuple(input_shape), dict(kinds or {}))
