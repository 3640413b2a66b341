"""The pictures of lesson 0."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np


def secant(f, x, h, slope, tangent):
    """The curve f, the line through x and x + h with its slope, and the tangent at x (dashed)."""
    X = np.linspace(x - 1.5, x + 2.2, 50)
    _, ax = plt.subplots(figsize=(4.5, 3.2))
    ax.plot(X, f(X), label="x²")
    ax.plot(X, f(x) + slope * (X - x), label=f"through two points: slope {slope:.2f}")
    ax.plot(X, f(x) + tangent * (X - x), "--", label=f"tangent: slope {tangent}")
    ax.plot([x, x + h], [f(x), f(x + h)], "o", color="black")
    ax.set(xlabel="x", ylim=(0, 27), title=f"h = {h:.2f}")
    ax.legend()
    plt.show()
