"""Between rotations: identities 36 to 41, against SciPy, and the stated rules at the edges."""

from itertools import product

import numpy as np
import pytest
from bounds import DTYPES, ONE, SEEDS, I, J, close, normals, same_rotation, units
from hypothesis import given
from scipy.spatial.transform import Rotation, Slerp

from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, OptionError, ShapeError

KINDS = list(product(("rotation", "rotor"), ("intrinsic", "chordal")))
kinds = pytest.mark.parametrize(("space", "metric"), KINDS, ids=map(" ".join, KINDS))
arcs = pytest.mark.parametrize("shortest", [True, False], ids=["shortest", "as given"])


def sine(p, q):
    """The sine of the angle between p and q (..., 1): what the error of an arc is divided by."""
    near, far = (np.linalg.norm(np.float64(x), axis=-1, keepdims=True) for x in (p - q, p + q))
    return near * far / 2


def far_from_antipodal(p, q):
    return sine(p, q)[..., 0] > 1e-6


# ----------------------------------------------------------------------------------- distance


@kinds
@DTYPES
@given(SEEDS)
def test_distance_is_a_metric_that_turns_with_its_points(space, metric, dtype, seed):
    p, q, r = units(seed, dtype, 3, 64)

    def d(a, b):
        return alg.distance(a, b, space, metric)

    scale = 4 if metric == "intrinsic" else 1
    mul = alg.multiply
    assert (d(p, q) >= 0).all()
    np.testing.assert_array_equal(d(p, p), 0)
    np.testing.assert_array_equal(d(p, q), d(q, p))
    np.testing.assert_array_equal(d(p, -q), d(-p, q))
    close(d(mul(r, p), mul(r, q)), d(p, q), 4 * 10, scale)
    close(d(mul(p, r), mul(q, r)), d(p, q), 4 * 10, scale)
    close(d(dtype(3) * p, q / dtype(7)), d(p, q), 4 * 10, scale)
    assert (d(p, r) <= d(p, q) + d(q, r) + 40 * scale * np.finfo(dtype).eps).all()
    most = {"intrinsic": 2 * np.pi, "chordal": 2} if space == "rotor" else {}
    np.testing.assert_allclose(d(p, -p), most.get(metric, 0), rtol=1e-6)


@DTYPES
@given(SEEDS)
def test_the_distance_of_rotations_is_the_smaller_of_two_and_scipys_magnitude(dtype, seed):
    p, q = units(seed, dtype, 2, 64)
    for metric in ("chordal", "intrinsic"):
        two = [alg.distance(p, s * q, "rotor", metric) for s in (dtype(1), dtype(-1))]
        close(alg.distance(p, q, "rotation", metric), np.minimum(*two), 0)
    turn = alg.multiply(p, alg.inverse(q)).astype(np.float64)
    theirs = Rotation.from_quat(turn, scalar_first=True).magnitude()
    close(alg.distance(p, q), theirs.astype(dtype), 4 * 10)
    close(alg.distance(p, q, "rotor", "chordal"), alg.norm(p - q), 4 * 2)


def test_small_distances_have_all_their_digits():
    q = alg.from_rotation_vector(np.array([3e-9, 0, 4e-9]))
    np.testing.assert_allclose(alg.distance(ONE, q), 5e-9, rtol=1e-15)
    np.testing.assert_allclose(alg.distance(ONE, -q), 5e-9, rtol=1e-15)


def test_distance_says_what_it_knows():
    for bad in ({"space": "sphere"}, {"metric": "euclid"}):
        with pytest.raises(OptionError, match="the spaces are 'rotation' and 'rotor'"):
            alg.distance(ONE, I, **bad)
    with pytest.raises(ShapeError, match="do not broadcast"):
        alg.distance(np.ones((3, 4)), np.ones((2, 4)))
    assert np.isnan(alg.distance(ONE, np.zeros(4)))
    assert alg.distance(np.ones((3, 1, 4)), np.ones((2, 4))).shape == (3, 2)


