"""The pictures of tasks beyond images: one of each, and one of all; of tickets at equal costs."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from beyond_record import VARIANTS, Trials, about_task, on_record, read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from quatgrad.lth.results import compare, plot
from quatgrad.lth.results.drawing import (
    Percent,
    band,
    draw_reference,
    legend_below,
    log_axis,
    set_title,
)
from quatgrad.lth.results.run import seeds
from quatgrad.paper.figures import count

NEAR = 0.1  # a guess is drawn where it is at most so far below a curve
#: What a ticket has less of, as in `Level`, and in words.
SIZES = {"weights_left": "weights", "multiply_adds": "multiply-adds", "bytes": "bytes"}
VARIANT_STYLE = {"color": "#E69F00", "marker": "v", "label": "quaternions in Q, K, V"}


def draw(out: Path) -> None:
    """All pictures of a folder."""
    tasks = on_record(out)
    for name in tasks:
        draw_task(out / name)
    if tasks:
        draw_all(out, tasks)


def levels(trials: Trials) -> compare.Curves:
    """The mean curves, in the order of pictures."""
    means = compare.mean(trials)
    return {name: means[name] for name in plot.STYLE | plot.SHAM_STYLE if name in means}


def draw_task(folder: Path) -> None:
    """accuracy.png of a task."""
    about, curves = json.loads((folder / "record.json").read_text()), levels(read(folder))
    caption = f"{about['setting']}; {seeds(curves)}"
    title, score = f"{about['task']}: lottery tickets", about.get("score", "accuracy")
    picture = plot.figure(curves, title, about["chance"], caption, score)
    plot.save(picture, folder / "accuracy.png")


@context("quatgrad.style")
def draw_all(out: Path, tasks: dict[str, Trials]) -> None:
    """scores.png: a panel for each task."""
    shown = [t for t in tasks if VARIANTS.get(t) not in tasks]
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    fig = Figure(figsize=(max(4 * columns, 6), 3 * rows + 0.6))
    grid = fig.subplots(rows, columns, squeeze=False)
    for ax, task in zip(grid.flat, shown, strict=False):
        chance = json.loads((out / task / "record.json").read_text())["chance"]
        variants = [tasks[t] for t, base in VARIANTS.items() if base == task and t in tasks]
        panel(ax, task, tasks[task], variants, chance)
    for ax in grid.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in grid.flat[len(shown) - columns : len(shown)]:
        ax.set_xlabel("weights remaining")
    handles = {x.get_label(): x for ax in grid.flat for x in ax.lines}
    legend_below(fig, handles.values(), "bands: 95 % interval of the mean over seeds", 4)
    plot.save(fig, out / "scores.png")


def panel(ax: Axes, task: str, trials: Trials, variants: Sequence[Trials], chance: float) -> None:
    """Score against weights, fewer to the right."""
    curves = [(levels, plot.STYLE[name]) for name, levels in levels(trials).items()]
    curves += [(compare.mean(v)["quaternion"], VARIANT_STYLE) for v in variants]
    for members, style in curves:
        x, y = ([getattr(m, k) for m in members] for k in ("weights_left", "accuracy"))
        ax.plot(x, y, markersize=4, **style)
        band(ax, x, y, [m.interval for m in members], style["color"])
    low, high = (f(m.accuracy for members, _ in curves for m in members) for f in (min, max))
    if chance > low - NEAR:
        draw_reference(ax, chance, "chance", "left")
        low = min(low, chance)
    margin = 0.06 * (high - low) + 0.005
    ax.set_ylim(max(low - margin, 0), high + margin)
    log_axis(ax, 30, (1, 3), count)
    ax.yaxis.set_major_formatter(Percent())
    ax.tick_params(labelsize=8)
    about = about_task(task)
    set_title(ax, about.title, f"{about.score}, {len(trials)} seed{'s' * (len(trials) > 1)}")


@context("quatgrad.style")
def against_costs(trials: Trials, title: str, chance: float, caption: str) -> Figure:
    """Accuracy of the same tickets against each of `SIZES`, less to the right."""
    fig = Figure(figsize=(11, 3.9))
    axes = fig.subplots(1, len(SIZES), sharey=True)
    for ax, (key, words) in zip(axes, SIZES.items(), strict=True):
        for name, members in levels(trials).items():
            x = [
                statistics.fmean(getattr(of[name][n], key) for of in trials)
                for n in range(len(members))
            ]
            y, look = [level.accuracy for level in members], plot.style(name)
            ax.plot(x, y, **look)
            band(ax, x, y, [level.interval for level in members], look["color"])
        draw_reference(ax, chance, "chance", "left")
        log_axis(ax, 30, (1, 3), count)
        ax.set_xlabel(words)
    axes[0].yaxis.set_major_formatter(Percent())
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("test accuracy")
    set_title(axes[0], title)
    legend_below(fig, axes[0].lines, caption, 4)
    return fig
