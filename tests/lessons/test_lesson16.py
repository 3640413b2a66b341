"""What the checkers of lesson 16 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson16 as check


def softmax(s):
    a = np.exp(s - s.max())
    return a / a.sum()


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda q, K: None, "not answered yet"),
    (lambda q, K: softmax(K @ q / np.sqrt(len(q))), "correct"),
    (lambda q, K: softmax(K @ q), "√D is missing"),
    (lambda q, K: softmax(K @ q / len(q)), "divided by D"),
    (lambda q, K: softmax(K @ q * np.sqrt(len(q))), "not by √D"),
    (lambda q, K: softmax(K @ q) / np.sqrt(len(q)), "before exp"),
    (lambda q, K: np.exp(K @ q / np.sqrt(len(q))), "add up to 1"),
    (lambda q, K: K @ q / np.sqrt(len(q)), "softmax is missing"),
    (lambda q, K: K @ q / (K @ q).sum(), "stay negative"),
    (lambda q, K: (K @ q) ** 2 / ((K @ q) ** 2).sum(), "not the square"),
    (lambda q, K: np.exp(K @ q / 3) / np.exp(K @ q / 3).sum(), "give NaN"),
])  # fmt: skip
def test_weights(says, answer, hint):
    assert hint in says(check.weights, answer)


def test_of(steps, compare):
    """A test that changes the steps `steps(T)` and compares outputs by `compare(t)`."""

    def leaks(layer, x):
        y = layer(x)
        for t in steps(len(x)):
            changed = x.copy()
            changed[t] += 1
            if not np.allclose(layer(changed)[compare(t)], y[compare(t)]):
                return True
        return False

    return leaks


test_of.__test__ = False


def in_place(layer, x):
    y = layer(x)
    for t in range(len(x)):
        x[t] += 1
        if not np.allclose(layer(x)[:t], y[:t]):
            return True
    return False


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda layer, x: None, "not answered yet"),
    (test_of(range, lambda t: slice(t)), "correct"),
    (test_of(lambda T: [T - 1], lambda t: slice(t)), "only step 2 sees a later one"),
    (test_of(lambda T: [T - 1], lambda t: slice(1)), "off by one"),
    (test_of(range, lambda t: slice(max(t - 1, 0), t)), "only the first step sees the last"),
    (test_of(range, lambda t: slice(t + 1)), "a causal mask leaks nothing"),
    (test_of(lambda T: range(T - 1), lambda t: slice(t)), "the last step but one"),
    (in_place, "change a copy"),
    (lambda layer, x: False, "attention without a mask leaks"),
])  # fmt: skip
def test_leaks(says, answer, hint):
    assert hint in says(check.leaks, answer)


def cut(shape, axes, final=True):
    def answer(x, heads):
        T = len(x)
        y = x.reshape([{"T": T, "h": heads}.get(n, n) for n in shape]).transpose(axes)
        return y.reshape(heads, T, -1) if final else y

    return answer


@pytest.mark.parametrize(("answer", "hint"), [
    (cut(("T", 4, "h", -1), (2, 0, 1, 3)), "correct"),
    (cut(("T", "h", -1), (1, 0, 2)), "from left to right"),
    (cut(("T", 4, -1, "h"), (3, 0, 1, 2)), "every second"),
    (cut(("T", 4, "h", -1), (2, 0, 3, 1)), "keeps its blocks"),
    (lambda x, h: x.reshape(h, len(x), -1), "mixes the steps"),
    (lambda x, h: cut(("T", 4, "h", -1), (2, 0, 1, 3))(x, h).transpose(1, 0, 2), "in the middle"),
])  # fmt: skip
def test_heads_of(says, answer, hint):
    assert hint in says(check.heads_of, answer)
