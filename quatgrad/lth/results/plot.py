"""The picture of a comparison: accuracy against weights remaining."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from quatgrad.errors import OptionError
from quatgrad.lth.results.compare import Curves, full_size
from quatgrad.lth.store.files import write_file

#: The first colours of the package's style; a shape each, for grey print.
STYLE: dict[str, dict[str, Any]] = {
    "real": {"color": "#0072B2", "marker": "o", "label": "real"},
    "quaternion": {"color": "#D55E00", "marker": "s", "label": "quaternion"},
    "half": {"color": "#009E73", "marker": "^", "label": "real, half width"},
    "equal": {"color": "#CC79A7", "marker": "d", "label": "real, equal weights"},
}

#: Sham algebras, which are controls of whole networks.
SHAM_STYLE: dict[str, dict[str, Any]] = {
    "plus": {"color": "#CC79A7", "marker": "v", "label": "all plus"},
    "randomsigns": {"color": "#E69F00", "marker": "D", "label": "random signs"},
    "grouped": {"color": "#56B4E9", "marker": "<", "label": "grouped, shuffled"},
    "matrices": {"color": "#000000", "marker": ">", "label": "2 x 2 matrices"},
    "phm": {"color": "#999999", "marker": "P", "label": "learned (PHM)"},
}

#: Controls are drawn in the colour of their network.
LINES: dict[str, Any] = {
    "reinitialised": "--",
    "shuffled": ":",
    "shuffled-whole": (0, (1, 3)),
    "signs": "-.",
    "transplanted": (0, (5, 1, 1, 1, 1, 1)),
}


def style(name: str) -> dict[str, Any]:
    """How the curve of a network is drawn, "real", or of its control, "real-shuffled"."""
    network, _, control = name.partition("-")
    own = (STYLE | SHAM_STYLE)[network]
    if not control:
        return own
    label = f"{own['label']}, {control}"
    return own | {"linestyle": LINES[control], "label": label, "markerfacecolor": "white"}


@context("quatgrad.style")
def figure(runs: Curves, title: str, chance: float) -> Figure:
    """Accuracy against weights left, in % of the dense real network, fewer to the right."""
    full = full_size(runs)
    fig = Figure(figsize=(7, 4.4))
    ax = fig.add_subplot()
    for name, levels in runs.items():
        x = [100 * level.weights_left / full for level in levels]
        ax.plot(x, [level.accuracy for level in levels], **style(name))
        low, high = (
            [level.accuracy + sign * (level.interval or 0) for level in levels] for sign in (-1, 1)
        )
        ax.fill_between(x, low, high, color=style(name)["color"], alpha=0.2, linewidth=0)
    draw_reference(ax, chance, "chance")
    log_axis(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("weights remaining, in % of the dense real network")
    ax.set_ylabel("test accuracy")
    ax.set_title(title)
    ax.legend(loc=(0.02, 0.2))
    return fig


def log_axis(
    ax: Axes,
    wide: float = math.inf,
    coarse: Sequence[int] = (1,),
    text: Callable[[float], str] = "{:g} %".format,
) -> None:
    """What is left of a network, fewer to the right; ticks at 1, 2, 5, 10, ..., written by `text`.

    Where the axis spans more than a factor of `wide`, its ticks are at `coarse` x 1, 10, ...
    """
    ax.set_xscale("log")
    ax.xaxis.set_inverted(True)  # of shared axes too, however often
    left, right = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=coarse if left > wide * right else (1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: text(x)))


def draw_reference(ax: Axes, y: float, text: str) -> None:
    """A dotted line across the picture, with a word at its right end."""
    ax.axhline(y, color="0.6", linewidth=0.8, linestyle=":")
    look: dict[str, Any] = {"ha": "right", "color": "0.4", "fontsize": 8}
    where = (1, y), (-4, 3), ("axes fraction", "data"), "offset points"
    ax.annotate(text, *where, **look)


def save(fig: Figure, path: Path) -> None:
    """Write a figure as .png or .svg, whole or not at all; equal figures give equal files."""
    write_file(path, render(fig, path))


def render(fig: Figure, path: Path) -> bytes:
    """What `save` writes to a path."""
    kind = path.suffix.lower()
    if kind not in (".png", ".svg"):
        raise OptionError(f"a picture is written as .png or .svg; got {path.name!r}")
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == ".svg" else {"Software": None}
    with context("quatgrad.style"):
        fig.savefig(buffer, format=kind[1:], metadata=metadata)
    return buffer.getvalue()
