"""`prepare` a network, and call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import OptionError, ShapeError
from quatgrad.nn import Module
from quatgrad.sparse import reference
from quatgrad.sparse.rules import follow
from quatgrad.sparse.steps import Steps


@dataclass(frozen=True, eq=False)
class Plan:
    """A network prepared for images of one shape: `plan(images)` gives its logits."""

    steps: Steps
    input_shape: tuple[int, ...]

    def __call__(self, images: Any) -> Array:
        """Logits (N, K), float32, of images (N, H, W, C)."""
        x = np.ascontiguousarray(getattr(images, "data", images), np.float32)
        if x.shape[1:] != self.input_shape:
            raise ShapeError(
                f"the plan is for images of shape {self.input_shape}, (N, H, W, C) in all; got an "
                f"array of shape {x.shape}"
            )
        if not len(x):
            return np.zeros((0, int(np.prod(self.steps.shapes[self.steps.output]))), np.float32)
        return reference.run(self.steps, x)


def prepare(
    model: Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Array] | Any = None,
    batch: int = 1,
) -> Plan:
    """The plan of a model in evaluation mode, for images of `input_shape` (H, W, C).

    masks: bool by the name of a weight, or a ticket, which has them: what lives. Without them, what
    is not 0. The plan has copies: the model may be trained on. Errors: `OptionError` names a layer
    that no plan can have, and masks that fit no weight.
    """
    masks = getattr(masks, "masks", masks)
    weights = dict(model.weight_parameters())
    for name, mask in (masks or {}).items():
        if name not in weights or np.shape(mask) != weights[name].shape:
            raise OptionError(
                f"prepare: the mask {name[:80]} of shape {np.shape(mask)} fits no weight of this "
                "model: give the masks of its own ticket"
            )
    return Plan(follow(model, tuple(input_shape), masks), tuple(input_shape))
