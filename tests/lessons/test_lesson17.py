"""What the checkers of lesson 17 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson17 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda w, h: None, "not answered yet"),
    (lambda w, h: np.prod(w * (1 - h * h)), "correct"),
    (lambda w, h: w ** len(h), "slope of tanh is missing"),
    (lambda w, h: np.prod(1 - h * h), "w is missing"),
    (lambda w, h: w * np.prod(1 - h * h), "once for each"),
    (lambda w, h: np.sum(w * (1 - h * h)), "you add them"),
    (lambda w, h: np.prod(w * (1 - h)), "not 1 − h"),
    (lambda w, h: w * (1 - h * h), "Multiply them"),
    (lambda w, h: np.cumprod(w * (1 - h * h)), "the last one is asked for"),
    (lambda w, h: np.prod(w * (1 - h[1:] ** 2)), "first step is missing"),
    (lambda w, h: np.prod(w * (1 - h[:-1] ** 2)), "last step is missing"),
])  # fmt: skip
def test_through(says, answer, hint):
    assert hint in says(check.through, answer)


def slope(direct=1, content=lambda n, z, w: (1 - z) * w * (1 - n * n),
          gate=lambda h, n, z, a: (h - n) * a * z * (1 - z)):  # fmt: skip
    def answer(h, x, w, a, b):
        n, z = np.tanh(w * h + x), 1 / (1 + np.exp(-(a * h + b)))
        return direct * z + content(n, z, w) + gate(h, n, z, a)

    return answer


@pytest.mark.parametrize(("answer", "hint"), [
    (slope(), "correct"),
    (slope(content=lambda n, z, w: 0, gate=lambda h, n, z, a: 0), "direct way alone"),
    (slope(gate=lambda h, n, z, a: 0), "through z is missing"),
    (slope(content=lambda n, z, w: 0), "through n is missing"),
    (slope(direct=0), "direct way is missing"),
    (slope(content=lambda n, z, w: (1 - z) * w), "slope of tanh"),
    (slope(content=lambda n, z, w: (1 - z) * (1 - n * n)), "w is missing"),
    (slope(content=lambda n, z, w: w * (1 - n * n)), "counts with 1 − z"),
    (slope(gate=lambda h, n, z, a: (h - n) * z * (1 - z)), "a is missing"),
    (slope(gate=lambda h, n, z, a: (h - n) * a), "z (1 − z)"),
    (slope(gate=lambda h, n, z, a: (n - h) * a * z * (1 - z)), "not n − h"),
    (slope(gate=lambda h, n, z, a: h * a * z * (1 - z)), "before n too"),
])  # fmt: skip
def test_gate_slope(says, answer, hint):
    assert hint in says(check.gate_slope, answer)


def logit(z):
    return np.log(z / (1 - z))


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda share, steps: None, "not answered yet"),
    (lambda share, steps: logit(share ** (1 / steps)), "correct"),
    (lambda share, steps: share ** (1 / steps), "That is z"),
    (lambda share, steps: -logit(share ** (1 / steps)), "other way up"),
    (lambda share, steps: logit(share), "for one step"),
    (lambda share, steps: logit(1 - (1 - share) / steps), "shares multiply"),
    (lambda share, steps: logit(share**steps), "has the power"),
    (lambda share, steps: np.log(share ** (1 / steps)), "σ is not exp"),
])  # fmt: skip
def test_open_gate(says, answer, hint):
    assert hint in says(check.open_gate, answer)