# -------------------------------------------------------------------------------------- slerp


@arcs
@DTYPES
@given(SEEDS)
def test_slerp_starts_and_ends_where_it_is_told_and_has_norm_one(shortest, dtype, seed):
    p, q = units(seed, dtype, 2, 64)
    t = np.random.default_rng(seed).random(64).astype(dtype)
    y = alg.slerp(p, q, t, shortest)
    close(alg.norm(y), np.ones(64, dtype), 4 * 4)
    np.testing.assert_array_equal(alg.slerp(p, q, 0, shortest), p)
    end = alg.slerp(p, q, 1, shortest)
    if shortest:
        near = np.where((p * q).sum(axis=-1, keepdims=True) < 0, -q, q)
        np.testing.assert_array_equal(end, near)
    else:
        np.testing.assert_array_equal(end, q)


@arcs
@DTYPES
@given(SEEDS)
def test_slerp_is_the_same_backwards_and_turns_with_its_ends(shortest, dtype, seed):
    p, q, r = units(seed, dtype, 3, 64)
    keep = far_from_antipodal(p, q)
    p, q, r = p[keep], q[keep], r[keep]
    t = np.random.default_rng(seed).integers(0, 65, len(p)).astype(dtype) / 64
    scale = 1 / sine(p, q)
    if shortest:  # an arc of at most a quarter circle, but which, if they are a quarter apart?
        q = np.where(np.abs((p * q).sum(axis=-1, keepdims=True)) < 1e-5, p, q)
        scale = 1.0
    y = alg.slerp(p, q, t, shortest)
    back = alg.slerp(q, p, 1 - t, shortest)
    if shortest:
        same_rotation(back, y, 4 * 5.0)
    else:
        close(back, y, 4 * 5.0, scale)
    mul = alg.multiply
    close(alg.slerp(mul(r, p), mul(r, q), t, shortest), mul(r, y), 4 * 6.3, scale)
    close(alg.slerp(mul(p, r), mul(q, r), t, shortest), mul(y, r), 4 * 6.3, scale)


@arcs
@DTYPES
@given(SEEDS)
def test_slerp_is_a_power_of_the_turn_from_one_end_to_the_other(shortest, dtype, seed):
    p, q = units(seed, dtype, 2, 64)
    keep = far_from_antipodal(p, q)
    p, q = p[keep], q[keep]
    t = np.random.default_rng(seed).random(len(p)).astype(dtype)
    near = np.where((p * q).sum(axis=-1, keepdims=True) < 0, -q, q) if shortest else q
    turn = alg.multiply(alg.conjugate(p), near)
    expected = alg.multiply(p, alg.power(turn, t))
    scale = 1.0 if shortest else 1 + 1 / sine(p, q)
    close(alg.slerp(p, q, t, shortest), expected, 4 * 10, scale)


@given(SEEDS)
def test_slerp_has_constant_speed_and_agrees_with_scipy(seed):
    p, q = units(seed, np.float64, 2)
    t = np.linspace(0, 1, 33)
    y = alg.slerp(p, q, t)
    steps = alg.distance(y[1:], y[:-1])
    close(steps, np.full(32, alg.distance(p, q) / 32), 40)
    theirs = Slerp([0, 1], Rotation.from_quat(np.stack([p, q]), scalar_first=True))(t)
    if alg.distance(p, q) < 3.14:
        close(alg.to_rotation_matrix(y), theirs.as_matrix(), 40)


