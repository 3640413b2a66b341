"""The picture of a comparison: accuracy against weights remaining."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from matplotlib.figure import Figure
from matplotlib.style import context
from PIL import Image

from quatgrad.errors import OptionError
from quatgrad.lth.results.compare import Curves, full_size, whole
from quatgrad.lth.results.drawing import (
    Percent,
    band,
    draw_reference,
    legend_below,
    log_axis,
    set_title,
)
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
def figure(
    runs: Curves, title: str, chance: float, caption: str = "", score: str = "accuracy"
) -> Figure:
    """Accuracy against weights left, in % of the dense real network, fewer to the right.

    `caption` says what was run, in small letters, `score` what the score is called: `Run.picture`.
    """
    full = full_size(runs)
    fig = Figure(figsize=(7, 4.4))
    ax = fig.add_subplot()
    for name, levels in runs.items():
        x, y = [100 * level.weights_left / full for level in levels], [r.accuracy for r in levels]
        ax.plot(x, y, **style(name))
        band(ax, x, y, [level.interval for level in levels], style(name)["color"])
    draw_reference(ax, chance, "chance", "left")  # the curves fall to the right
    log_axis(ax)
    ax.yaxis.set_major_formatter(Percent())
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"weights remaining, in % of the dense {whole(runs)} network")
    ax.set_ylabel(f"test {score}")
    set_title(ax, title, caption)
    legend_below(fig, ax.lines)
    return fig


def save(fig: Figure, path: Path) -> None:
    """Write a figure as .png or .svg, whole or not at all; equal figures give equal files."""
    write_file(path, render(fig, path))


def check_path(path: Path) -> None:
    """Raise `OptionError` if no picture can be written there: before what takes time."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise OptionError(f"a picture is written as .png or .svg; got {path.name!r}")


def render(fig: Figure, path: Path) -> bytes:
    """What `save` writes to a path."""
    check_path(path)
    kind = path.suffix.lower()
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == ".svg" else {"Software": None}
    with context("quatgrad.style"):
        fig.savefig(buffer, format=kind[1:], metadata=metadata)
    return buffer.getvalue() if kind == ".svg" else _with_palette(buffer)


def _with_palette(png: BinaryIO) -> bytes:
    """The picture in 256 colours: a third of the bytes."""
    buffer = io.BytesIO()
    with Image.open(png) as picture:
        colours = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colours.save(buffer, "PNG", optimize=True, dpi=picture.info["dpi"])
    return buffer.getvalue()
