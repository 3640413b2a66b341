import numpy as np
import pytest

from checkers import lesson04 as check
from quatgrad.quaternion import conjugate, multiply


@pytest.mark.parametrize(("answer", "verdict"), [
    (..., "not answered yet"),
    ([0, 0, 1, 0], "correct"),
    ([0, 0, -1, 0], "neighbours may not change places"),
    ([0, 0, 0, 1], "That is i j"),
    ("j", "is no array of numbers"),
    ([0, 1, 0], "has shape (3,); it should have (4,)"),
])  # fmt: skip
def test_iji(says, answer, verdict):
    assert verdict in says(check.iji, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda q: None, "not answered yet"),
    (lambda q: q * [1, -1, -1, -1] / (q @ q), "correct"),
    (lambda q: q / (q @ q), "conjugate is missing"),
    (lambda q: conjugate(q) / np.sqrt(q @ q), "Divide by |q|², not by |q|"),
    (conjugate, "|q|² is not 1 yet"),
    (lambda q: 1 / q, "component by component"),
    (lambda q: q @ [[1, 2]], "stops in line"),
])  # fmt: skip
def test_inverse(says, answer, verdict):
    assert verdict in says(check.inverse, answer)


def sandwich(left, right):
    def answer(q, point):
        v = np.append(0, point)
        return multiply(multiply(left(q), v), right(q))[1:]

    return answer


@pytest.mark.parametrize(("answer", "verdict"), [
    (sandwich(lambda q: q, conjugate), "correct"),
    (sandwich(conjugate, lambda q: q), "other way: the factors are swapped"),
    (sandwich(lambda q: q, lambda q: q), "conjugate is missing"),
    (lambda q, point: multiply(q, np.append(0, point))[1:], "q̄ on the right is missing"),
    (lambda q, point: multiply(multiply(q, np.append(0, point)), conjugate(q)), "Three numbers"),
    (lambda q, point: point, "turned by 60° around (0.6, 0, 0.8) is wrong at [1]: you +2,"),
])  # fmt: skip
def test_turn(says, answer, verdict):
    assert verdict in says(check.turn, answer)
