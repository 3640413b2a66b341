"""exp, log, sqrt, powers and the polar form: rules at the edges, shapes, messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import kernels
from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, ShapeError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
RUNGS = pytest.mark.parametrize("rung", ["reference", "numba_cpu"])
SEEDS = st.integers(0, 2**32 - 1)
ONE, I, J, K = np.eye(4)
UNARY = (alg.exp, alg.log, alg.sqrt)


@RUNGS
@given(seed=SEEDS)
def test_on_each_plane_they_are_the_complex_functions(rung, seed):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((50, 2)) @ [1, 1j]
    u = alg.normalize(np.append(0, rng.standard_normal(3)))

    def embed(z):
        return z.real[:, None] * ONE + z.imag[:, None] * u

    z = np.where(z.imag < 0, z.conj(), z)
    with kernels.use_kernels(rung):
        for f, g in zip(UNARY, (np.exp, np.log, np.sqrt), strict=True):
            np.testing.assert_allclose(f(embed(z)), embed(g(z)), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(alg.power(embed(z), 1.7), embed(z**1.7), atol=1e-12)
        w = embed(np.broadcast_to(0.3 + 0.4j, 50))
        np.testing.assert_allclose(
            alg.general_power(embed(z), w), embed(z ** (0.3 + 0.4j)), rtol=1e-12, atol=1e-12
        )


@DTYPES
@RUNGS
@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("others", [0.0, 1.0, np.inf, -np.inf])
def test_nan_in_any_slot_gives_nan_in_all(slot, others, rung, dtype):
    q = np.full(4, others, dtype)
    q[slot] = np.nan
    with kernels.use_kernels(rung):
        for f in (*UNARY, alg.normalize, alg.inverse, lambda q: alg.power(q, 0.5)):
            assert np.isnan(f(q)).all()
        for t in (0, 0.0, 1.0, -1, 2):
            with np.errstate(invalid="ignore"):
                assert np.isnan(alg.power(q, t)).all()
        assert alg.norm(q) == np.inf if np.isinf(others) else np.isnan(alg.norm(q))


@DTYPES
@RUNGS
def test_infinity_has_a_direction(rung, dtype):
    inf = np.inf
    q = np.array([[inf, 1, 0, 0], [-inf, 0, 2, 0], [inf, 0, -inf, 3], [0, 0, 0, inf]], dtype)
    half = np.sqrt(0.5)
    with kernels.use_kernels(rung):
        np.testing.assert_allclose(
            alg.normalize(q), [[1, 0, 0, 0], [-1, 0, 0, 0], [half, 0, -half, 0], K], rtol=1e-6
        )
        np.testing.assert_array_equal(alg.inverse(q), np.zeros_like(q))
        np.testing.assert_allclose(
            alg.log(q),
            [[inf, 0, 0, 0], [inf, 0, np.pi, 0], [inf, 0, -np.pi / 4, 0], [inf, 0, 0, np.pi / 2]],
            rtol=1e-6,
        )
        np.testing.assert_array_equal(alg.sqrt(q)[0], [inf, 0, 0, 0])
        np.testing.assert_array_equal(alg.sqrt(q)[1], [0, 0, inf, 0])
        e = alg.exp(q)
        np.testing.assert_array_equal(e[0], [inf, inf, 0, 0])
        np.testing.assert_array_equal(e[1], [0, 0, 0, 0])
        assert np.isnan(e[3]).all()


@RUNGS
def test_exp_is_finite_where_only_its_modulus_is_not(rung):
    q = np.array([710, np.pi / 2 + 0.01, 0, 0])
    with kernels.use_kernels(rung):
        y = alg.exp(q)
    np.testing.assert_allclose(y[0], -np.sin(0.01) * np.exp(700) * np.exp(10), rtol=1e-9)
    assert y[1] == np.inf


@DTYPES
@given(seed=SEEDS)
def test_whole_powers_are_products(dtype, seed):
    q = np.random.default_rng(seed).integers(-3, 4, (20, 4)).astype(dtype)
    p = np.broadcast_to(ONE.astype(dtype), q.shape)
    for t in range(5):
        np.testing.assert_array_equal(alg.power(q, t), p)
        p = alg.multiply(p, q)
    fine = (q != 0).any(axis=1)
    np.testing.assert_array_equal(alg.power(q, -1)[fine], alg.inverse(q)[fine])


def test_power_of_one_is_a_copy():
    q = np.ones((2, 4))
    y = alg.power(q, 1)
    assert not np.shares_memory(q, y)
    np.testing.assert_array_equal(y, q)


@DTYPES
@RUNGS
def test_exponents_broadcast_with_the_leading_axes(rung, dtype):
    rng = np.random.default_rng(0)
    q, t = rng.standard_normal((3, 1, 4)).astype(dtype), rng.standard_normal((5,)).astype(dtype)
    with kernels.use_kernels(rung):
        y = alg.power(q, t)
        assert y.shape == (3, 5, 4)
        assert y.dtype == dtype
        for i, j in np.ndindex(3, 5):
            np.testing.assert_allclose(y[i, j], alg.power(q[i, 0], float(t[j])), rtol=1e-5)


@DTYPES
@given(seed=SEEDS)
def test_from_polar_undoes_polar(dtype, seed):
    q = np.random.default_rng(seed).standard_normal((30, 4)).astype(dtype)
    r, a, u = alg.polar(q)
    assert (r.shape, a.shape, u.shape) == ((30,), (30,), (30, 3))
    assert {x.dtype for x in (r, a, u)} == {np.dtype(dtype)}
    assert ((a >= 0) & (a < 3.15)).all()
    np.testing.assert_allclose(alg.from_polar(r, a, u), q, atol=32 * np.finfo(dtype).eps)


def test_polar_form_of_real_numbers_has_the_axis_i():
    r, a, u = alg.polar(np.array([[2.0, 0, 0, 0], [-2, 0, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(r, [2, 2, 0])
    np.testing.assert_array_equal(a, [0, np.pi, 0])
    np.testing.assert_array_equal(u, [[1, 0, 0]] * 3)


def test_from_polar_broadcasts():
    y = alg.from_polar(np.array([1.0, 2.0]), np.array(0.5), np.array([0, 0, 1.0]))
    c, s = np.cos(0.5), np.sin(0.5)
    np.testing.assert_array_equal(y, [[c, 0, 0, s], [2 * c, 0, 0, 2 * s]])


def test_general_power_has_log_on_the_left():
    q, p = np.array([1.0, 2, 3, 4]), np.array([0.5, -1, 0, 2])
    np.testing.assert_array_equal(alg.general_power(q, p), alg.exp(alg.multiply(alg.log(q), p)))
    np.testing.assert_allclose(alg.general_power(q, 2 * ONE), alg.power(q, 2), rtol=1e-14)
    assert alg.general_power(np.ones((3, 1, 4)), np.ones((5, 4))).shape == (3, 5, 4)


def test_what_does_not_fit_is_refused():
    q = np.ones((3, 4))
    with pytest.raises(ShapeError, match=r"\(3,\) and \(2,\) do not broadcast"):
        alg.power(q, np.ones(2))
    with pytest.raises(DTypeError, match="float64 to float32 does not mix"):
        alg.power(q, np.ones(3, np.float32))
    with pytest.raises(DTypeError, match="got a str"):
        alg.power(q, "2")
    with pytest.raises(ShapeError, match=r"axes are vectors \(..., 3\)"):
        alg.from_polar(np.ones(3), np.ones(3), np.ones((3, 4)))
