"""The picture of lesson 8."""

from __future__ import annotations

import matplotlib.pyplot as plt


def times_of_rungs(rungs, hatched):
    """name -> seconds, as bars; those with the word `hatched` in their name are so."""
    _, ax = plt.subplots(figsize=(7, 3.2))
    for n, (name, seconds) in enumerate(rungs.items()):
        look = ("C1", "//") if hatched in name else ("C0", "")
        ax.barh(name, 1e3 * seconds, color=look[0], hatch=look[1], edgecolor="white")
        text = f"{1e3 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
        ax.text(1.2e3 * seconds, n, text, va="center")
    ax.set(xscale="log", xlim=(300 * min(rungs.values()), 1e6))
    ax.set_xlabel("ms for the layer: times ten at each step")
    ax.set_title("many ways, one sum  (hatched: fewer multiplications)")
    ax.invert_yaxis()
    plt.show()
