"""Pictures: the papers' (accuracy against weights remaining), and the comparison beyond them.

Published points are thin and light, ours bold with 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context

from quatgrad.lth.results.drawing import CAPTION, Percent, band, draw_reference, log_axis, percent
from quatgrad.lth.results.plot import STYLE
from quatgrad.paper.curves import Curve
from quatgrad.paper.published import CHANCE

#: What accuracy is drawn against: an attribute of Point, and its meaning.
AXES = {
    "x": "weights remaining, in % of the dense real network",
    "weights": "weights remaining",
    "parameters": "parameters, with batch norm and biases",
    "multiply_adds": "multiply-adds for one image",
    "bytes": "bytes stored",
}
BEYOND = ("weights", "parameters", "multiply_adds", "bytes")

NAMES = {"digits": "digits", "mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
NAMES["imagenet64"] = "ImageNet64"


@context("quatgrad.style")
def figure(curves: Sequence[Curve], axis: str = "x") -> Figure:
    """One panel for each network and dataset: accuracy against what is left, less to the right."""
    panels: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.key[:2], []).append(curve)
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    fig = Figure(figsize=(7, 4.8) if len(panels) == 1 else (4 * columns, 3.2 * rows + 0.6))
    one_dataset = len({dataset for dataset, _ in panels}) == 1
    grid = fig.subplots(rows, columns, squeeze=False, sharex=one_dataset, sharey=True)
    for ax, members in zip(grid.flat, panels.values(), strict=False):
        _panel(ax, members, axis)
        ax.set_title(_title(members), fontsize=11 if len(panels) == 1 else 10)
        ax.tick_params(labelbottom=True)
    for ax in grid.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in grid.flat[len(panels) - columns : len(panels)]:  # the lowest of each column
        ax.set_xlabel(AXES[axis], fontsize=9)
    return _finished(fig, grid, curves)


@context("quatgrad.style")
def beyond(curves: Sequence[Curve]) -> Figure:
    """One network at equal weights, parameters, multiply-adds and bytes: four panels."""
    fig = Figure(figsize=(8, 6.6))
    grid = fig.subplots(2, 2, sharey=True)
    for ax, axis in zip(grid.flat, BEYOND, strict=True):
        _panel(ax, [c for c in curves if getattr(c.dense, axis) is not None], axis)
        ax.set_xlabel(AXES[axis])
    fig.suptitle(_title(curves), fontsize=11)
    return _finished(fig, grid, curves)


def _title(curves: Sequence[Curve]) -> str:
    """ "ResNet-18, CIFAR-100", and below it what differs in ours from the published training."""
    model = curves[0].model
    for name, printed in (("resnet", "ResNet-"), ("lenet", "LeNet"), ("conv", "Conv")):
        model = model.replace(name, printed)
    model = model.replace("-early-stopping", ", early stopping")
    notes = {("made images; " if c.synthetic else "") + c.scaled for c in curves} - {""}
    return f"{model}, {NAMES[curves[0].dataset]}" + "".join(f"\nours: {n}" for n in sorted(notes))


def _finished(fig: Figure, grid: Any, curves: Sequence[Curve]) -> Figure:
    """The figure with its axis of accuracies and its legend."""
    for ax in grid[:, 0]:
        ax.set_ylabel("test accuracy")
    # All points are inside; the interval of two trials may reach far beyond.
    grid[0, 0].set_ylim(0, 1.08 * max(p.accuracy for c in curves for p in c.points))
    _legend(fig, curves)
    return fig


def _about(curves: Sequence[Curve]) -> str:
    """Below the panels: how large our training was, how many trials there are, what bands are."""
    lines = []
    for source in ("ours", "published"):
        members = [c for c in curves if c.source == source]
        counts = sorted({p.trials for c in members for p in c.points})
        if not members:
            continue
        trials = " to ".join(map(str, counts[:: max(len(counts) - 1, 1)]))
        settings = {c.setting for c in members} - {""}
        words = [*settings] if len(settings) == 1 else []
        words.append(f"mean of {trials} trials" if counts != [1] else "1 trial")
        if source == "ours" and any(p.half_width is not None for c in members for p in c.points):
            words.append("bands: 95 % interval of the mean")
        lines.append(f"{source}: {', '.join(words)}")
    return "\n".join(lines)


def _panel(ax: Axes, curves: Sequence[Curve], axis: str) -> None:
    for curve in sorted(curves, key=lambda c: c.source == "ours"):
        _draw(ax, curve, axis)
    for chance in {_chance(c) for c in curves}:
        draw_reference(ax, chance, "chance", "left")
    log_axis(ax, 30, (1, 3), percent if axis == "x" else count)
    ax.yaxis.set_major_formatter(Percent(100))
    ax.tick_params(labelsize=8)


def _draw(ax: Axes, curve: Curve, axis: str) -> None:
    x = [getattr(p, axis) for p in curve.points]
    y = [p.accuracy for p in curve.points]
    look: dict[str, Any] = {k: v for k, v in STYLE[curve.algebra].items() if k != "label"}
    if curve.source == "published":
        ax.plot(x, y, linewidth=0.9, markersize=3, alpha=0.6, markerfacecolor="white", **look)
        return
    ax.plot(x, y, linewidth=2, markersize=4.5, **look)
    band(ax, x, y, [p.half_width for p in curve.points], look["color"], whole=100)


def _chance(curve: Curve) -> float:
    """% that a guess gets right."""
    return CHANCE[curve.dataset] if curve.chance is None else curve.chance


def _legend(fig: Figure, curves: Sequence[Curve]) -> None:
    """Below the panels: a column for each network, ours above published."""
    handles = {}
    for curve in curves:
        look = dict(STYLE[curve.algebra])
        label = f"{look.pop('label')}, {curve.source}"
        faint = {"linewidth": 0.9, "alpha": 0.6, "markerfacecolor": "white"}
        published = curve.source == "published"
        place = list(STYLE).index(curve.algebra), published
        handles[place] = Line2D([], [], label=label, **(look | (faint if published else {})))
    fig.legend(
        handles=[handles[place] for place in sorted(handles)],
        loc="outside lower center",
        title=_about(curves),
        title_fontsize=CAPTION,
        ncols=len({network for network, _ in handles}),
        fontsize=9,
    )


def count(n: float) -> str:
    """ "10 k", "2 M" """
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if n >= size:
            return f"{n / size:g}{unit}"
    return f"{n:g}"
