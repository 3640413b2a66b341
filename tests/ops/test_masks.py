"""A mask selects: an entry that is not taken has the gradient 0, whatever comes back to it.

0 times infinity would be NaN. So where(x > 0, x, 0).sqrt() has a gradient at x = 0.
"""

import numpy as np
import pytest

from quatgrad import Tensor, ops, use_backend, use_kernels
from quatgrad.ops import algebra

BAD = (np.inf, -np.inf, np.nan)


@pytest.fixture(params=["reference", "numpy", "numba"], autouse=True)
def _rung(request):
    with use_kernels("reference") if request.param == "reference" else use_backend(request.param):
        yield


def gradient(f, *values):
    """Of the sum of f(x, ...), by x."""
    x, *rest = (Tensor(np.asarray(v, np.float32), requires_grad=True) for v in values)
    f(x, *rest).sum().backward()
    return x.grad


ROOTS = {  # f -> (x, the gradient of f(x).sqrt().sum())
    "where": (lambda x: ops.where(x > 0, x, 0.0), [-1, 0, 4], [0, 0, 0.25]),
    "where, the other side": (lambda x: ops.where(x <= 0, 0.0, x), [-1, 0, 4], [0, 0, 0.25]),
    "where of two": (lambda x: ops.where(x > 0, x, 0 * x), [-1, 4], [np.nan, 0.25]),
    "clip": (lambda x: ops.clip(x, 0), [-1, 4], [0, 0.25]),
    "clip from above": (lambda x: 4 - ops.clip(x, None, 4), [5, 0], [0, -0.25]),
    "relu": (ops.relu, [-1, 0, 4], [0, 0, 0.25]),
    "leaky_relu of slope 0": (lambda x: ops.leaky_relu(x, 0), [-1, 0, 4], [0, 0, 0.25]),
    "abs": (ops.absolute, [-4, 0, 4], [-0.25, 0, 0.25]),
    "max": (lambda x: ops.max(x, 1), [[0, 0], [0, 4]], [[np.inf] * 2, [0, 0.25]]),
    "power 0": (lambda x: x**0 - 1, [0, 2], [0, 0]),
}


@pytest.mark.parametrize(("f", "x", "expected"), ROOTS.values(), ids=ROOTS)
def test_the_root_of_what_is_selected(f, x, expected):
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = gradient(lambda x: ops.sqrt(f(x)), x)
    np.testing.assert_array_equal(dx, expected)


SELECTING = {  # f, x, where x is taken, the gradient there for g = 1
    "where": (lambda x: ops.where([True, False, True], x, 5.0), [1, 2, 3], [1, 0, 1]),
    "where, b": (lambda x: ops.where([True, False, True], 5.0, x), [1, 2, 3], [0, 1, 0]),
    "where, broadcast": (lambda x: ops.where([[True], [False]], x, 0.0)[1], [1, 2], [0, 0]),
    "clip": (lambda x: ops.clip(x, -1, 1), [-2, 0, 2], [0, 1, 0]),
    "clip, one end": (lambda x: ops.clip(x, high=1), [-2, 0, 2], [1, 1, 0]),
    "relu": (ops.relu, [-2, 0, 2], [0, 0, 1]),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.0), [-2, 0, 2], [0, 0, 1]),
    "abs": (ops.absolute, [-2, 0, 2], [-1, 0, 1]),
    "max": (lambda x: ops.max(x, keepdims=True), [1, 3, 2], [0, 1, 0]),
    "power 0": (lambda x: x ** Tensor([0.0, 1, 0]), [0, 2, 3], [0, 1, 0]),
    "power of 0": (lambda b: Tensor([0.0, 0, np.e]) ** b, [0, -1, 0], [0, 0, 1]),
    "modrelu": (
        lambda x: ops.modrelu(x, Tensor([-1.0, -9, -1])), [0, 5, 2] + [0] * 9,
        [0, 0, 1, 0, 0, 0.5, 0, 0, 0.5, 0, 0, 0.5],
    ),
    "dropout": (lambda x: ops.dropout(x, 0.5, 3), [1] * 8, None),
    "dropout of quaternions": (lambda x: ops.dropout(x, 0.5, 3, components=4), [1] * 16, None),
    "max_pool": (
        lambda x: ops.max_pool2d(x.reshape(1, 2, 2, 1), 2).reshape(-1), [1, 3, 2, 0], [0, 1, 0, 0]
    ),
    "quaternion_max_pool": (
        lambda x: ops.quaternion_max_pool2d(x.reshape(1, 1, 2, 4), (1, 2)).reshape(-1),
        [1, 1, 1, 1, 2, 2, 2, 2], [0] * 4 + [1] * 4,
    ),
    "getitem": (lambda x: x[1:], [1, 2, 3], [0, 1, 1]),
    "pad": (lambda x: ops.pad(x, ((1, 1),))[:2], [1, 2], [1, 0]),
    "norm of 0": (
        lambda x: algebra.norm(x.reshape(2, 4)), [0] * 4 + [2, 0, 0, 0], [0] * 4 + [1, 0, 0, 0]
    ),
    "normalize of 0": (lambda x: algebra.normalize(x), [0] * 4, [0] * 4),
    "root of 0": (lambda x: algebra.sqrt(x), [0] * 4, [0] * 4),
    "root of a power": (lambda x: algebra.power(x, 0.5), [0] * 4, [0] * 4),
    "a rotation by 0": (
        lambda w: ops.rotation_weight(w.reshape(4, 1, 1), Tensor([[2.0]])), [0] * 4, [0] * 4
    ),
    "its scale": (
        lambda s: ops.rotation_weight(Tensor([[[0.0]]] * 4), s.reshape(1, 1)), [2], [0]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("f", "x", "expected"), SELECTING.values(), ids=SELECTING)