def test_slerp_at_the_edges():
    t = np.linspace(0, 1, 5)
    y = alg.slerp(ONE, -ONE, t)  # one and the same rotation
    np.testing.assert_array_equal(y, [ONE] * 5)
    root = np.sqrt(0.5)
    y = alg.slerp(J, -J, t, shortest=False)  # the long way round: by j i = -k
    close(y, np.array([J, [0, 0, root, -root], [0, 0, 0, -1], [0, 0, -root, -root], -J]), 1)
    assert np.isfinite(alg.slerp(ONE, ONE, t)).all()
    tiny = alg.from_rotation_vector(np.array([4e-200, 0, 0]))
    np.testing.assert_allclose(alg.slerp(ONE, tiny, 0.25)[1], 0.5e-200, rtol=1e-15)
    y = alg.slerp(ONE, I, 0.5)  # equally near I and -I: to I
    close(y, np.array([root, root, 0, 0]), 1)
    beyond = alg.slerp(ONE, alg.from_axis_angle(I[1:], 0.5), np.array([-1.0, 2.0]))
    close(beyond, alg.from_axis_angle(I[1:], np.array([-0.5, 1.0])), 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slerp_between_ends_that_are_opposite_but_for_rounding_stays_on_the_sphere(dtype):
    """p + q is then all rounding, and may point along p itself: no way to go."""
    rng, eps = np.random.default_rng(0), np.finfo(dtype).eps
    p = alg.normalize(rng.standard_normal((2000, 4)).astype(dtype))
    for off in (0, 1, 2, 4, 8, 100):
        noise = (1 + off * eps * rng.uniform(-1, 1, p.shape)).astype(dtype)
        y = alg.slerp(p, alg.normalize(-p * noise), rng.uniform(size=2000).astype(dtype), False)
        np.testing.assert_allclose(alg.norm(y), 1, rtol=8 * eps)


def test_slerp_broadcasts_and_says_what_does_not_fit():
    p, q = units(0, np.float32, 3, 1), units(1, np.float32, 5)
    y = alg.slerp(p, q, normals(2, np.float32, 2, 1, 1))
    assert y.shape == (2, 3, 5, 4)
    assert y.dtype == np.float32
    assert alg.slerp(p, q, 0.5, False).shape == (3, 5, 4)
    with pytest.raises(DTypeError, match="slerp: float64 and float32 do not mix"):
        alg.slerp(p, q, np.ones(5))
    with pytest.raises(DTypeError, match="slerp: float32 and float64 do not mix"):
        alg.slerp(p, q.astype(np.float64), 0.5)


# -------------------------------------------------------------------------------------- squad


@DTYPES
@given(SEEDS)
def test_squad_goes_through_its_points_smoothly(dtype, seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.5, 2, 6)).astype(dtype)
    steps = alg.from_rotation_vector((0.5 * rng.standard_normal((6, 2, 3))).astype(dtype))
    q = steps.copy()
    for n in range(1, 6):
        q[n] = alg.multiply(q[n - 1], steps[n])
    q *= rng.choice([-1, 1], (6, 2, 1)).astype(dtype)  # signs do not matter
    at = alg.squad(times, q, times)
    assert at.dtype == dtype
    same_rotation(at, q, 4 * 4)
    t = np.linspace(times[0], times[-1], 101).astype(dtype)[1:-1]
    y = alg.squad(times, q, t)
    assert y.shape == (99, 2, 4)
    close(alg.norm(y), np.ones((99, 2), dtype), 4 * 4)
    if dtype == np.float64:
        h = 1e-5
        before, after = (
            (alg.squad(times, q, times[1:-1] + d + h) - alg.squad(times, q, times[1:-1] + d - h))
            for d in (-2 * h, 2 * h)
        )
        assert (np.abs(before - after) / (2 * h) < 1e-3).all()  # the velocity does not jump


@DTYPES
def test_squad_of_a_steady_turn_is_that_turn_and_of_two_points_slerp(dtype):
    times, t = np.array([0, 1, 1.5, 3, 4], dtype), np.linspace(0, 4, 33).astype(dtype)
    axis = np.array([1, 2, 2], dtype)
    y = alg.squad(times, alg.from_axis_angle(axis, times * dtype(0.7)), t)
    close(y, alg.from_axis_angle(axis, t * dtype(0.7)), 4 * 4)
    p, q = units(0, dtype, 2)
    ends, u = np.array([0, 4], dtype), t / 4
    same_rotation(alg.squad(ends, np.stack([p, q]), t), alg.slerp(p, q, u), 4 * 4)


