"""What the checkers of lesson 10 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson10 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda x, w1, w2, g: (g @ w2.T * (x @ w1 > 0)) @ w1.T, "dx contains g"),
    (lambda x, w1, w2, g: g + g @ w2.T @ w1.T, "The ReLU is missing"),
    (lambda x, w1, w2, g: x + (g @ w2.T * (x @ w1 > 0)) @ w1.T, "not x"),
    (lambda x, w1, w2, g: g, "own share is missing"),
    (lambda x, w1, w2, g: g + np.maximum(g @ w2.T, 0) @ w1.T, "before the ReLU"),
    (lambda x, w1, w2, g: (g + (g @ w2.T * (x @ w1 > 0)) @ w1.T).sum(axis=0), "batch is summed"),
])  # fmt: skip
def test_a_wrong_gradient_of_a_block(says, answer, hint):
    assert hint in says(check.block_gradient, answer)


def test_a_gradient_without_transposes_stops(says):
    assert says(check.block_gradient, lambda x, w1, w2, g: g + g @ w2 @ w1).startswith("it stops")


def count(shortcut=1, norm=2, real_norm=True, second=None, identity=False, bias=0):
    """A count of a block's parameters, with the mistakes that are asked for."""

    def block_parameters(P, Q, algebra):
        share = 4 if algebra == "quaternion" else 1
        around = P != Q or identity
        weights = 9 * P * Q + 9 * (second or Q) * Q + (shortcut * P * Q if around else 0)
        norms = (norm + bias) * Q * (3 if around else 2)
        return weights // share + (norms if real_norm else norms // share)

    return block_parameters


def test_a_count_that_is_right(says):
    assert says(check.block_parameters, count()) == "correct"


@pytest.mark.parametrize(("answer", "hint"), [
    (count(norm=0), "Batch norm is missing"),
    (count(real_norm=False), "not divided by four"),
    (count(shortcut=9), "one pixel wide"),
    (count(second=8), "from Q to Q"),
    (count(identity=True), "the shortcut is x itself"),
    (count(bias=1), "no bias"),
    (count(norm=1), "two numbers for each channel"),
    (count(norm=4), "not learned"),
    (lambda P, Q, algebra: count()(P, Q, "real"), "a quarter of the weights"),
    (lambda P, Q, algebra: count()(P, Q, algebra) - (P != Q) * 2 * Q, "has a batch norm, too"),
    (lambda P, Q, algebra: count()(P, Q, algebra) - (P != Q) * (P + 2) * Q,
     "convolution is missing"),
])  # fmt: skip
def test_a_wrong_count_of_a_block(says, answer, hint):
    assert hint in says(check.block_parameters, answer)
