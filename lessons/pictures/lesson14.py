"""The pictures of lesson 14."""

from __future__ import annotations

import matplotlib.pyplot as plt

from pictures import line_with_range


def parts_left(masks):
    """title -> how many of its four parts each quaternion (P, Q) has left."""
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
    for ax, (title, parts) in zip(axes, masks.items(), strict=True):
        image = ax.imshow(parts, cmap=plt.get_cmap("cividis", 5), vmin=-0.5, vmax=4.5)
        ax.set(title=title, xticks=[], yticks=[], xlabel="output quaternion")
        ax.grid(False)
    axes[0].set_ylabel("input quaternion")
    fig.colorbar(image, ax=axes, ticks=range(5), label="parts left")
    plt.show()


def _two_measures(titles, xlabels, xlim, ticks):
    """Two panels with accuracies over logarithmic axes, less to the right."""
    _, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
    axes[0].set_ylabel("test accuracy, %")
    for ax, title, xlabel in zip(axes, titles, xlabels, strict=True):
        ax.set(xscale="log", xlim=xlim, title=title, xlabel=xlabel)
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    return axes


def equal_weights_equal_work(runs):
    """name -> (seeds, levels, 3): weights, multiply-adds, test accuracy in %; ranges as bands."""
    axes = _two_measures(("at equal weights", "at equal work"),
                         ("weights left", "multiply-adds for one image"),
                         (6000, 35), [5000, 2000, 1000, 500, 200, 100, 50])  # fmt: skip
    for (name, levels), marker in zip(runs.items(), "osd", strict=True):
        for ax, x in zip(axes, levels.mean(axis=0).T[:2], strict=True):
            line_with_range(ax, x, levels[..., 2], name, marker)
    axes[0].set_ylim(0, 100)
    axes[1].legend(loc="lower left", fontsize=8)
    plt.show()


def published_twice(curves):
    """Published curves over `x`, the axis of the paper, and over the share of their own work."""
    axes = _two_measures(("as published", "the same points, at equal work"),
                         ("% of the real network's weights",
                          "% of the multiply-adds (the same for both)"),
                         (150, 0.015), [100, 10, 1, 0.1])  # fmt: skip
    looks = {"resnet18": ("C0", 1.2), "resnet101": ("C1", 2.4), "real": "-", "quaternion": "--"}
    for curve in curves:
        colour, width = looks[curve.model]
        label = f"{curve.model.replace('resnet', 'ResNet-')}, {curve.algebra}"
        look = {"color": colour, "linewidth": width, "label": label}
        accuracy = [p.accuracy for p in curve.points]
        axes[0].plot([p.x for p in curve.points], accuracy, looks[curve.algebra], **look)
        share = [100 * p.fraction for p in curve.points]
        axes[1].plot(share, accuracy, looks[curve.algebra], **look)
    axes[1].legend(loc="lower left", fontsize=8)
    plt.show()
