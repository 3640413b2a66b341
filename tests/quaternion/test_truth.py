"""The functions against 50 digits (mpmath), on quaternions at every edge of the number formats.

And every failure that was measured in a peer library, none of which occurs here.
"""

import itertools

import mpmath as mp
import numpy as np
import pytest

from quatgrad import kernels
from quatgrad import quaternion as alg

mp.mp.dps = 60
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
RUNGS = pytest.mark.parametrize("rung", ["reference", "numba_cpu"])
ONE, I, J, K = np.eye(4)


# ------------------------------------------------------------------------ the functions, exactly


def length(c):
    return mp.sqrt(mp.fsum(x * x for x in c))


def axis(v):
    n = length(v)
    return [x / n for x in v] if n else [mp.mpf(1), mp.mpf(0), mp.mpf(0)]


def polar(q):
    return length(q), mp.atan2(length(q[1:]), q[0]), axis(q[1:])


def from_polar(r, a, u):
    return [r * mp.cos(a), *(r * mp.sin(a) * x for x in u)]


TRUTH = {
    "norm": lambda q: [length(q)],
    "normalize": lambda q: [x / length(q) for x in q],
    "inverse": lambda q: [x / length(q) ** 2 for x in (q[0], -q[1], -q[2], -q[3])],
    "exp": lambda q: from_polar(mp.exp(q[0]), length(q[1:]), axis(q[1:])),
    "log": lambda q: [mp.log(length(q)), *(polar(q)[1] * x for x in axis(q[1:]))],
    "sqrt": lambda q: from_polar(mp.sqrt(length(q)), polar(q)[1] / 2, axis(q[1:])),
}


