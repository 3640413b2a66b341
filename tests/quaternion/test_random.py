"""Random quaternions: their laws, by sampling, and the same draws from the same seed."""

import numpy as np
import pytest
from bounds import DTYPES

from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError

both = pytest.mark.parametrize("draw", [alg.random, alg.random_unit], ids=["random", "random_unit"])


@both
@DTYPES
def test_shape_dtype_and_seed(draw, dtype):
    q = draw((5, 3), 0, dtype)
    assert q.shape == (5, 3, 4)
    assert q.dtype == dtype
    np.testing.assert_array_equal(q, draw((5, 3), 0, dtype))
    assert (q != draw((5, 3), 1, dtype)).any()
    np.testing.assert_array_equal(draw(3, 0), draw((3,), 0))
    assert draw((), 0).shape == (4,)
    assert draw((2, 0), 0).shape == (2, 0, 4)


@both
def test_a_generator_goes_on_and_a_seed_starts_again(draw):
    rng = np.random.default_rng(0)
    assert (draw(3, rng) != draw(3, rng)).any()
    np.testing.assert_array_equal(draw(3, 7), draw(3, 7))
    with pytest.raises(DTypeError, match="float32 or float64"):
        draw(3, 0, np.int64)


@both
def test_float32_draws_are_the_float64_ones_rounded(draw):
    np.testing.assert_array_equal(draw(9, 0), draw(9, 0, np.float64).astype(np.float32))


def test_random_components_are_independent_and_normal():
    q = alg.random(100_000, 0, np.float64)
    assert (np.abs(q.mean(axis=0)) < 0.02).all()
    assert (np.abs(q.T @ q / len(q) - np.eye(4)) < 0.02).all()
    np.testing.assert_allclose((q**4).mean(axis=0), 3, rtol=0.05)
    np.testing.assert_allclose(alg.norm2(q).mean(), 4, rtol=0.01)


def test_random_units_are_uniform_on_the_sphere():
    q = alg.random_unit(100_000, 0, np.float64)
    np.testing.assert_allclose(alg.norm(q), 1, rtol=1e-15)
    assert (np.abs(q.mean(axis=0)) < 0.01).all()
    assert (np.abs(q.T @ q / len(q) - np.eye(4) / 4) < 0.005).all()
    np.testing.assert_allclose((q**4).mean(axis=0), 1 / 8, rtol=0.02)  # 3 / (4 * 6)
    turned = alg.rotate(q, np.array([0.0, 0, 1]))  # uniform on the sphere of space
    np.testing.assert_allclose((turned**2).mean(axis=0), 1 / 3, rtol=0.02)
    angle = alg.to_axis_angle(q)[1]  # has the density (1 - cos a) / pi
    np.testing.assert_allclose(angle.mean(), np.pi / 2 + 2 / np.pi, rtol=0.01)
