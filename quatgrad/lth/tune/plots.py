"""Pictures of a study: what k trials are worth, and accuracy against each option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from quatgrad.lth.results.drawing import CAPTION, Percent, legend_below, set_title, whole_numbers
from quatgrad.lth.results.plot import save, style
from quatgrad.lth.tune.space import Range, StudyFile


def write(
    directory: Path,
    file: StudyFile,
    found: Mapping[str, Any],
    table: Sequence[Mapping[str, Any]],
    about: str,
) -> None:
    """best.png and space.png in the directory; `about` says what was trained."""
    save(best(found, about), directory / "best.png")
    save(space(file, table, about), directory / "space.png")


@context("quatgrad.style")
def best(found: Mapping[str, Any], about: str) -> Figure:
    """The best so far of each network, dotted; of random trials, the expected best of k too."""
    fig = Figure(figsize=(6, 4))
    ax = fig.add_subplot()
    for network, of in found.items():
        k = range(1, of["trials"] + 1)
        look = {name: value for name, value in style(network).items() if name != "marker"}
        dotted = {"linestyle": ":"} if "best of k" in of else {}
        if dotted:
            ax.plot(k, of["best of k"], **look)
            look = {"color": look["color"]}
        ax.plot(k, of["best so far"], **look | dotted)
    whole_numbers(ax.xaxis)
    ax.set_xlabel("trials k")
    title = "best of k trials, expected (dotted: so far)" if dotted else "best of k trials so far"
    set_title(ax, title, about)
    _accuracy(ax)
    legend_below(fig, ax.lines)
    return fig


@context("quatgrad.style")
def space(file: StudyFile, table: Sequence[Mapping[str, Any]], about: str) -> Figure:
    """Every trial as a point, in a panel for each option."""
    columns = min(3, len(file.space))
    lines = -(-len(file.space) // columns)
    fig = Figure(figsize=(3.4 * columns, 3 * lines), layout="constrained")
    axes = [*fig.subplots(lines, columns, squeeze=False).flat]
    for ax, (name, values) in zip(axes, file.space.items(), strict=False):
        _panel(ax, name, values, table)
        _accuracy(ax)
    for ax in axes[len(file.space) :]:
        ax.set_axis_off()
    fig.suptitle(about, x=0.01, ha="left", fontsize=CAPTION + 1)
    legend_below(fig, fig.axes[0].lines)
    return fig


def _panel(
    ax: Axes, name: str, values: Range | tuple[Any, ...], table: Sequence[Mapping[str, Any]]
) -> None:
    networks = dict.fromkeys(row["network"] for row in table)
    for number, network in enumerate(networks):
        own = [row for row in table if row["network"] == network]
        look = style(network) | {"linestyle": "", "markersize": 4}
        accuracies = [row["validation_accuracy"] for row in own]
        if isinstance(values, Range):
            x = [row[name] for row in own]
        else:  # beside one another, where values are names
            shift = 0.2 * (number - (len(networks) - 1) / 2)
            x = [values.index(row[name]) + shift for row in own]
        ax.plot(x, accuracies, **look)
    if isinstance(values, tuple):
        ax.set_xticks(range(len(values)), [str(v) for v in values])
    elif values.log:
        ax.set_xscale("log")
    ax.set_xlabel(name)


def _accuracy(ax: Axes) -> None:
    ax.yaxis.set_major_formatter(Percent())
    ax.set_ylabel("validation accuracy")
