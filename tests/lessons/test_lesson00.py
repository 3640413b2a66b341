import numpy as np
import pytest

from checkers import lesson00 as check


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h), "correct"),
    (lambda f, x, h: (f(x + h) - f(x - h)) / h, "2 h apart, not h"),
    (lambda f, x, h: (f(x + h) - f(x)) / h, "one side only: to the right"),
    (lambda f, x, h: (f(x) - f(x - h)) / h, "one side only: to the left"),
    (lambda f, x, h: (f(x + h) - f(x - h)) / 2 * h, "put brackets"),
    (lambda f, x, h: f(x + h) - f(x - h), "Divide the difference"),
    (lambda f, x, h: abs(f(x + h) - f(x - h)) / (2 * h), "The sign is turned round"),
    (lambda f, x, h: (f(x - h) - f(x + h)) / (2 * h), "The sign is turned round"),
])  # fmt: skip
def test_central(says, answer, verdict):
    assert verdict in says(check.central, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda f, df, x, h: f(x + h) - f(x) - h * df(x), "correct"),
    (lambda f, df, x, h: f(x + h) - f(x) - df(x), "multiplied by the step"),
    (lambda f, df, x, h: f(x + h) - h * df(x), "f(x) is missing"),
    (lambda f, df, x, h: f(x + h) - f(x), "The line is missing"),
    (lambda f, df, x, h: f(x + h) - f(x) - h * df(x + h), "not at x + h"),
    (lambda f, df, x, h: (f(x + h) - f(x)) / h - df(x), "over h"),
    (lambda f, df, x, h: abs(f(x + h) - f(x) - h * df(x)), "The sign is turned round"),
    (lambda f, df, x, h: f(x) + h * df(x) - f(x + h), "The sign is turned round"),
])  # fmt: skip
def test_remainder(says, answer, verdict):
    assert verdict in says(check.remainder, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    ((12, 9), "correct"),
    (np.array([12.0, 9.0]), "correct"),
    ([9, 12], "swapped: x comes first"),
    ([6, 9], "y stays a factor"),
    (21, "that is their sum"),
    ([12, 6], "is wrong at [1]: you +6"),
])  # fmt: skip
def test_gradient(says, answer, verdict):
    assert verdict in says(check.gradient, answer)
