"""The pictures of lesson 15."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np


def vectors(alive, needed, counts):
    """A mask (P, Q) and which of its vectors are needed; counts: name -> instructions, as bars."""
    lanes = alive.shape[1] // needed.shape[1]
    _, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.6), width_ratios=[3, 2])
    left.imshow(alive + 0.3 * np.repeat(needed, lanes, axis=1), cmap="cividis", aspect="auto")
    left.set(title="5 % are left; lighter: vectors with one", xlabel="output", ylabel="input")
    left.set_xticks(range(0, alive.shape[1] + 1, lanes))
    left.grid(visible=False)
    bars = right.barh(list(counts), list(counts.values()), color=["C0", "C0", "C1"])
    right.bar_label(bars, padding=2)
    right.set(title="instructions for 16 pixels", xlim=(0, 1.27 * max(counts.values())))
    right.invert_yaxis()
    plt.show()


def sparse_and_dense(densities, sparse_ms, dense_ms):
    """name -> ms at each density, and ms of the dense layer (dotted), once for each algebra."""
    _, ax = plt.subplots(figsize=(7, 3.4))
    for k, (name, marker) in enumerate(zip(sparse_ms, "osd", strict=True)):
        ax.plot(100 * densities, sparse_ms[name], color=f"C{k}", marker=marker, label=name)
        if "whole" not in name:
            label = f"{name.split(',')[0]}, dense"
            ax.axhline(dense_ms[name], color=f"C{k}", linestyle=":", label=label)
    ax.set(xlabel="weights left, %", ylabel="ms", ylim=(0, 1.6 * max(dense_ms.values())))
    ax.set_title("one 3 x 3 convolution, 64 channels, 16 x 16 pixels")
    ax.legend(fontsize=8, loc="upper left")
    plt.show()
