"""How often each class is taken for each: counts, accuracy with its interval, picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context

from quatgrad.errors import DataError, OptionError
from quatgrad.lth.results.drawing import Percent, set_title
from quatgrad.network import Network
from quatgrad.task import Task

AT_ONCE = 1024  # images
MOST_NAMED = 40  # classes whose names fit beside a picture


@dataclass(frozen=True)
class Confusion:
    """`counts[i, j]`: how many `what` of class i were taken for class j; int64 (K, K)."""

    counts: np.ndarray
    classes: tuple[str, ...]
    what: str = Task.what

    @property
    def accuracy(self) -> float:
        """The share that was right."""
        return float(np.trace(self.counts) / self.counts.sum())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % of it: Wilson's score interval (1927)."""
        from scipy import stats  # here: it takes half a second, and few commands need it

        right, n = int(np.trace(self.counts)), int(self.counts.sum())
        found = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "images": int(self.counts.sum()),
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
        }

    def text(self) -> str:
        """Accuracy, and the worst mistakes."""
        low, high = self.interval
        lines = [
            f"{self.accuracy:.2%} of {self.counts.sum():,} {self.what} are right "
            f"(95 % interval {low:.2%} to {high:.2%})"
        ]
        wrong = self.counts - np.diag(np.diag(self.counts))
        for place in np.argsort(-wrong, axis=None, kind="stable")[:3]:
            i, j = np.unravel_index(place, wrong.shape)
            if wrong[i, j]:
                right, taken = self.classes[i], self.classes[j]
                of = f"{wrong[i, j]:,} of {self.counts[i].sum():,}"
                lines.append(f"  {of} {right!r} are taken for {taken!r}")
        return "\n".join(lines)

    @context("quatgrad.style")
    def figure(self, name: str = "") -> Figure:
        """The matrix in shades, each row by the size of its class; `name` begins its title."""
        K = len(self.classes)
        size = min(4 + 0.25 * K, 12)
        fig = Figure(figsize=(size + 1, size))
        ax = fig.add_subplot()
        share = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        shades = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        ax.grid(False)
        if K <= MOST_NAMED:
            ax.set_xticks(range(K), self.classes, rotation=90)
            ax.set_yticks(range(K), self.classes)
        for i, j in zip(*np.nonzero(self.counts), strict=True) if K <= 20 else ():
            colour = "white" if share[i, j] > 0.5 else "black"
            ax.text(j, i, self.counts[i, j], ha="center", va="center", color=colour, fontsize=8)
        ax.set_xlabel("taken for")
        ax.set_ylabel("class")
        low, high = (100 * share for share in self.interval)
        right = f"{100 * self.accuracy:.2f} % right"
        n = f"{self.counts.sum():,} {self.what}; 95 % interval: {low:.2f} % to {high:.2f} %"
        set_title(ax, f"{name}{right}", n)
        fig.colorbar(shades, ax=ax, label="share of the class", fraction=0.046, format=Percent())
        return fig


def confusion(net: Network, images: Any, labels: np.ndarray, names: Sequence[str]) -> Confusion:
    """The confusion matrix of a network on images uint8 (N, H, W, C) with `labels` of `names`.

    Classes are matched by name. Raises `DataError` where the network does not have them, or there
    are no images; `ShapeError` for images of another shape.
    """
    if not len(labels):
        raise DataError("there are no images to evaluate: give a dataset that has test images")
    unknown = [name for name in names if name not in net.classes]
    if unknown:
        raise DataError(
            f"the network does not know the class {unknown[0]!r}: its classes are "
            f"{', '.join(net.classes[:10])}{', ...' if len(net.classes) > 10 else ''}; "
            "name the classes as they were in training"
        )
    if labels.dtype.kind not in "iu":
        raise OptionError(
            "the labels of these images are no classes, so none is taken for another: show has "
            "what their network is worth"
        )
    own = np.array([net.classes.index(name) for name in names])[labels]
    K = len(net.classes)
    counts = np.zeros((K, K), np.int64)
    for start in range(0, len(own), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(own)))
        taken = net.predict(images[rows]).argmax(axis=1)
        np.add.at(counts, (own[rows], taken), 1)
    return Confusion(counts, net.classes)
