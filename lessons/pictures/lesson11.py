"""The picture of lesson 11."""

from __future__ import annotations

import matplotlib.pyplot as plt


def memory(logs, turn):
    """name -> MB in use after each operation; backward begins at `turn`."""
    _, ax = plt.subplots()
    for (name, log), style in zip(logs.items(), ("-", "--", ":"), strict=True):
        ax.plot(log, style, label=name)
    ax.axvline(turn, color="0.5", linewidth=1)
    top = 0.94 * max(map(max, logs.values()))
    ax.text(turn - 1, top, "forward ", ha="right")
    ax.text(turn + 1, top, " backward")
    ax.set(xlabel="operations done", ylabel="MB in use", ylim=(0, None))
    ax.set_title("A training step of ResNet-20 with 128 images")
    ax.legend()
    plt.show()
