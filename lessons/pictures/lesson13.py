"""The picture of lesson 13."""

from __future__ import annotations

import matplotlib.pyplot as plt

from pictures import line_with_range


def tickets(percent, accuracy, dense):
    """name -> test accuracies in % (seeds, levels), over the % of weights left; dotted: `dense`."""
    _, ax = plt.subplots()
    for (name, runs), marker in zip(accuracy.items(), "osd", strict=True):
        line_with_range(ax, percent, runs, name, marker)
    ax.axhline(dense, color="0.4", linestyle=":", label="dense")
    ax.set(xscale="log", xlabel="% of the weights left", ylabel="test accuracy, %", ylim=(0, 100))
    ax.set_xticks(percent, [f"{p:.3g}" for p in percent], minor=False)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(loc="lower left")
    ax.set_title(f"Fewer weights from left to right; mean and range of {len(runs)} seeds")
    plt.show()
