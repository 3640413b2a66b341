"""Curves: test accuracy against what is left of a network, level by level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Key = tuple[str, str, str]  # dataset, model, algebra: ("cifar100", "resnet18", "real")


@dataclass(frozen=True)
class Point:
    """One level of a search.

    fraction         of the network's own prunable weights
    x                % of the dense real network's: prunable weights; the predecessor's models
                     with their biases, as it plotted them
    accuracy         % of the test images, last epoch, mean of the trials
    low, high        its 95 % t-interval; None for a single trial
    weights          prunable weights left; parameters: with biases and batch norm
    multiply_adds    for one image; bytes: stored. None where unknown (nobody published them)
    """

    level: int
    fraction: float
    x: float
    accuracy: float
    low: float | None
    high: float | None
    trials: int
    weights: int
    parameters: int
    multiply_adds: int | None = None
    bytes: int | None = None

    @property
    def half_width(self) -> float | None:
        """Half the 95 % interval, in points."""
        return None if self.high is None else self.high - self.accuracy


@dataclass(frozen=True)
class Curve:
    """The levels of one network on one dataset, dense first.

    algebra    "real", "quaternion", or a real control: "half" as wide, or of "equal" weights
    source     "published" or "ours"
    label      the figure, or the run and its preset
    scaled     what is smaller than in the published training, "width 8 for 64"; "" for nothing
    synthetic  its images are generated, not photographed
    setting    width, images and epochs of ours, in words; "" for published
    chance     % that a guess gets right, if not that of the dataset: some classes may be absent
    """

    dataset: str
    model: str
    algebra: str
    source: str
    label: str
    points: tuple[Point, ...]
    scaled: str = ""
    synthetic: bool = False
    setting: str = ""
    chance: float | None = None

    @property
    def key(self) -> Key:
        """Dataset, model, algebra."""
        return self.dataset, self.model, self.algebra

    @property
    def dense(self) -> Point:
        """Level 0."""
        return self.points[0]

    def at(self, x: float, axis: str = "x") -> float | None:
        """Accuracy where `axis` of the points is x, linear in log x; None beyond the curve."""
        logs = [(math.log(getattr(p, axis)), p.accuracy) for p in self.points]
        t = math.log(x)
        for (high, y1), (low, y0) in zip(logs, [*logs[1:], logs[-1]], strict=True):
            if low <= t <= high:
                return y1 if high == low else y0 + (y1 - y0) * (t - low) / (high - low)
        return None


Curves = Mapping[Key, Curve]


def by_key(curves: list[Curve]) -> dict[Key, Curve]:
    """Curves by dataset, model, algebra."""
    return {curve.key: curve for curve in curves}


def pairs(curves: Curves, dataset: str, prefix: str = "") -> list[tuple[str, Curve, Curve]]:
    """(model, real, quaternion) of each model on the dataset that has both, in order."""
    return [
        (model, real, quaternion)
        for (d, model, algebra), real in curves.items()
        if (d, algebra) == (dataset, "real") and model.startswith(prefix)
        if (quaternion := curves.get((dataset, model, "quaternion")))
    ]
