import pytest

from checkers import lesson03 as check


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda g: g.sum(axis=0), "correct"),
    (lambda g: g, "The sum over the batch is missing"),
    (lambda g: g.mean(axis=0), "That is the mean over the batch"),
    (lambda g: g.sum(axis=1), "over axis 0"),
    (lambda g: g.sum(), "add everything up"),
    (lambda g: g.sum(axis=0, keepdims=True), "leave keepdims out"),
    (lambda g: g[0], "one row of g"),
    (lambda g: -g.sum(axis=0), "The sign is turned round"),
    (lambda g: g[1:].sum(axis=0), "dL/db is wrong at ["),
])  # fmt: skip
def test_bias_gradient(says, answer, verdict):
    assert verdict in says(check.bias_gradient, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    ((0, 1), "correct"),
    ([1, 0], "correct"),
    ((-3, -2), "correct"),
    ((0, 2), "axis 2 has 6 entries"),
    ((0,), "one more was stretched"),
    (0, "one more was stretched"),
    ((1,), "does not have at all"),
    ((0, 3), "there is no axis 3"),
    ((), "something was copied"),
])  # fmt: skip
def test_axes(says, answer, verdict):
    assert verdict in says(check.axes, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda x, g: (x * g).sum(axis=(0, 1, 2)), "correct"),
    (lambda x, g: x * g, "The sums are missing"),
    (lambda x, g: g.sum(axis=(0, 1, 2)), "x is missing"),
    (lambda x, g: (x * g).sum(axis=(1, 2)), "sum over the batch, axis 0, is missing"),
    (lambda x, g: (x * g).sum(axis=0), "axes 1 and 2"),
    (lambda x, g: (x * g).sum(axis=(1, 2, 3)), "the one axis to keep"),
    (lambda x, g: (x * g).sum(), "each channel has its own sum"),
    (lambda x, g: x.sum(axis=(0, 1, 2)) * g.sum(axis=(0, 1, 2)), "First multiply, then add"),
    (lambda x, g: (x * g).mean(axis=(0, 1, 2)), "That is the mean"),
])  # fmt: skip
def test_scale_gradient(says, answer, verdict):
    assert verdict in says(check.scale_gradient, answer)
