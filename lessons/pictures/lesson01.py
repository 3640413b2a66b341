"""The picture of lesson 1."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from pictures import MIDDLE


def two_arrows(nodes, links):
    """name -> (x, y, value, slope), and (from, to, local slope): each link is drawn twice."""
    _, ax = plt.subplots(figsize=(7.4, 3.4))
    for low, high, local in links:
        start, end = np.array(nodes[low][:2]), np.array(nodes[high][:2])
        side = np.array([start[1] - end[1], end[0] - start[0]]) / np.hypot(*(end - start)) * 0.1
        for tail, tip, colour, shift in ((start, end, "C0", side), (end, start, "C1", -side)):
            look = {"arrowstyle": "->", "color": colour, "linewidth": 1.6}
            look |= {"shrinkA": 26, "shrinkB": 26}
            ax.annotate("", tip + shift, tail + shift, arrowprops=look)
        ax.text(*((start + end) / 2 - 3.4 * side), local, color="C1", **MIDDLE)
    for name, (x, y, value, slope) in nodes.items():
        ax.text(x, y, name, bbox={"boxstyle": "round", "facecolor": "white"}, **MIDDLE)
        ax.text(x, y + 0.35, value, ha="center", color="C0", weight="bold")
        ax.text(x, y - 0.52, slope, ha="center", color="C1", weight="bold")
    ax.set(xlim=(-0.5, 7.3), ylim=(-1.7, 2.6))
    ax.set_title("blue: values; orange: slopes, on the way back")
    ax.set_axis_off()
    plt.show()
