"""How the pictures of the lessons are drawn: a lesson computes numbers, a function here shows them.

`curves` and `panels` draw lines by name. What else a lesson shows has a function in its own file.
"""

from __future__ import annotations

import matplotlib.pyplot as plt

MIDDLE = {"ha": "center", "va": "center"}


def curves(named, x=None, styles=("-",), words=None, levels=(), legend="best", **axes):
    """Lines by name over x, or over 0, 1, 2, ...

    styles  of one line after the other, as of `Axes.plot`
    words   text -> where it stands: (x, y), or (x, y, colour)
    levels  y, each a dotted line across
    legend  where it stands; "right" is beside the picture
    axes    what `Axes.set` takes
    """
    beside = legend == "right"
    _, ax = plt.subplots(figsize=(7.5, 3.4) if beside else (6, 3.4))
    for n, (name, y) in enumerate(named.items()):
        fine = {"linewidth": 1.4, "markersize": 3} if len(y) > 40 else {}
        ax.plot(range(len(y)) if x is None else x, y, styles[n % len(styles)], label=name, **fine)
    for text, (right, up, *colour) in (words or {}).items():
        ax.text(right, up, text, color=colour[0] if colour else "0.35")
    for y in levels:
        ax.axhline(y, color="0.5", linewidth=1, linestyle=":")
    ax.set(**axes)
    if beside:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        ax.legend(loc=legend)
    plt.show()


def panels(named, ylabel="", size=(7.5, 3.2), look=None, **axes):
    """Title -> lines by name: a panel for each title, all with one y axis."""
    _, row = plt.subplots(1, len(named), figsize=size, sharey=True)
    for ax, (title, lines) in zip(row, named.items(), strict=True):
        for name, y in lines.items():
            ax.plot(y, label=name, **(look or {}))
        ax.set(**axes)
        ax.set_title(title, fontsize=9 if len(named) > 2 else 11)
        if len(lines) > 1:
            ax.legend(loc="lower left")
    row[0].set_ylabel(ylabel)
    plt.show()


def square(ax, column, row, text, colour, **look):
    """A coloured square with a text in it."""
    ax.add_patch(plt.Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white"))
    ax.text(column + 0.5, row + 0.5, text, **MIDDLE, **look)


def line_with_range(ax, x, runs, name, marker):
    """The mean of runs (seeds, levels) over x, and their range as a band."""
    (line,) = ax.plot(x, runs.mean(axis=0), marker=marker, label=name)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), alpha=0.2, color=line.get_color())