def test_squad_says_what_does_not_fit():
    q = units(0, np.float64, 3)
    with pytest.raises(ShapeError, match=r"squad: takes N >= 2 times.*got \(2,\), \(3, 4\)"):
        alg.squad(np.arange(2.0), q, np.ones(1))
    with pytest.raises(OptionError, match="times must increase"):
        alg.squad(np.array([0.0, 2, 1]), q, np.ones(1))
    with pytest.raises(OptionError, match=r"between the first and the last \(0.0 and 2.0\)"):
        alg.squad(np.arange(3.0), q, np.array([2.5]))


# --------------------------------------------------------------------------------------- mean


@DTYPES
@given(SEEDS)
def test_the_mean_of_copies_is_the_rotation_itself_whatever_sign_and_size(dtype, seed):
    q = units(seed, dtype, 64)
    rng = np.random.default_rng(seed)
    copies = q * (rng.choice([-1, 1], (7, 64, 1)) * rng.uniform(0.1, 9, (7, 64, 1))).astype(dtype)
    mean = alg.mean_rotation(copies, rng.random(7).astype(dtype) + dtype(0.1))
    same_rotation(mean, q, 4 * 20)
    close(alg.norm(mean), np.ones(64, dtype), 4 * 2)
    assert (mean[:, 0] >= 0).all()


@DTYPES
@given(SEEDS)
def test_the_mean_turns_with_its_rotations_and_is_scipys(dtype, seed):
    r, center = units(seed, dtype, 2, 16)
    rng = np.random.default_rng(seed)
    spread = alg.from_rotation_vector(rng.uniform(-0.5, 0.5, (5, 16, 3)).astype(dtype))
    q, w = alg.multiply(center, spread), rng.uniform(0.5, 1, 5).astype(dtype)
    mean = alg.mean_rotation(q, w)
    mul = alg.multiply
    same_rotation(alg.mean_rotation(mul(r, q), w), mul(r, mean), 4 * 20)
    same_rotation(alg.mean_rotation(mul(q, r), w), mul(mean, r), 4 * 20)
    same_rotation(alg.mean_rotation(-q[::-1], w[::-1]), mean, 4 * 20)
    for n in range(3):
        theirs = Rotation.from_quat(np.float64(q[:, n]), scalar_first=True).mean(np.float64(w))
        same_rotation(mean[n], theirs.as_quat(scalar_first=True).astype(dtype), 4 * 20)
    each = np.broadcast_to(w[:, None], (5, 16))
    same_rotation(alg.mean_rotation(q, each), mean, 4 * 20)
    same_rotation(alg.mean_rotation(q.swapaxes(0, 1), w, axis=-1), mean, 4 * 20)


def test_mean_rules():
    q = units(0, np.float64, 3, 2)
    with pytest.raises(ShapeError, match=r"no quaternions along axis 2"):
        alg.mean_rotation(q, axis=2)
    with pytest.raises(ShapeError, match=r"no quaternions along axis 0"):
        alg.mean_rotation(q[:0])
    with pytest.raises(ShapeError, match=r"weights of shape \(2,\); give \(3,\)"):
        alg.mean_rotation(q, np.ones(2))
    for bad in ([1, -1, 1], [0, 0, 0], [1, np.nan, 1]):
        with pytest.raises(OptionError, match="weights must be >= 0"):
            alg.mean_rotation(q, np.array(bad, np.float64))
    q[1, 0], q[2, 1] = 0, np.nan
    assert np.isnan(alg.mean_rotation(q)).all()
    np.testing.assert_array_equal(alg.mean_rotation(np.array([ONE, ONE]), axis=-1), ONE)
