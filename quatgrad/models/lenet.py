"""LeNet-300-100: two hidden layers, on flattened images."""

from __future__ import annotations

from quatgrad.models.algebra import Layers
from quatgrad.nn import Flatten, Module, ReLU, Sequential


def lenet_300_100(
    layers: Layers, classes: int, in_shape: tuple[int, int, int], width: int
) -> Module:
    """Images (H, W, C) -> width -> width // 3 -> classes, ReLU between.

    Source: LeCun et al. 1998; quaternion as in "Neural Networks at a Fraction with Pruned
    Quaternions" (CODS-COMAD 2023), with a real last layer for ten classes.
    """
    H, W, C = in_shape
    return Sequential(
        Flatten(),
        layers.linear(H * W * C, width),
        ReLU(),
        layers.linear(width, width // 3),
        ReLU(),
        layers.head(width // 3, classes),
    )
