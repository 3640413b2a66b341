"""The pictures of lesson 4."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from pictures import MIDDLE, square


def products_of_units(H):
    """The table H[a, b, c] as a square for each pair of units, coloured by the unit they give."""
    _, ax = plt.subplots(figsize=(3.4, 3.4))
    colours = ["#dddddd", "#0072B2", "#D55E00", "#009E73"]
    for a, b, c in np.argwhere(H):
        text = ("−" if H[a, b, c] < 0 else "") + "1ijk"[c]
        square(ax, b, a, text, colours[c], color="black" if c == 0 else "white", fontsize=15)
    ax.set(xlim=(0, 4), ylim=(4, 0), xlabel="right factor", ylabel="left factor", aspect="equal")
    ax.set_xticks(np.arange(4) + 0.5, "1ijk")
    ax.set_yticks(np.arange(4) + 0.5, "1ijk")
    ax.set_title("left × right")
    ax.grid(False)
    plt.show()


def letters_in_space(start, turned, axis=None):
    """title -> points (n, 3): a letter now, and dotted where it began; `axis` is dashed."""
    fig = plt.figure(figsize=(7.5, 2.9) if len(turned) > 1 else (3.6, 3.2))
    for n, (title, points) in enumerate(turned.items(), 1):
        ax = fig.add_subplot(1, len(turned), n, projection="3d")
        if axis is not None:
            unit = axis / np.linalg.norm(axis)
            ax.plot(*np.outer(unit, [-0.9, 1.7]), color="0.3", linestyle="--")
        ax.add_collection3d(Poly3DCollection([start], facecolor="none", edgecolor="0.6", ls=":"))
        colours = ("#0072B2", "#D55E00", "#009E73")
        for unit, name, colour in zip(np.eye(3), "xyz", colours, strict=True):
            ax.plot(*np.outer(unit, [0, 1.2]), color=colour, linewidth=1)
            ax.text(*(1.32 * unit), name, color=colour, **MIDDLE)
        ax.add_collection3d(Poly3DCollection([points], facecolor="#E69F00", edgecolor="black"))
        ax.set(xlim=(-0.8, 1.2), ylim=(-0.8, 1.2), zlim=(-0.8, 1.2), title=title)
        ax.view_init(25, 22)
        ax.set_box_aspect((1, 1, 1), zoom=1.2)
        ax.set_axis_off()
    plt.show()
