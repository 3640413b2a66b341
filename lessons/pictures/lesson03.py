"""The picture of lesson 3."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from pictures import square


def copied_and_added(b, g):
    """b (4,) under three rows of x, and the three rows of g = dL/dy (3, 4) added up to dL/db."""
    _, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
    _four_rows(left, b, np.tile(b, (3, 1)), "C0", ("b", "added\nto x"), down=True)
    _four_rows(right, g.sum(axis=0), g, "C1", ("dL/db", "g"), down=False)
    left.set_title("forwards: copied")
    right.set_title("backwards: added up")
    plt.show()


def _four_rows(ax, above, below, colour, names, down):
    """One row above three others, and arrows between them."""
    for height, row in zip((4.5, 2, 1, 0), (above, *below), strict=True):
        for column, value in enumerate(row):
            square(ax, column, height, f"{value:g}", (*to_rgb(colour), 0.3))
    tail, tip = (4.5, 3.0) if down else (3.0, 4.5)
    for column in range(4):
        x = column + 0.5
        ax.annotate("", (x, tip), (x, tail), arrowprops={"arrowstyle": "->"})
    for name, height in zip(names, (5, 1.5), strict=True):
        ax.text(-0.2, height, name, ha="right", va="center")
    ax.set(xlim=(-1.6, 4.2), ylim=(-0.1, 5.7))
    ax.set_axis_off()
