"""What all pictures of runs share: percent, bands, titles that say what was run, legends."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

CAPTION = 8  # points; so many characters of it go into an inch
CHARACTERS = 18


def percent(x: float) -> str:
    """ "12.5 %": x percent, written as all pictures write it."""
    return f"{np.format_float_positional(float(f'{x:.6g}'), trim='-')} %"


class Percent(Formatter):
    """Ticks in percent, with as many decimals as they need to be told apart; `whole` is 100 %."""

    def __init__(self, whole: float = 1):
        self.whole = whole

    def __call__(self, x: float, pos: int | None = None) -> str:
        """One tick, written with the decimals of all."""
        ticks = self.axis.get_ticklocs() if isinstance(self.axis, Axis) else [x]
        values = [100 * float(t) / self.whole for t in (*ticks, x)]
        near = 1e-3 * max(np.ptp(ticks), 1e-12) * 100 / self.whole
        decimals = 0
        while decimals < 9 and any(abs(round(v, decimals) - v) > near for v in values):
            decimals += 1
        return f"{values[-1]:.{decimals}f} %"


def log_axis(
    ax: Axes,
    wide: float = math.inf,
    coarse: Sequence[int] = (1,),
    text: Callable[[float], str] = percent,
) -> None:
    """What is left of a network, fewer to the right; ticks at 1, 2, 5, 10, ..., written by `text`.

    Where the axis spans more than a factor of `wide`, its ticks are at `coarse` x 1, 10, ...
    """
    ax.set_xscale("log")
    left, right = sorted(ax.get_xlim(), reverse=True)
    if left < 3 * right:  # a single level, perhaps: two ticks at least
        middle = math.sqrt(left * right)
        left, right = 2.2 * middle, middle / 2.2
        ax.set_xlim(left, right)
    ax.xaxis.set_inverted(True)  # of shared axes too, however often
    ax.xaxis.set_major_locator(LogLocator(subs=coarse if left > wide * right else (1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: text(x)))


def whole_numbers(axis: Axis) -> None:
    """Levels, epochs and trials are whole numbers: so are their ticks."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def band(
    ax: Axes,
    x: Sequence[float],
    y: Sequence[float],
    half: Sequence[float | None],
    color: str,
    whole: float = 1,
    lowest: float = 0,
) -> None:
    """y +- half as a band; no accuracy is below 0 or above `whole`, no difference below -1."""
    width = np.array([h or 0.0 for h in half])
    low, high = (np.clip(np.array(y) + sign * width, lowest, whole) for sign in (-1, 1))
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def draw_reference(ax: Axes, y: float, text: str, end: str = "right") -> None:
    """A dotted line across the picture, with a word at its right end, or left."""
    ax.axhline(y, color="0.6", linewidth=0.8, linestyle=":")
    look: dict[str, Any] = {"ha": end, "color": "0.4", "fontsize": CAPTION}
    x, shift = {"right": (1, -4), "left": (0, 4)}[end]
    where = (x, y), (shift, 3), ("axes fraction", "data"), "offset points"
    ax.annotate(text, *where, **look)


def set_title(ax: Axes, title: str, caption: str = "") -> None:
    """A title, and in small letters below it what was run."""
    width = ax.get_window_extent().width / ax.figure.dpi
    lines = textwrap.wrap(caption, max(int(CHARACTERS * width), 30))
    ax.set_title(title, pad=6 + 1.3 * CAPTION * len(lines))
    if lines:
        look: dict[str, Any] = {"fontsize": CAPTION, "color": "0.35", "va": "bottom"}
        ax.annotate("\n".join(lines), (0, 1), (0, 4), "axes fraction", "offset points", **look)


def legend_below(
    fig: Figure, handles: Iterable[Artist], title: str | None = None, columns: int = 3
) -> None:
    """The legend below the axes, where no curve is; the picture grows for it."""
    found = {str(h.get_label()): h for h in handles if not str(h.get_label()).startswith("_")}
    if not found:
        return
    columns = min(columns, len(found))
    lines = math.ceil(len(found) / columns) + (title is not None)
    fig.set_figheight(fig.get_figheight() + 0.2 * lines)
    fig.legend(
        handles=[*found.values()],
        loc="outside lower center",
        ncols=columns,
        fontsize=9,
        title=title,
        title_fontsize=9,
    )
