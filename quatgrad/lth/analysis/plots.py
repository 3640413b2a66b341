"""Pictures of an analysis. Fewer weights are to the right, in % of each network's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter

from quatgrad.lth.analysis.connectivity import Line
from quatgrad.lth.results.drawing import (
    Percent,
    band,
    draw_reference,
    legend_below,
    log_axis,
    percent,
    set_title,
    whole_numbers,
)
from quatgrad.lth.results.plot import style
from quatgrad.lth.store.records import Record

Levels = Sequence[Mapping[str, Any]]


@context("quatgrad.style")
def densities(name: str, levels: Levels, caption: str = "") -> Figure:
    """The share alive of every weight at every level; and the components' shares of all that is."""
    names = list(levels[0]["densities"])
    share = np.array([[np.mean(level["densities"][n]) for level in levels] for n in names])
    wide = any(len(d) > 1 for d in levels[-1]["densities"].values())
    fig = Figure(figsize=(9.5 if wide else 6, 1.6 + 0.2 * len(names)))
    left, *others = fig.subplots(1, 1 + wide, squeeze=False, width_ratios=[3, 2][: 1 + wide])[0]
    floor = min(share[share > 0].min(initial=1), 0.999)
    colours = left.imshow(
        np.ma.masked_equal(share, 0), aspect="auto", norm=LogNorm(floor, 1), interpolation="none"
    )
    left.set_facecolor("black")  # where nothing is left
    left.set_yticks(range(len(names)), [n.removesuffix(".weight") for n in names], fontsize=8)
    left.set_xlabel("level")
    whole_numbers(left.xaxis)
    set_title(left, f"{name}: share of each weight alive (black: none)", caption)
    left.grid(visible=False)
    shares = FuncFormatter(lambda x, _: percent(100 * x))
    bar = fig.colorbar(colours, ax=left, format=shares, label="alive")
    bar.minorticks_off()
    if wide:
        _components(others[0], levels)
        legend_below(fig, others[0].lines, "right: components", columns=4)
    return fig


def _components(ax: Axes, levels: Levels) -> None:
    """Which share of the quaternion weights alive are real parts, i, j and k."""
    counts = np.array([level["components"] for level in levels], np.float64)
    x = [100 * level["density"] for level in levels]
    for a, (component, mark) in enumerate(zip("1ijk", "os^D", strict=True)):
        ax.plot(x, counts[:, a] / counts.sum(axis=1).clip(1), marker=mark, label=component)
    ax.axhline(0.25, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_ylim(0, max(0.5, ax.get_ylim()[1]))
    _log_percent(ax)
    ax.yaxis.set_major_formatter(Percent())
    ax.set_title("components, of those alive")


@context("quatgrad.style")
def quaternions(name: str, levels: Levels, caption: str = "") -> Figure:
    """How many components of a quaternion are alive against chance, and whether together."""
    fig = Figure(figsize=(9.5, 3.6))
    left, right = fig.subplots(1, 2, width_ratios=[3, 2])
    x = [100 * level["density"] for level in levels]
    colours = ["0.55", "#56B4E9", "#009E73", "#E69F00", "#D55E00"]
    found, chance = (
        np.array([level["quaternions"][which] for level in levels]) for which in ("found", "chance")
    )
    for k, colour in enumerate(colours):
        left.plot(x, found[:, k] / found.sum(axis=1), "o-", color=colour, label=f"{k} alive")
    expected = left.plot(
        x, chance / chance.sum(axis=1, keepdims=True), ":", color="black", linewidth=1.2, zorder=3
    )
    expected[0].set_label("by chance")
    title = f"{name}: components of a quaternion that are alive"
    _describe(left, title, "share of the quaternions", caption)
    together = [
        (100 * level["density"], level["togetherness"])
        for level in levels
        if level["togetherness"] is not None
    ]
    right.plot(*zip(*together, strict=True), "o-", color=style(name)["color"])
    draw_reference(right, 1, "by chance")
    draw_reference(right, 4, "whole quaternions")
    right.set_ylim(0, 4.4)
    right.set_title("togetherness")
    for ax in (left, right):
        _log_percent(ax)
    legend_below(fig, left.lines)
    return fig


@context("quatgrad.style")
def effective(levels: Mapping[str, Levels], caption: str = "") -> Figure:
    """The share of the weights alive that compute anything."""
    fig = Figure()
    ax = fig.add_subplot()
    for name, members in levels.items():
        if known := [m for m in members if m["effective"] is not None]:
            x = [100 * m["density"] for m in known]
            ax.plot(x, [m["effective"] / m["weights_left"] for m in known], **style(name))
    _log_percent(ax)
    ax.set_ylim(-0.03, 1.05)
    title = "Weights alive that lie on a path from a pixel to a class"
    _describe(ax, title, "of these, on a path", caption)
    legend_below(fig, ax.lines)
    return fig


@context("quatgrad.style")
def overlaps(
    found: Mapping[str, Levels], levels: Mapping[str, Levels], caption: str = ""
) -> Figure:
    """Overlap beyond chance, level by level."""
    fig = Figure()
    ax = fig.add_subplot()
    for name, rows in found.items():
        across = name not in levels
        density = [level["density"] for level in levels["real" if across else name]]
        spots = [
            (100 * density[r["level"]], r["corrected"])
            for r in rows
            if r["corrected"] is not None and r["level"] < len(density)
        ]
        look = {"color": "0.3", "marker": "D", "label": name} if across else style(name)
        if not across:
            look = look | {"label": f"{look['label']}, of two seeds"}
        if spots:
            ax.plot(*zip(*spots, strict=True), **look)
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.05), max(high, 0.1))
    _log_percent(ax)
    ax.set_ylabel("overlap: 0 by chance, 1 equal")
    set_title(ax, "What two tickets share beyond chance", caption)
    legend_below(fig, ax.lines, columns=2)
    return fig


