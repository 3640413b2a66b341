"""A detector that looks for boxes on one map, an eighth of the picture's size."""

import math
from typing import Any

import numpy as np

from quatgrad.autograd import Tensor
from quatgrad.models.algebra import Layers
from quatgrad.models.resnet import BasicBlock
from quatgrad.models.sequences import Shape
from quatgrad.nn import Module, Sequential, conv_norm_act

#: The probability of a box in a cell before training, for few have one: Lin, arXiv:1708.02002.
PRIOR = 0.1


class Detector(Module):
    """Stem of w channels, three residual stages of 2w, 4w, 4w, head; all but the last one halve.

    Each cell of the map has quaternions: the four numbers of a box, and the scores of the classes,
    four in each. The parts that `real_parts` may name are stem, stage1 to stage3 and shortcuts.
    The map and its targets are those of Zhou et al., "Objects as points", arXiv:1904.07850.
    """

    def __init__(self, layers: Layers, classes: int, in_shape: Shape, width: int):
        stem = layers.of("stem")
        self.stem = stem.conv(in_shape[2], width, 3, stride=2, padding=1)
        self.bn, self.act = stem.norm(width), stem.activation(width)
        stages, P = [], width
        for number, (Q, stride) in enumerate(((2 * width, 2), (4 * width, 2), (4 * width, 1)), 1):
            stages.append(BasicBlock(layers.of(f"stage{number}"), P, Q, stride))
            P = Q
        self.stages = Sequential(*stages)
        self.head = layers.head(P, 4 * (1 + math.ceil(classes / 4)))
        grouped = layers.algebra == "grouped" and not layers.real_head  # whose channels move
        for name, bias in self.head.named_parameters():
            if name.endswith("bias"):
                b = np.tile([0.0] + [-math.log(1 / PRIOR - 1)] * (bias.size // 4 - 1), 4)
                bias.data = np.ravel(b.reshape(-1, 4).T if grouped else b).astype(bias.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, H, W, C) -> (N, H / 8, W / 8, 4 (1 + K / 4)), quotients rounded up."""
        x = conv_norm_act(self.stem, self.bn, x, self.act)
        return self.head(self.stages(x))


def split(y: Any, classes: int) -> tuple[Any, Any]:
    """What a detector gives -> scores (N, H, W, K), logits, and numbers of boxes (N, H, W, 4)."""
    N, H, W, C = y.shape
    cells = y.reshape(N, H, W, 4, C // 4)
    scores = cells[..., 1:].reshape(N, H, W, C - 4)
    return scores[..., :classes], cells[..., 0]
