"""Judges of lesson 8: a product with three multiplications, and Winograd's four."""

from __future__ import annotations

import numpy as np

from checkers.judging import Wrong, agree, exercise


class Counted:
    """A number that counts how often it is multiplied by another."""

    count = 0

    def __init__(self, value: float):
        self.value = value

    def __add__(self, other):
        return Counted(self.value + _value(other))

    def __sub__(self, other):
        return Counted(self.value - _value(other))

    def __mul__(self, other):
        Counted.count += 1
        return Counted(self.value * _value(other))

    def __neg__(self):
        return Counted(-self.value)

    def __rsub__(self, other):
        return -self + other

    def __float__(self):
        return self.value

    __radd__, __rmul__ = __add__, __mul__


def _value(x):
    return x.value if isinstance(x, Counted) else x


@exercise
def gauss(answer):
    """(ac - bd, (a + b)(c + d) - ac - bd)."""
    a, b, c, d = 2.0, 3.0, 5.0, 7.0
    Counted.count = 0
    y = _two_numbers(answer(*map(Counted, (a, b, c, d))))
    mistakes = {
        "i² = −1: bd is subtracted.": [a * c + b * d, a * d + b * c],
        "(a + b)(c + d) has ac and bd in it, too: take them away.":
            [a * c - b * d, (a + b) * (c + d)],
        "Only one of ac and bd was taken away from (a + b)(c + d).":
            [a * c - b * d, (a + b) * (c + d) - a * c],
        "Real and imaginary part are swapped.": [a * d + b * c, a * c - b * d],
    }  # fmt: skip
    agree("(2 + 3i)(5 + 7i)", y, [a * c - b * d, a * d + b * c], "by hand", mistakes=mistakes)
    if Counted.count != 3:
        raise Wrong(f"the product is right, but made with {Counted.count} multiplications, not 3")


@exercise
def winograd(answer):
    """(m1 + m2 + m3, m2 - m3 - m4)."""
    d, w = np.array([1.0, -2.0, 5.0, 3.0]), np.array([2.0, 7.0, -4.0])
    sums = w[0] + w[1] + w[2], w[0] - w[1] + w[2]
    m1, m2, m3, m4 = ((d[0] - d[2]) * w[0], (d[1] + d[2]) * sums[0] / 2,
                      (d[2] - d[1]) * sums[1] / 2, (d[1] - d[3]) * w[2])  # fmt: skip
    y0, y1 = np.correlate(d, w)
    mistakes = {
        "y₁: m₄ has −d₃w₂ in it, so it is subtracted.": [y0, m2 - m3 + m4],
        "y₁: the sign of m₃ is to make d₂w₁ and d₁w₀.": [y0, m2 + m3 - m4],
        "y₀: m₃ is added: with m₂ it makes d₂w₂ + d₁w₁ + d₂w₀.": [m1 + m2 - m3, y1],
        "y₀ and y₁ are swapped.": [y1, y0],
    }
    got = _two_numbers(answer(m1, m2, m3, m4))
    agree("(y₀, y₁)", got, [y0, y1], "the definition", mistakes=mistakes)


@exercise
def saving(answer):
    """(m r / (m + r - 1))^2."""
    for m, r in ((2, 3), (4, 3), (2, 5)):
        want = (m * r / (m + r - 1)) ** 2
        mistakes = {
            "That is one dimension: in two, rows and columns save both.": m * r / (m + r - 1),
            "m + r − 1, not m + r: windows that touch share all but one.": (m * r / (m + r)) ** 2,
            "It is upside down: how many of the definition for one of Winograd's?": 1 / want,
            "The definition takes r × r for each of m × m outputs.": (r / (m + r - 1)) ** 2,
        }
        agree(f"saving({m}, {r})", answer(m, r), want, "counted", mistakes=mistakes)


def _two_numbers(y):
    try:
        first, second = y
        return [float(first), float(second)]
    except TypeError:
        raise Wrong(f"two numbers are asked for; this is {y!r}") from None
