"""A slider where a notebook can show one, and a still picture everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable

#: Set while notebooks are written: a page on the web shows pictures, but runs no sliders.
STILL = "QUATGRAD_LESSONS_STILL"


def slider(draw: Callable[..., None], **ranges: tuple[float, float, float]) -> None:
    """Draw, with one slider for each argument of `draw`: name=(low, high, step).

    The sliders start at the defaults of `draw`; without ipywidgets those defaults are drawn.
    """
    try:
        from ipywidgets import interact
    except ImportError:
        interact = None
    if interact is None or os.environ.get(STILL):
        draw()
    else:
        interact(draw, **ranges)
