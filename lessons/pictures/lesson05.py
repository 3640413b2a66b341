"""The picture of lesson 5."""

from __future__ import annotations

import matplotlib.pyplot as plt

from pictures import MIDDLE


def free_leg(answers):
    """The table H with its legs a, b, c: one leg is free, p, q or g is plugged into the others.

    answers: the free leg -> what comes out of it.
    """
    legs = {"a": ((-1.0, 0.75), "p"), "b": ((-1.0, -0.75), "q"), "c": ((1.2, 0.0), "g")}
    _, axes = plt.subplots(1, len(answers), figsize=(7.5, 2.2))
    for ax, (free, answer) in zip(axes, answers.items(), strict=True):
        for index, (tip, plug) in legs.items():
            colour, arrow = ("C1", "->") if index == free else ("0.3", "-")
            look = {"arrowstyle": arrow, "color": colour, "linewidth": 2}
            ax.annotate("", tip, (0, 0), arrowprops=look)
            ax.text(0.55 * tip[0], 0.55 * tip[1] + 0.15, index, color=colour, ha="center")
            text = answer if index == free else plug
            ax.text(1.15 * tip[0], 1.15 * tip[1], text, color=colour, weight="bold", **MIDDLE)
        ax.text(0, 0, "H", bbox={"boxstyle": "circle", "facecolor": "#eeeeee"}, **MIDDLE)
        summed = ",".join(i for i in "abc" if i != free)
        ax.set(xlim=(-1.7, 1.9), ylim=(-1.3, 1.3), title=f"abc,{summed}->{free}")
        ax.set_axis_off()
    plt.show()
