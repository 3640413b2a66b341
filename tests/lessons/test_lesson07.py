"""What the checkers of lesson 7 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson07 as check
from quatgrad.kernels.reference import conv2d_dw, unpatches


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda H, U, s, pad: (H + 2 * pad - U) // s, "One too few"),
    (lambda H, U, s, pad: (H + pad - U) // s + 1, "both sides"),
    (lambda H, U, s, pad: -(-(H + 2 * pad - U) // s) + 1, "round down"),
    (lambda H, U, s, pad: H + 2 * pad - U + 1, "stride is missing"),
    (lambda H, U, s, pad: (H - U) // s + 1, "padding is missing"),
    (lambda H, U, s, pad: H, "you +8, counted +6"),
])  # fmt: skip
def test_a_wrong_size(says, answer, hint):
    assert hint in says(check.out_size, answer)


def dw(x, g):
    return conv2d_dw(x, g, (3, 2, 2, 3), (1, 1), (0, 0))


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda x, g, U, V: dw(x[:1], g[:1]), "Only the first image"),
    (lambda x, g, U, V: dw(x[-1:], g[-1:]), "Only the last image"),
    (lambda x, g, U, V: np.stack([dw(x[n : n + 1], g[n : n + 1]) for n in range(3)]),
     "sum over the batch is missing"),
    (lambda x, g, U, V: dw(x, g) / len(x), "mean over the batch"),
    (lambda x, g, U, V: dw(x, g).reshape(12, 3), "(12, 3); it should have (3, 2, 2, 3)"),
    (lambda x, g, U, V: dw(x, g).transpose(2, 0, 1, 3).reshape(3, 2, 2, 3), "in this order"),
])  # fmt: skip
def test_a_wrong_weight_gradient(says, answer, hint):
    assert hint in says(check.weight_gradient, answer)


def overwrite(P, H, W):
    x = np.zeros((H, W))
    for i in range(len(P)):
        for j in range(len(P[0])):
            x[i : i + 3, j : j + 2] = P[i, j]
    return x


def add(P, H, W):
    return unpatches(P[None, ..., None], (1, H, W, 1), (1, 1), (0, 0))[0, :, :, 0]


@pytest.mark.parametrize(("answer", "hint"), [
    (overwrite, "the sum of its copies"),
    (lambda P, H, W: add(P, H, W) / add(np.ones_like(P), H, W), "mean of a pixel's copies"),
    (lambda P, H, W: add(P[:, :, ::-1, ::-1], H, W), "turned round"),
    (lambda P, H, W: add(P, H, W)[:-2, :-1], "(4, 3); it should have (6, 4)"),
])  # fmt: skip
def test_a_wrong_unpatch(says, answer, hint):
    assert hint in says(check.unpatch, answer)
