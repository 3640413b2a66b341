"""What the checkers of lesson 6 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson06 as check
from quatgrad.kernels.reference import expand, fold, hamilton_linear


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda P, Q: P * Q + Q, "the real layer"),
    (lambda P, Q: P * Q // 4, "bias is missing"),
    (lambda P, Q: (P * Q + Q) // 4, "bias is real"),
    (lambda P, Q: P * Q // 16 + Q, "four components"),
    (lambda P, Q: P * Q // 4 + Q + 1, "you +25, QLinear +24"),
])  # fmt: skip
def test_a_wrong_count(says, answer, hint):
    assert hint in says(check.parameters, answer)


def blocks(W):
    return W.reshape(4, W.shape[0] // 4, 4, W.shape[1] // 4)


@pytest.mark.parametrize(("answer", "hint"), [
    (fold, "average"),
    (lambda W: blocks(W)[0].transpose(1, 0, 2), "first row of blocks"),
    (lambda W: fold(W * np.sign(expand(np.ones((4, 2, 3))))) / 4, "Undo the signs"),
    (lambda W: fold(W) / 2, "2 times what it should be"),
    (lambda W: fold(W) / 4 * np.array([1, -1, -1, -1]).reshape(4, 1, 1), "conjugate"),
    (lambda W: fold(W).T / 4, "(3, 2, 4); it should have (4, 2, 3)"),
])  # fmt: skip
def test_a_wrong_nearest_layer(says, answer, hint):
    assert hint in says(check.nearest, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda g, w: g @ expand(w), "the forward pass"),
    (lambda g, w: hamilton_linear(g, w.swapaxes(1, 2)), "conjugate is missing"),
    (lambda g, w: g @ expand(w.swapaxes(1, 2)).T, "not exchanged"),
    (lambda g, w: (g @ expand(w).T).sum(axis=0), "batch is summed"),
    (lambda g, w: -g @ expand(w).T, "sign is turned round"),
])  # fmt: skip
def test_a_wrong_input_gradient(says, answer, hint):
    assert hint in says(check.input_gradient, answer)
