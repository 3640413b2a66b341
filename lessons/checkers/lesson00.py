"""Judges of lesson 0: the central difference, the Taylor remainder, a gradient."""

import numpy as np

from checkers.judging import agree, exercise


@exercise
def central(answer):
    """(f(x + h) - f(x - h)) / 2h; of e^-x, which falls, it is -e^-x sinh(h) / h."""
    f, x, h = (lambda x: np.exp(-x)), 1.0, 0.25
    right, left = f(x + h) - f(x), f(x) - f(x - h)
    mistakes = {
        "The two points are 2 h apart, not h.": (right + left) / h,
        "That is one side only: to the right of x.": right / h,
        "That is one side only: to the left of x.": left / h,
        "/ 2 * h multiplies by h: put brackets around (2 * h).": (right + left) / 2 * h,
        "Divide the difference by the distance of the two points.": right + left,
    }
    what = "the central difference of e⁻ˣ at 1 with h = 0.25"
    agree(what, answer(f, x, h), -np.exp(-x) * np.sinh(h) / h, mistakes=mistakes)


@exercise
def remainder(answer):
    """f(x + h) - f(x) - h f'(x); of x^3 it is 3 x h^2 + h^3, below 0 at -2."""
    x, h = -2.0, 0.1
    rise, slope = (x + h) ** 3 - x**3, 3 * x * x
    mistakes = {
        "The slope is to be multiplied by the step: h f'(x).": rise - slope,
        "f(x) is missing: the line starts at the height f(x).": (x + h) ** 3 - h * slope,
        "The line is missing: subtract h f'(x).": rise,
        "f'(x) is the slope at x, not at x + h.": rise - h * 3 * (x + h) ** 2,
        "Leave it undivided: that is the remainder over h.": rise / h - slope,
    }
    got = answer(lambda x: x**3, lambda x: 3 * x**2, x, h)
    what = "the remainder of x³ at -2 with h = 0.1"
    agree(what, got, 3 * x * h**2 + h**3, mistakes=mistakes, tolerance=1e-9)


@exercise
def gradient(answer):
    """(2 x y, x^2) at (3, 2), by central differences."""
    f, h = (lambda x, y: x * x * y), 1e-3
    slopes = [(f(3 + h, 2) - f(3 - h, 2)) / (2 * h), (f(3, 2 + h) - f(3, 2 - h)) / (2 * h)]
    mistakes = {
        "The two entries are swapped: x comes first.": slopes[::-1],
        "When x moves, y stays a factor: the slope of x² y along x is 2 x y.": [6, 9],
        "Two slopes are asked for, one for each input; that is their sum.": sum(slopes),
    }
    agree("the gradient of x² y at (3, 2)", answer, slopes, None, mistakes=mistakes)
