"""The checks themselves: right gradients pass, and every kind of wrong one is caught and named."""

import math

import numpy as np
import pytest

from quatgrad import Function, ops
from quatgrad.testing import check_gradients, numerical_gradients, taylor_rate

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 3, 4))


class Product(Function):
    """y = a^2 b, with a way to spoil what backward (or forward) does."""

    def __init__(self, spoil=lambda da, db: (da, db), before=lambda a, b: None):
        self.spoil, self.before = spoil, before

    def forward(self, a, b):
        self.before(a, b)
        self.save_for_backward(a, b)
        return a * a * b

    def backward(self, g):
        a, b = self.saved
        self.g = g
        return self.spoil(2 * a * b * g, a * a * g)


def product(**spoilt):
    def f(a, b):
        return Product(**spoilt)(a, b)

    return f


def three_percent(da, db):
    return 1.03 * da, db


def one_entry(da, db):
    da = da.copy()
    da[1, 2] *= 1.03
    return da, db


def second_input(da, db):
    return da, 1.03 * db


def sign(da, db):
    return -da, db


def nan(da, db):
    return da * np.nan, db


def test_right_gradients_pass():
    check_gradients(product(), A, B)
    assert taylor_rate(lambda a: product()(a, a), A, B) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (three_percent, "input 0"),
        (one_entry, r"input 0 .* 1 of 12 entries; at \(1, 2\): got .*, expected "),
        (second_input, "input 1"),
        (sign, "input 0"),
        (nan, "input 0"),
    ],
)
def test_wrong_gradients_are_caught_and_named(spoil, where):
    with pytest.raises(AssertionError, match=where):
        check_gradients(product(spoil=spoil), A, B, name="product")


@pytest.mark.parametrize("spoil", [three_percent, one_entry, sign])
def test_taylor_rate_falls_to_1_for_wrong_gradients(spoil):
    assert taylor_rate(lambda a: product(spoil=spoil)(a, a), A, B) < 1.5


def test_taylor_rate_sees_each_input_by_itself():
    f = product(spoil=second_input)
    from quatgrad import Tensor

    assert taylor_rate(lambda a: f(a, Tensor(B)), A, B) == pytest.approx(2, abs=0.01)
    assert taylor_rate(lambda b: f(Tensor(A), b), B, A) < 1.1
    assert taylor_rate(lambda b: product()(Tensor(A), b), B, A) == math.inf  # linear: none left


def test_a_gradient_that_never_arrives_is_caught():
    from quatgrad import Tensor

    with pytest.raises(AssertionError, match="input 1"):
        check_gradients(lambda a, b: a * Tensor(b.data), A, B)


def test_only_a_random_output_gradient_sees_errors_that_cancel_in_the_sum():
    def swapped(da, db):  # right for dL/dy = 1 with equal a: rows in the wrong order
        return da[::-1], db[::-1]

    with pytest.raises(AssertionError, match="input 0"):
        check_gradients(product(spoil=swapped), np.ones((3, 4)), np.ones((3, 4)))


def test_writing_to_an_input_is_caught():
    def forward_writes(a, b):
        a[0] = 7

    with pytest.raises((AssertionError, ValueError)):
        check_gradients(product(before=forward_writes), A, B)

    class BackwardWrites(Product):
        def backward(self, g):
            grads = super().backward(g)
            self.saved[0][...] += 1
            return grads

    with pytest.raises(AssertionError, match="backward changed input 0"):
        check_gradients(lambda a, b: BackwardWrites()(a, b), A, B)

    class BackwardWritesG(Product):
        def backward(self, g):
            grads = super().backward(g)
            g *= 2
            return grads

    with pytest.raises(AssertionError, match="backward changed dL/dy"):
        check_gradients(lambda a, b: BackwardWritesG()(a, b), A, B)


def test_an_op_that_assumes_contiguous_memory_is_caught():
    class Flat(Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x * x

        def backward(self, g):
            (x,) = self.saved
            return 2 * (x.ravel("K") * g.ravel("K")).reshape(x.shape)

    with pytest.raises(AssertionError, match="in memory"):
        check_gradients(lambda x: Flat()(x), A)


def test_a_gradient_that_needs_the_other_inputs_gradient_is_caught():
    class Lazy(Product):
        def backward(self, g):
            da, db = super().backward(g)
            return da, db if self.needs_input_grad[0] else 0 * db

    with pytest.raises(AssertionError, match=r"input 1 \(the others want none"):
        check_gradients(lambda a, b: Lazy()(a, b), A, B)


def test_a_loss_of_precision_in_float32_is_caught():
    def rough(da, db):
        if da.dtype == np.float32:
            da = da.astype(np.float16).astype(np.float32)
        return da, db

    with pytest.raises(AssertionError, match=r"input 0 \(in float32"):
        check_gradients(product(spoil=rough), A, B)
    check_gradients(product(spoil=rough), A, B, tolerance32=None)


def test_numerical_gradients_of_a_cubic():
    (d,) = numerical_gradients(lambda x: x * x * x, [A], B)
    np.testing.assert_allclose(d, 3 * A**2 * B, rtol=1e-7)


def test_inputs_without_axes_or_without_entries():
    check_gradients(ops.power, np.array(1.5), np.array(2.5))
    check_gradients(lambda x: x * x, np.zeros((0, 3)))
