"""The picture of lesson 7."""

from __future__ import annotations

import matplotlib.pyplot as plt


def one_window(maps, window):
    """title -> image, patches, weights, output; frames show what one place uses."""
    _, axes = plt.subplots(1, 4, figsize=(7.5, 3.2), width_ratios=[3, 2, 0.4, 3])
    for ax, (title, numbers) in zip(axes, maps.items(), strict=True):
        if numbers.min() < 0:  # minus is black, 0 grey
            ax.imshow(numbers, cmap="gray", vmin=-3, vmax=3)
        else:  # 0 is white, ink black
            ax.imshow(numbers, cmap="gray_r")
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    axes[1].set_aspect("auto")
    i, j = divmod(window, 6)
    frames = (axes[0], j, i, 3, 3), (axes[1], 0, window, 9, 1), (axes[3], j, i, 1, 1)
    for ax, x, y, width, height in frames:
        corner = x - 0.5, y - 0.5
        ax.add_patch(plt.Rectangle(corner, width, height, fill=False, color="#D55E00", linewidth=3))
    plt.show()