def edges(dtype):
    """Quaternions at the edges: sizes, near the units, near the negative axis, half turns."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    n = rng.standard_normal((4, 4))
    sizes = [0, 1, 30, info.maxexp // 2, info.maxexp - 3, info.minexp // 2, info.minexp]
    sizes += [info.minexp - info.nmant, -30, -5, 4]
    q = [np.ldexp(x, e) for x in (*n, ONE, I, -J, np.ones(4)) for e in sizes]
    for k in range(1, 18):
        for x in (ONE, -ONE, I, -K, n[0] / np.linalg.norm(n[0])):
            q += [x + 10.0**-k * n[0], x * (1 + 10.0**-k), x + 10.0**-k * J]
    tiny = float(info.smallest_normal), 1e-30, 1e-8
    q += [s * ONE + t * J for s in (1, -1) for t in tiny]
    q += [s * x * ONE + J * t for s in (1, -1) for x in (1e30, 1e-20) for t in (1e-30, 1)]
    q += [1e30 * I + 1e-10 * K, ONE * 0.6 + J * 0.8, (ONE + I + J + K) / 2]
    q = np.array(q).astype(dtype)
    return q[(np.isfinite(q)).all(axis=1) & (q != 0).any(axis=1)]


def relative_errors(y, exact, dtype):
    """|y - exact| / |exact| in eps, where exact is in the range of normal numbers."""
    info = np.finfo(dtype)
    size = length(exact)
    if size > float(info.max) / 2 or size < float(info.smallest_normal) * 2**30:
        return 0.0
    return float(
        length([mp.mpf(float(a)) - b for a, b in zip(y, exact, strict=True)]) / size
    ) / float(info.eps)


@DTYPES
@RUNGS
@pytest.mark.parametrize("name", TRUTH)
def test_function_is_right_to_a_few_eps(name, rung, dtype):
    q = edges(dtype)
    if name == "exp":
        q = q[np.abs(q).max(axis=1) < 80]
    with kernels.use_kernels(rung):
        y = getattr(alg, name)(q).reshape(len(q), -1)
    grows = 1 + np.linalg.norm(q.astype(np.float64), axis=1) if name == "exp" else np.ones(len(q))
    worst = max(
        relative_errors(a, TRUTH[name]([mp.mpf(float(c)) for c in x]), dtype) / g
        for a, x, g in zip(y, q, grows, strict=True)
    )
    assert worst <= 4, f"{worst:.2f} eps"


@DTYPES
@RUNGS
@pytest.mark.parametrize("t", [0.5, -0.5, 2.5, 1 / 3, -1, 3, 0, -2])
def test_power_is_right_to_a_few_eps(t, rung, dtype):
    q = edges(dtype)
    with kernels.use_kernels(rung), np.errstate(all="ignore"):
        y = alg.power(q, t)
    t = t if isinstance(t, int) else float(dtype(t))
    for a, x in zip(y, q, strict=True):
        r, angle, u = polar([mp.mpf(float(c)) for c in x])
        exact = from_polar(r ** mp.mpf(t), mp.mpf(t) * angle, u)
        if t == int(t) and not length([mp.mpf(float(c)) for c in x[1:]]):
            exact[1:] = [0, 0, 0]
        assert relative_errors(a, exact, dtype) <= 4 * (1 + 3 * abs(t)), x


@RUNGS
def test_a_small_power_of_a_large_quaternion_keeps_its_axis(rung):
    x, t = [1e135, 0.0, -2e138, 1e130], -1.34
    with kernels.use_kernels(rung):
        y = alg.power(np.array([x]), t)[0]
    r, angle, u = polar([mp.mpf(c) for c in x])
    exact = from_polar(r ** mp.mpf(t), mp.mpf(t) * angle, u)
    bound = 1e-13 * max(abs(c) for c in exact)  # |log q^t| is 427, and its error counts
    assert max(abs(mp.mpf(float(b)) - c) for b, c in zip(y, exact, strict=True)) <= bound


@DTYPES
def test_polar_is_right_to_a_few_eps(dtype):
    for x in edges(dtype):
        r, a, u = alg.polar(x)
        exact = polar([mp.mpf(float(c)) for c in x])
        assert relative_errors([r], [exact[0]], dtype) <= 4
        assert relative_errors(u, exact[2], dtype) <= 4
        if exact[1]:
            assert relative_errors([a], [exact[1]], dtype) <= 4


@RUNGS
def test_real_part_of_log_is_right_by_itself_near_modulus_one(rung):
    rng = np.random.default_rng(0)
    q = rng.standard_normal((400, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q *= 1 + 10 ** rng.uniform(-9, -1, (400, 1))
    with kernels.use_kernels(rung):
        y = alg.log(q)[:, 0]
    exact = [mp.log(length([mp.mpf(float(c)) for c in x])) for x in q]
    for a, b in zip(y, exact, strict=True):
        assert abs(mp.mpf(float(a)) - b) <= 4 * np.finfo(float).eps * abs(b) + 2.0**-76


# --------------------------------------------------------- what was measured in peer libraries


@RUNGS
@pytest.mark.parametrize("k", range(1, 300, 13))
def test_exp_and_log_keep_a_vector_part_however_small(rung, k):
    """quaternionic and numpy-quaternion drop it below 1e-14, pyquaternion below 1.5e-8."""
    v = 10.0**-k
    with kernels.use_kernels(rung):
        y = alg.exp(np.array([0, v, 0, 0])), alg.log(np.array([1, 0, v, 0]))
    np.testing.assert_allclose(y[0][1], np.sin(v), rtol=1e-15)
    np.testing.assert_allclose(y[1][2], np.arctan(v), rtol=1e-15)


@RUNGS
def test_log_of_minus_one_is_pi_i(rung):
    """pyquaternion: 0."""
    for minus in (-ONE, np.array([-1, -0.0, -0.0, -0.0])):
        with kernels.use_kernels(rung):
            np.testing.assert_array_equal(alg.log(minus), [0, np.pi, 0, 0])


@RUNGS
@pytest.mark.parametrize("k", range(1, 18))
def test_sqrt_near_minus_one_keeps_its_digits_and_its_axis(rung, k):
    """quaternionic and numpy-quaternion lose half, and below 1e-8 |q| snap to +i (error 1.96)."""
    q = np.array([-1, 0, 0, -(10.0**-k)])
    with kernels.use_kernels(rung):
        s = alg.sqrt(q)
    assert s[3] < 0
    assert s[1] == 0
    np.testing.assert_allclose(alg.multiply(s, s), q, rtol=4e-16, atol=4e-16)
    exact = TRUTH["sqrt"]([mp.mpf(float(c)) for c in q])
    np.testing.assert_allclose(s, np.array([float(c) for c in exact]), rtol=1e-15)


@RUNGS
def test_log_near_modulus_one_is_not_wrong_at_1e_minus_8(rung):
    """quaternionic and numpy-quaternion: 1.5e-9 relative."""
    q = np.array([0.6, 0, 0.8, 0]) * (1 + 1e-8)
    exact = TRUTH["log"]([mp.mpf(float(c)) for c in q])[0]
    with kernels.use_kernels(rung):
        assert abs(mp.mpf(float(alg.log(q)[0])) / exact - 1) < 1e-15


@DTYPES
@RUNGS
def test_zero_has_the_root_zero_and_its_powers_are_stated(rung, dtype):
    """quaternionic: sqrt(0) = 0^0 = 0^(1/2) = NaN; numpy-quaternion and pyquaternion: 0^-1 = 0."""
    zero, one = np.zeros((1, 4), dtype), ONE.astype(dtype)[None]
    with kernels.use_kernels(rung):
        equal = np.testing.assert_array_equal
        equal(alg.sqrt(zero), zero)
        equal(alg.log(zero), [[-np.inf, 0, 0, 0]])
        equal(alg.exp(zero), one)
        for t in (0, 0.0):
            equal(alg.power(zero, t), one)
        for t in (0.5, 1, 2.0, 3):
            equal(alg.power(zero, t), zero)
        for t in (-1, -1.0, -0.5, -2):
            assert np.isnan(alg.power(zero, t)).all()
        for p, y in ((0, 1), (1, 0), (-1, np.nan)):
            value = alg.general_power(zero, dtype(p) * one)[0]
            equal(value, [y, 0, 0, 0] if p >= 0 else [np.nan] * 4)


@DTYPES
@RUNGS
def test_inverse_of_zero_is_nan_and_leaves_the_rest_of_the_batch_alone(rung, dtype):
    """quaternionic raises ZeroDivisionError for the whole batch."""
    q = np.array([[0, 0, 0, 0], [0, 2, 0, 0], [np.inf, 1, 0, 0]], dtype)
    with kernels.use_kernels(rung):
        y = alg.inverse(q)
    np.testing.assert_array_equal(y, [[np.nan] * 4, [0, -0.5, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e38), (np.float64, 1e300)])
@RUNGS
def test_norm_normalize_inverse_of_the_largest_and_the_smallest(rung, dtype, scale):
    """|1e200| = inf and |1e-200| = 0 in every Python library; scipy normalises 1e200 to 0."""
    q = np.array([[1, -2, 2, 4], [2, 0, 0, 0]], dtype) / 4
    for s in (dtype(scale), dtype(1 / scale)):
        with kernels.use_kernels(rung):
            n, u, inv = alg.norm(q * s), alg.normalize(q * s), alg.inverse(q * s)
            ratio = alg.divide(q * s, q[::-1] * s)
        tol = {"rtol": 1e-6 if dtype == np.float32 else 1e-14}
        np.testing.assert_allclose(n / s, [1.25, 0.5], **tol)
        np.testing.assert_allclose(u, q / np.array([[1.25], [0.5]], dtype), **tol)
        if dtype == np.float64:
            np.testing.assert_allclose(inv * s, alg.inverse(q), **tol)
        np.testing.assert_allclose(ratio, alg.divide(q, q[::-1]), **tol)


@RUNGS
def test_divide_where_the_inverse_is_not_a_number(rung):
    tiny, huge = np.float64(1e-310), np.float64(1e308)
    with kernels.use_kernels(rung):
        for p, q in itertools.product((tiny, huge), repeat=2):
            y = alg.divide(p * (ONE + I), q * (ONE + I))
            with np.errstate(over="ignore"):
                np.testing.assert_allclose(y[0], p / q, rtol=1e-13, atol=0)
