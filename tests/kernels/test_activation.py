"""Sums of large maps, and the rectifier after a bias; small ones are in the ladder."""

import numpy as np
import pytest

from quatgrad.kernels import reference
from quatgrad.kernels.numba_cpu.layers.activation import add, add_to, bias_relu, bias_relu_dx


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adds_large_maps_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300, 301)).astype(dtype)
    for x, y in ((a, b), (a, b.T[:300, :300].repeat(2, axis=1)[:, :301]), (a, b[0]), (a.T, b.T)):
        z = add(x, y)
        assert z.dtype == dtype
        assert (z == x + y).all()
        if x.shape == y.shape:
            before = x.copy()
            assert (add_to(before, y) == z).all()


def test_a_large_sum_is_made_where_the_first_is():
    a, b = np.ones((2, 300, 301), np.float32)
    assert add_to(a, b) is a
    assert (a == 2).all()
    assert (b == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape",
    [
        *((60, 300), (1, 5), (3, 1), (0, 4), (8192, 3), (8193, 17), (256, 1000), (9000, 1)),
        *((64, 16, 16, 16), (3, 100, 100, 8), (300, 32, 4, 4), (256, 6, 6, 2), (5000, 2, 3)),
    ],
    ids=str,
)
def test_a_bias_and_a_rectifier_have_the_bits_of_one_after_the_other(shape, dtype):
    """Also the sum over rows, in which the order of the additions shows."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, *shape)).astype(dtype)
    b = rng.normal(size=shape[-1]).astype(dtype)
    y = reference.relu(x + b)
    found = x.copy()
    assert bias_relu(found, b) is found
    np.testing.assert_array_equal(found, y)
    dx = reference.relu_dx(g, y)
    db = reference.sum_over(dx, tuple(range(dx.ndim - 1)))
    for a, true in zip(bias_relu_dx(g, y), (dx, db), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, true)


def test_nan_passes_the_rectifier():
    x = np.array([[np.nan, -1, 2]], np.float32)
    np.testing.assert_array_equal(bias_relu(x, np.zeros(3, np.float32)), [[np.nan, 0, 2]])