@context("quatgrad.style")
def matching(
    curves: Mapping[str, Any],
    accuracies: Mapping[str, Sequence[Sequence[Record]]],
    caption: str = "",
) -> Figure:
    """Accuracy less that of the dense network; a star at the sparsest level that matches it.

    `accuracies` are the records of each network in each trial.
    """
    fig = Figure()
    ax = fig.add_subplot()
    for name, trials in accuracies.items():
        curve, full = curves[name], trials[0][0].weights_total
        x = [100 * m["weights_left"] / full for m in curve["matching"]]
        y = [m["difference"] for m in curve["matching"]]
        look = style(name)
        if curve["area"] is not None:
            look = look | {"label": f"{look['label']}, mean {100 * curve['area']:.1f} %"}
        ax.plot(x, y, **look)
        half = [m["interval"] for m in curve["matching"]]
        band(ax, x, y, half, look["color"], lowest=-1)
        best = curve["sparsest"]
        at = 100 * best["weights_left"] / full, best["difference"]
        ax.plot(*at, "*", markersize=15, color=look["color"], markeredgecolor="white")
    tolerance = next(iter(curves.values()))["tolerance"]
    ax.axhline(-tolerance, color="0.6", linewidth=0.8, linestyle=":")
    gaps = [m["difference"] for curve in curves.values() for m in curve["matching"]]
    ax.set_ylim(min(gaps) - 0.05, max(gaps) + 0.05)  # the interval of two trials reaches far beyond
    _log_percent(ax)
    text = f"Star: the sparsest level no more than {percent(100 * tolerance)} below the dense one"
    _describe(ax, text, "accuracy - dense accuracy", caption)
    legend_below(fig, ax.lines, "mean accuracy over log(weights)", columns=2)
    return fig


@context("quatgrad.style")
def line(lines: Mapping[str, Line], caption: str = "") -> Figure:
    """Errors along lines between two networks, by name."""
    fig = Figure()
    ax = fig.add_subplot()
    for name, found in lines.items():
        label = f"{name}: barrier {100 * found.barrier:.1f} %"
        ax.plot(found.shares, found.errors, "o-", label=label)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("share of the second network")
    title = "Between two trainings that differ in the order of the data"
    _describe(ax, title, "test error", caption)
    legend_below(fig, ax.lines, columns=2)
    return fig


def _describe(ax: Axes, text: str, ylabel: str, caption: str) -> None:
    """Title with what was run, and a vertical axis in %."""
    ax.yaxis.set_major_formatter(Percent())
    ax.set_ylabel(ylabel)
    set_title(ax, text, caption)


def _log_percent(ax: Axes) -> None:
    """The axis of weights remaining."""
    log_axis(ax, 300)
    ax.set_xlabel("weights remaining")
