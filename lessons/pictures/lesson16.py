"""The picture of lesson 16."""

from __future__ import annotations

import matplotlib.pyplot as plt


def who_looks_where(text, a):
    """The weights a (T, T) of attention: row i says where letter i of the text looks."""
    _, ax = plt.subplots(figsize=(5.2, 4.6))
    ax.imshow(a, cmap="cividis")
    ax.set_xticks(range(len(text)), text)
    ax.set_yticks(range(len(text)), text)
    ax.set(xlabel="is looked at", ylabel="looks", title="the last row: after the first c came an a")
    ax.grid(visible=False)
    plt.show()
