"""The control of every comparison: a real network with as many weights as a quaternion one."""

from functools import cache
from typing import Any

from quatgrad import models
from quatgrad.models.gpt import HEADS


def count_weights(name: str, algebra: str, **options: Any) -> int:
    """Entries of all `weight_parameters` of a network of `models.create`."""
    return _counted(name, algebra, tuple(sorted(options.items())))


@cache
def _counted(name: str, algebra: str, options: tuple[tuple[str, Any], ...]) -> int:
    return sum(w.size for _, w in models.create(name, algebra, **dict(options)).weight_parameters())


def equal_width(name: str, width: int, step: int | None = None, **options: Any) -> int:
    """The width of the real network whose weights are nearest to the quaternion one's at `width`.

    Widths are multiples of `step`: a transformer's of its heads, of 12 with a head of moduli. A tie
    goes to the narrower one.
    """
    step = step or {"gpt": HEADS, "transformer": HEADS, "modulus-300-100": 12}.get(name, 1)
    target = count_weights(name, "quaternion", width=width, **options)
    low, high = 1, -(-width // step)  # in steps; real networks of `width` have more weights

    def weights(k: int) -> int:
        return count_weights(name, "real", width=k * step, **options)

    while low < high:  # the first that has as many
        middle = (low + high) // 2
        if weights(middle) < target:
            low = middle + 1
        else:
            high = middle
    nearest = min((k for k in (low - 1, low) if k), key=lambda k: abs(weights(k) - target))
    return nearest * step
