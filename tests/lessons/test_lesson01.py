import numpy as np
import pytest

from checkers import lesson01 as check
from quatgrad import Function


@pytest.mark.parametrize(("answer", "verdict"), [
    ([42, 28, 14], "correct"),
    ([3, 2, 1], "multiplied by 2 y = 14"),
    ([28, 42, 14], "swapped"),
    ([21, 14, 7], "y is used twice"),
    ([42, 28, 0], "goes on to b"),
    ([42, 28, 15], "is wrong at [2]: you +15"),
])  # fmt: skip
def test_slopes(says, answer, verdict):
    assert verdict in says(check.slopes, answer)


class Number:
    def __init__(self, value, arrows=()):
        self.value, self.arrows = value, arrows


def tanh(slope, of=lambda x: x):
    def answer(value):
        x, y = Number(value), np.tanh(value)
        return Number(y, [(of(x), slope(value, y))])

    return answer


@pytest.mark.parametrize(("answer", "verdict"), [
    (tanh(lambda x, y: 1 - y * y), "correct"),
    (tanh(lambda x, y: 1 - x * x), "y is the result, tanh(x), not x"),
    (tanh(lambda x, y: 1 - y), "square is missing"),
    (tanh(lambda x, y: y), "That is the value"),
    (tanh(lambda x, y: y * y - 1), "The sign is turned round"),
    (tanh(lambda x, y: 1 - y * y, of=lambda x: x.value), "lead to x itself"),
    (lambda value: Number(np.tanh(value)), "remembers nothing"),
    (lambda value: Number(np.tanh(value), [(Number(value), 1), (Number(value), 1)]), "one arrow"),
    (lambda value: None, "not answered yet"),
])  # fmt: skip
def test_tanh(says, answer, verdict):
    assert verdict in says(check.tanh, answer)


def cube(backward, forward=lambda x: x**3):
    class Cube(Function):
        def forward(self, x):
            self.save_for_backward(x)
            return forward(x)

        def backward(self, g):
            return backward(g, *self.saved)

    return Cube


@pytest.mark.parametrize(("answer", "verdict"), [
    (cube(lambda g, x: 3 * x * x * g), "correct"),
    (cube(lambda g, x: 3 * x * x), "g is missing"),
    (cube(lambda g, x: x * x * g), "the 3 is missing"),
    (cube(lambda g, x: 3 * x * g), "that is 3 x."),
    (cube(lambda g, x: 3 * x * x + g), "slopes along a path multiply"),
    (cube(lambda g, x: None), "backward returns nothing"),
    (cube(lambda g, x: g, forward=lambda x: x * x), "That is x²."),
    (cube(lambda g, x: g, forward=lambda x: None), "not answered yet"),
])  # fmt: skip
def test_cube(says, answer, verdict):
    assert verdict in says(check.Cube, answer)