@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_taken_has_the_gradient_0_whatever_comes_back(f, x, expected, bad):
    """g is 1, then `bad` wherever y does not depend on an entry that is taken."""
    x = np.asarray(x, np.float32)
    with np.errstate(divide="ignore"):  # 0 ** -1
        dx = gradient(f, x)
        y = f(t := Tensor(x, requires_grad=True))
        moved = f(Tensor(x + np.float32(0.125) * (dx != 0))).data != y.data
    if expected is None:  # dropout: what is kept is 1 / (1 - p)
        expected = 2 * (f(Tensor(x)).data != 0)
    np.testing.assert_allclose(dx, expected, atol=1e-6)
    with np.errstate(invalid="ignore", over="ignore"):
        y.backward(np.where(moved, 1, bad).astype(np.float32))
    np.testing.assert_allclose(t.grad, expected, atol=1e-6)


def test_inverse_at_zero_has_no_gradient_though_it_is_nan():
    for bad in BAD:
        q = Tensor(np.zeros(4, np.float32), requires_grad=True)
        y = algebra.inverse(q)
        y.backward(np.full(4, bad, np.float32))
        np.testing.assert_array_equal(q.grad, 0)


def test_dropout_drops_infinity_and_nan():
    x = np.ones(64, np.float32)
    dropped = ops.dropout(Tensor(x), 0.5, 0).data == 0
    for bad in BAD:
        y = ops.dropout(Tensor(np.where(dropped, bad, x).astype(np.float32)), 0.5, 0)
        np.testing.assert_array_equal(y.data, np.where(dropped, 0, 2))


def test_of_nans_the_largest_is_nan_and_they_share_the_gradient():
    dx = gradient(ops.max, [1, np.nan, 3, np.nan])
    np.testing.assert_array_equal(dx, [0, 0.5, 0, 0.5])


def test_logsumexp_of_minus_infinity_alone_has_no_gradient():
    x = [[-np.inf, -np.inf], [0, -np.inf]]
    assert ops.logsumexp(Tensor(np.float32(x)), 1).data[0] == -np.inf
    np.testing.assert_array_equal(gradient(lambda x: ops.logsumexp(x, 1), x), [[0, 0], [1, 0]])


# -------------------------------------------------------------- max pooling with a border


@pytest.mark.parametrize("value", [-np.inf, np.nan, -3.0])
@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((1, 2, 2, 1), (3, 2, 1)),
        ((2, 5, 4, 3), (3, 2, 1)),
        ((1, 4, 4, 2), (2, 2, 1)),
        ((1, 3, 6, 1), ((1, 3), (1, 2), (0, 1))),
        ((1, 1, 1, 1), (2, 1, 1)),
    ],
)
def test_no_gradient_goes_to_the_border(value, shape, how):
    x = Tensor(np.full(shape, value, np.float32), requires_grad=True)
    y = ops.max_pool2d(x, *how)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, value)
    assert x.grad.sum() == y.size
