"""The pictures of lesson 2."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from pictures import MIDDLE


def two_orders(plans):
    """title -> (the order of L, y, z, x; what each arrow carries), of y = x x, z = x y, L = y + z.

    The arrows are L to y, L to z, z to y, y to x, z to x; one that comes "late" is dashed.
    """
    spots = {"L": (0, 3), "z": (0.9, 2), "y": (0, 1), "x": (0, 0)}
    formulas = {"L": "y + z", "z": "x · y", "y": "x · x", "x": "2"}
    links = [("L", "y", (-0.1, 0)), ("L", "z", (0.1, 0)), ("z", "y", (-0.06, 0.12)),
             ("y", "x", (-0.1, 0)), ("z", "x", (0.15, 0))]  # fmt: skip
    _, axes = plt.subplots(1, 2, figsize=(7, 3.8))
    for ax, (title, (turn, shares)) in zip(axes, plans.items(), strict=True):
        for (top, low, shift), share in zip(links, shares, strict=True):
            colour, line = ("C1", "--") if "late" in share else ("C0", "-")
            look = {"arrowstyle": "->", "color": colour, "linewidth": 1.8, "linestyle": line}
            look |= {"shrinkA": 16, "shrinkB": 16}
            ax.annotate("", spots[low], spots[top], arrowprops=look)
            at = (np.array(spots[top]) + spots[low]) / 2 + shift
            ax.text(*at, share, color=colour, ha="right" if shift[0] < 0 else "left")
        for name, spot in spots.items():
            text = f"{turn.index(name) + 1}.  {name} = {formulas[name]}"
            ax.text(*spot, text, bbox={"boxstyle": "round", "facecolor": "white"}, **MIDDLE)
        ax.set(xlim=(-0.9, 1.5), ylim=(-0.3, 3.3), title=title)
        ax.set_axis_off()
    plt.show()


def visits(every_path, sweep):
    """Visits for 1, 2, 3, ... diamonds, of both ways; a thin line goes on where one cannot wait."""
    _, ax = plt.subplots(figsize=(5, 3.2))
    few, many = np.arange(1, len(every_path) + 1), np.arange(1, len(sweep) + 1)
    ax.semilogy(few, every_path, "o", label="every path")
    ax.semilogy(many, 2.0 ** (many + 1), color="C0", linewidth=0.8)
    ax.semilogy(many, sweep, "s", label="the sweep")
    ax.axhline(3.2e13, color="0.6", linewidth=0.8)
    ax.text(1, 5e13, "a year, at a million visits a second", color="0.4")
    ax.set(xlabel="diamonds", ylabel="visits", title="every path, or every node once")
    ax.legend(loc="center right")
    plt.show()
