"""Judges of lesson 4: i j i, the inverse, and turning a point."""

import numpy as np

from checkers.judging import agree, exercise
from quatgrad.quaternion import conjugate, from_axis_angle, multiply, rotate

Q = np.array([1.0, -2.0, 3.0, 0.5])


@exercise
def iji(answer):
    """(i j) i = k i = j."""
    mistakes = {
        "i j i is not i i j: neighbours may not change places. Start with i j = k.": [0, 0, -1, 0],
        "That is i j; one more i is to be multiplied on the right.": [0, 0, 0, 1],
    }
    agree("i j i", answer, [0, 0, 1, 0], None, mistakes=mistakes, components=True)


@exercise
def inverse(answer):
    """conj(q) / |q|^2."""
    norm2 = (Q * Q).sum()
    mistakes = {
        "The conjugate is missing: the signs of i, j and k turn round.": Q / norm2,
        "Divide by |q|², not by |q|: q q̄ is |q|².": conjugate(Q) / np.sqrt(norm2),
        "That is the conjugate: q q̄ = |q|² is not 1 yet.": conjugate(Q),
        "It is 1 / q component by component; multiply q by it and look.": 1 / Q,
    }
    what, got = "q⁻¹ for q = 1 - 2i + 3j + 0.5k", answer(Q.copy())
    agree(what, got, conjugate(Q) / norm2, mistakes=mistakes, components=True)


@exercise
def turn(answer):
    """vec(q v conj(q))."""
    q = from_axis_angle(np.array([0.6, 0.0, 0.8]), np.array(np.pi / 3))
    point = np.array([1.0, 2.0, 3.0])
    v = np.append(0, point)
    mistakes = {
        "The q̄ on the right is missing.": multiply(q, v)[1:],
        "It turns the other way: the factors are swapped, q̄ v q for q v q̄.":
            rotate(conjugate(q), point),
        "The conjugate is missing: that is q v q.": multiply(multiply(q, v), q)[1:],
        "Three numbers are asked for; the first component, always 0, goes away.":
            multiply(multiply(q, v), conjugate(q)),
    }  # fmt: skip
    what = "(1, 2, 3) turned by 60° around (0.6, 0, 0.8)"
    agree(what, answer(q, point), rotate(q, point), "quaternion.rotate", mistakes=mistakes)
