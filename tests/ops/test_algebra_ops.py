"""The differentiable algebra: values are those of `quatgrad.quaternion`; gradients at the edges.

Gradients elsewhere are checked by the table of test_gradients.py.
"""

import numpy as np
import pytest

from quatgrad import Tensor, quaternion
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.ops import algebra

ONE, MINUS_ONE, ZERO = np.eye(4)[0], -np.eye(4)[0], np.zeros(4)
UNARY = ["conjugate", "norm", "inverse", "normalize", "exp", "log", "sqrt"]


def gradient(f, q, dtype=np.float64):
    """dL/dq for L = sum f(q) over the components."""
    x = Tensor(np.array(q, dtype), requires_grad=True)
    y = f(x)
    y.backward(np.ones(y.shape, dtype))
    assert x.grad.dtype == dtype
    return x.grad


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def q(request):
    return np.random.default_rng(0).standard_normal((3, 2, 4)).astype(request.param)


@pytest.mark.parametrize("name", UNARY)
def test_values_are_those_of_the_algebra(name, q):
    y = getattr(algebra, name)(Tensor(q))
    np.testing.assert_array_equal(y.data, getattr(quaternion, name)(q))
    assert y.dtype == q.dtype


def test_values_of_two_arguments_are_those_of_the_algebra(q):
    p = q[::-1].copy()
    P, Q = Tensor(p), Tensor(q)
    equal = np.testing.assert_array_equal
    equal(algebra.multiply(P, Q).data, quaternion.multiply(p, q))
    equal(algebra.power(Q, 0.3).data, quaternion.power(q, 0.3))
    equal(algebra.general_power(Q, P).data, quaternion.general_power(q, p))
    equal(algebra.matmul(P, Tensor(q.swapaxes(0, 1))).data, quaternion.matmul(p, q.swapaxes(0, 1)))
    v = q[..., 1:]
    equal(algebra.rotate(P, Tensor(v)).data, quaternion.rotate(p, v))
    p, q = quaternion.normalize(p), quaternion.normalize(q)
    y = algebra.slerp(Tensor(p), Tensor(q), 0.3).data
    np.testing.assert_allclose(y, quaternion.slerp(p, q, 0.3), atol=20 * np.finfo(q.dtype).eps)


@pytest.mark.parametrize("name", ["norm", "inverse", "normalize", "log", "sqrt"])
def test_at_zero_the_gradient_is_zero(name):
    np.testing.assert_array_equal(gradient(getattr(algebra, name), ZERO), ZERO)


@pytest.mark.parametrize("t", [0.5, -1.0, 0.999])
def test_at_zero_the_gradient_of_a_power_without_derivative_is_zero(t):
    np.testing.assert_array_equal(gradient(lambda q: algebra.power(q, t), ZERO), ZERO)


def test_at_zero_a_quaternion_power_has_the_value_of_the_algebra_and_no_gradient():
    q, p = np.zeros((3, 4)), np.array([[0.5, 0.1, 0, 0], [0, 0, 0, 0], [-1, 2, 0, 0]])
    x, t = Tensor(q, requires_grad=True), Tensor(p, requires_grad=True)
    y = algebra.general_power(x, t)
    np.testing.assert_array_equal(y.data, quaternion.general_power(q, p))
    y.backward(np.ones((3, 4)))
    np.testing.assert_array_equal(x.grad, q)
    np.testing.assert_array_equal(t.grad, q)


@pytest.mark.parametrize("t", [np.ones(2), Tensor(1.0), "a", [1, 2]])
def test_an_exponent_that_is_no_number_is_refused(t):
    for f in (lambda q: algebra.power(q, t), lambda q: algebra.slerp(q, q, t)):
        with pytest.raises(DTypeError, match="the exponent is a number"):
            f(Tensor(ONE))


def test_lists_are_taken_as_quaternions():
    y = algebra.multiply(Tensor([1, 2, 3, 4]), [0, 1, 0, 0])
    np.testing.assert_array_equal(y.data, [-2, 1, 4, -3])


def test_at_zero_turning_by_no_quaternion_has_no_gradient():
    v = Tensor(np.ones(3))
    np.testing.assert_array_equal(gradient(lambda q: algebra.rotate(q, v), ZERO), ZERO)


@pytest.mark.parametrize(
    ("name", "slope"), [("exp", np.e), ("log", 1.0), ("sqrt", 0.5), ("inverse", -1.0)]
)
def test_at_the_identity_the_gradient_is_finite_and_that_of_the_real_function(name, slope):
    np.testing.assert_allclose(gradient(getattr(algebra, name), ONE), [slope] * 4, rtol=1e-15)


def test_between_equal_rotations_slerp_has_a_finite_gradient():
    p = quaternion.random_unit(3, 0, np.float64)
    for t in (0.0, 0.3, 1.0):
        grad = gradient(lambda q, t=t: algebra.slerp(Tensor(p), q, t), p)
        assert np.isfinite(grad).all()


def test_where_log_and_sqrt_jump_the_gradient_is_that_of_the_value_taken():
    """Along the real axis and along i, as the complex function from above the cut."""
    np.testing.assert_allclose(gradient(algebra.sqrt, MINUS_ONE)[:2], [-0.5, 0.5], rtol=1e-15)
    np.testing.assert_allclose(gradient(algebra.log, MINUS_ONE)[:2], [-1, -1], rtol=1e-15)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
def test_the_gradient_of_normalize_and_norm_is_right_for_every_size(size):
    q = np.array([1.0, -2.0, 0.5, 3.0])
    near_one = gradient(algebra.normalize, q)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(gradient(algebra.normalize, q * size) * size, near_one, 1e-12)
    np.testing.assert_allclose(gradient(algebra.norm, q * size), gradient(algebra.norm, q), 1e-12)


def test_arrays_that_hold_no_quaternions_are_refused():
    with pytest.raises(ShapeError, match="of size 4"):
        algebra.exp(Tensor(np.ones(3)))
