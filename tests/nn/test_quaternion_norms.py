"""Batch norm of quaternions: what covariance comes out, and what it does not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Tensor, nn, ops, quaternion
from quatgrad.errors import ShapeError
from quatgrad.testing import check_gradients

SEEDS = st.integers(0, 2**32)


def correlated(seed, rows=200, Q=3, dtype=np.float64):
    """Quaternions whose components depend on one another, far from 0."""
    rng = np.random.default_rng(seed)
    q = np.einsum("mqc,qcb->mqb", rng.standard_normal((rows, Q, 4)), rng.standard_normal((Q, 4, 4)))
    return quaternion.from_quaternions(q + 5 * rng.standard_normal(4)).astype(dtype)


def covariances(y):
    """The 4 x 4 covariance matrix of each quaternion, in float64."""
    q = quaternion.as_quaternions(np.asarray(y, np.float64))
    c = q - q.mean(0)
    return np.einsum("mqb,mqc->qbc", c, c) / len(c)


def symmetric(seed, Q):
    g = np.random.default_rng(seed).standard_normal((4, 4, Q))
    return g + g.swapaxes(0, 1)


def rounding(x):
    """A bound of what the condition of V makes of rounding; one draw in 700 goes above 1e-8."""
    return max(1e-8, 32 * np.finfo(float).eps * np.linalg.cond(covariances(x)).max())


def whiten(x, gamma, eps=0.0):
    C, Q = x.shape[-1], x.shape[-1] // 4
    state = Tensor(np.zeros(C, x.dtype)), Tensor(np.zeros((Q, 4, 4), x.dtype))
    shift = Tensor(np.zeros(C, x.dtype))
    return ops.whitening_norm(Tensor(x), Tensor(gamma), shift, *state, True, eps=eps).data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=SEEDS)
def test_the_output_has_the_covariance_asked_for(dtype, seed):
    x, gamma = correlated(seed, dtype=dtype), symmetric(seed, 3).astype(dtype)
    got, target = covariances(whiten(x, gamma)), np.einsum("bdq,cdq->qbc", gamma, gamma)
    scale = np.abs(target).max()
    # float32 rounds x itself, and the inverse root enlarges that by the condition of V
    condition = np.linalg.cond(covariances(x)).max() ** 0.5
    tolerance = max(1e-5, 32 * np.finfo(dtype).eps * condition)
    np.testing.assert_allclose(got, target, atol=tolerance * scale)


def test_the_layer_starts_at_covariance_one_quarter_and_learns_any():
    x = correlated(0, 1000, 4, np.float32)
    layer = nn.QBatchNorm2d(16)
    V = covariances(x)
    shrunk = V @ np.linalg.inv(V + layer.eps * np.eye(4))  # eps takes this much
    np.testing.assert_allclose(covariances(layer(Tensor(x)).data), shrunk / 4, atol=1e-5)
    assert layer.scale.shape == (40,)
    assert layer.weight_parameters() == []


@given(seed=SEEDS)
def test_whitening_does_not_see_an_affine_change_but_for_a_rotation(seed):
    """z(A x + b) = O z(x), O orthogonal: identity 47."""
    rng = np.random.default_rng(seed)
    x, half = correlated(seed, Q=1), np.eye(4)[..., None]
    A = 0.3 * rng.standard_normal((4, 4)) + 3 * np.eye(4)  # far from singular: eps counts there
    z, z_ = whiten(x, half), whiten(x @ A.T + rng.standard_normal(4), half)
    O = z_.T @ z / len(z)
    np.testing.assert_allclose(O @ O.T, np.eye(4), atol=rounding(x))
    np.testing.assert_allclose(z_, z @ O.T, atol=10 * rounding(x))


@given(seed=SEEDS)
def test_whitening_commutes_with_multiplication_by_units_on_either_side(seed):
    x, eye = correlated(seed), np.stack([np.eye(4)] * 3, -1)
    u, v = quaternion.random_unit((2,), seed, np.float64)

    def turn(x):
        q = quaternion.multiply(u, quaternion.multiply(quaternion.as_quaternions(x), v))
        return quaternion.from_quaternions(q)

    np.testing.assert_allclose(whiten(turn(x), eye), turn(whiten(x, eye)), atol=rounding(x))


@pytest.mark.parametrize("rows", [2, 3, 4, 5])
def test_too_few_rows_for_a_covariance_stay_finite(rows):
    x = correlated(1, rows).astype(np.float32)
    x[:, 0] = 7  # a component that never changes
    tensor = Tensor(x, requires_grad=True)
    y = nn.QBatchNorm2d(12)(tensor)
    (y * y * y).sum().backward()
    assert np.isfinite(y.data).all()
    assert np.abs(y.data).max() < 3
    assert np.isfinite(tensor.grad).all()
    x[:] = 7
    np.testing.assert_array_equal(nn.QBatchNorm2d(12)(Tensor(x)).data, 0)


@given(seed=SEEDS)
def test_variance_norm_gives_length_one_and_keeps_proportions(seed):
    x = correlated(seed)
    norm = nn.QVarianceNorm2d(12, eps=0)
    for t in (norm.scale, norm.shift, norm.running_mean, norm.running_var):
        t._array = t._array.astype(np.float64)
    y = norm(Tensor(x)).data
    V, W = covariances(x), covariances(y)
    np.testing.assert_allclose(np.trace(W, axis1=1, axis2=2), 1, rtol=1e-10)
    np.testing.assert_allclose(W, V / np.trace(V, axis1=1, axis2=2)[:, None, None], atol=1e-10)


def test_variance_norm_gradients():
    rng = np.random.default_rng(0)
    x, scale, shift = rng.standard_normal((5, 8)), rng.standard_normal(2), rng.standard_normal(8)
    for training in (True, False):

        def f(x, scale, shift, training=training):
            state = (Tensor(np.full(n, 0.5, x.dtype)) for n in (8, 2))
            return ops.variance_norm(x, scale, shift, *state, training)

        check_gradients(f, x, scale, shift)


@pytest.mark.parametrize("kind", [nn.QVarianceNorm2d, nn.QBatchNorm2d])
def test_running_statistics_are_those_that_evaluation_uses(kind):
    norm = kind(12, momentum=1.0)
    x = correlated(2, 50, dtype=np.float32)
    trained = norm(Tensor(x)).data
    factor = (50 / 49) ** 0.5  # the running variance is the unbiased one
    evaluated = norm.eval()(Tensor(x))
    np.testing.assert_allclose(evaluated.data * factor, trained, atol=1e-4)
    np.testing.assert_allclose(norm.running_mean.data, x.mean(0), rtol=1e-4)
    before = norm.state_dict()
    one = norm(Tensor(x[:1]))
    np.testing.assert_allclose(one.data, evaluated.data[:1], rtol=1e-5)
    for name, array in norm.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    y = norm(Tensor(x, requires_grad=True))
    norm.running_mean.data = norm.running_mean.data + 1
    y.sum().backward()  # the graph has its own copy of the statistics
    covs = before.get("running_cov")
    if covs is not None:
        np.testing.assert_allclose(covs, covariances(x) * 50 / 49, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [nn.QVarianceNorm2d, nn.QBatchNorm2d])
def test_errors(kind):
    with pytest.raises(ShapeError, match=f"{kind.__name__}: .*multiple of 4; got 6"):
        kind(6)
    with pytest.raises(ShapeError, match=r"call .eval\(\) first"):
        kind(4)(Tensor([[1.0, 2, 3, 4]]))
    with pytest.raises(ShapeError, match=r"expected 8 channels \(2 quaternions\); .*\(2, 4\)"):
        kind(8)(Tensor(np.ones((2, 4), np.float32)))
    assert repr(kind(8)) == f"{kind.__name__}(8)"


@given(seed=SEEDS)
def test_large_quaternions_on_a_line_stay_finite(seed):
    """Rounding makes some of the zero eigenvalues of V negative, by more than eps."""
    rng = np.random.default_rng(seed)
    x = 1e8 * rng.standard_normal((50, 1)) * rng.standard_normal(4)
    tensor = Tensor(x, requires_grad=True)
    state = Tensor(np.zeros(4)), Tensor(np.zeros((1, 4, 4)))
    gamma = Tensor(np.eye(4)[..., None])
    y = ops.whitening_norm(tensor, gamma, Tensor(np.zeros(4)), *state, True)
    y.backward(np.ones(y.shape))
    assert np.isfinite(y.data).all()
    assert np.isfinite(tensor.grad).all()
