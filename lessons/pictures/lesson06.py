"""The picture of lesson 6."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from pictures import square


def real_and_quaternion_weight(H):
    """8 x 8 weights, with the name of a number in the place of each: all different, or copies."""
    _, (left, right) = plt.subplots(1, 2, figsize=(7.6, 4.0))
    colours = ["#dddddd", "#56B4E9", "#E69F00", "#009E73"]
    for row, column in np.ndindex(8, 8):
        name, ink = f"w{8 * row + column + 1}", "white" if row + column < 9 else "black"
        square(left, column, row, name, plt.cm.cividis((row + column) / 16), color=ink, fontsize=8)
        (b, p), (c, q) = divmod(row, 2), divmod(column, 2)
        a = int(np.flatnonzero(H[:, b, c])[0])
        name = f"{'−' if H[a, b, c] < 0 else ''}{'rijk'[a]}{2 * p + q + 1}"
        square(right, column, row, name, colours[a], fontsize=8)
    for ax, title in (left, "real: 64 numbers"), (right, "quaternion: 16 numbers"):
        for n in (2, 4, 6):
            ax.axhline(n, color="black", linewidth=1.2)
            ax.axvline(n, color="black", linewidth=1.2)
        ax.set(xlim=(0, 8), ylim=(8, 0), aspect="equal", title=title, xticks=[], yticks=[])
        ax.set(xlabel="outputs 1 | i | j | k", ylabel="inputs 1 | i | j | k")
    plt.show()
