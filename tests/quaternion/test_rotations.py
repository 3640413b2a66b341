"""Rotations: identities 30 to 35 and 40, against SciPy, and at the edges.

Bounds are four times the worst error that 200 000 samples of a careful implementation showed.
"""

from itertools import product

import numpy as np
import pytest
from bounds import DTYPES, ONE, SEEDS, I, J, K, close, normals, same_rotation, units
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, OptionError, ShapeError

PROPER = ["".join(a) for a in product("xyz", repeat=3) if a[0] == a[2] != a[1]]
TAIT_BRYAN = ["".join(a) for a in product("xyz", repeat=3) if len(set(a)) == 3]
AXES = [f(a) for a in PROPER + TAIT_BRYAN for f in (str.lower, str.upper)]


def scipy(q):
    return Rotation.from_quat(np.float64(q), scalar_first=True)


def length(v):
    return np.linalg.norm(np.float64(v), axis=-1, keepdims=True)


def any_size(seed, dtype, *shape):
    """Quaternions of all sizes, of which many are unit, near 1, or half turns."""
    most = 25 if dtype == np.float32 else 250
    sizes = 10 ** np.random.default_rng(seed).uniform(-most, most, (*shape, 1))
    return (units(seed, np.float64, *shape) * sizes).astype(dtype)


# ---------------------------------------------------------------------------------- vectors


@DTYPES
@given(SEEDS)
def test_rotate_is_the_vector_part_of_q_v_times_the_inverse_of_q(dtype, seed):
    q, v = units(seed, dtype, 64), normals(seed + 1, dtype, 64, 3)
    sandwich = alg.multiply(alg.multiply(q, alg.from_vector(v)), alg.inverse(q))
    y = alg.rotate(q, v)
    close(y, sandwich[:, 1:], 4 * 3.9, length(v))
    np.testing.assert_array_equal(alg.rotate(-q, v), y)
    np.testing.assert_array_equal(alg.rotate(np.ldexp(q, 60), v), y)
    close(alg.rotate(dtype(-3.7) * q, v), y, 4 * 3.9, length(v))
    close(alg.rotate(q, v), scipy(q).apply(v).astype(dtype), 4 * 3.9, length(v))


@DTYPES
@given(SEEDS)
def test_rotate_keeps_lengths_angles_and_orientation(dtype, seed):
    q, u, v = any_size(seed, dtype, 64), *normals(seed + 1, dtype, 2, 64, 3)
    a, b, scale = alg.rotate(q, u), alg.rotate(q, v), length(u) * length(v)
    close(length(b).astype(dtype), length(v).astype(dtype), 4 * 5.7, length(v))
    dots = [(x * y).sum(axis=-1, keepdims=True) for x, y in ((a, b), (u, v))]
    close(*dots, 4 * 5.7, scale)
    close(np.cross(a, b), alg.rotate(q, np.cross(u, v)), 4 * 5.7, scale)


@DTYPES
@given(SEEDS)
def test_rotations_compose_from_right_to_left(dtype, seed):
    p, q, v = units(seed, dtype, 64), units(seed + 1, dtype, 64), normals(seed + 2, dtype, 64, 3)
    y = alg.rotate(alg.multiply(p, q), v)
    close(alg.rotate(p, alg.rotate(q, v)), y, 4 * 7.1, length(v))
    close(alg.rotate(alg.inverse(q), alg.rotate(q, v)), v, 4 * 7.1, length(v))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_quarter_turn_about_k_takes_i_to_j(dtype):
    q = alg.from_axis_angle(K[1:].astype(dtype), np.pi / 2)
    close(alg.rotate(q, I[1:].astype(dtype)), J[1:].astype(dtype), 2)
    close(alg.to_rotation_matrix(q) @ I[1:].astype(dtype), J[1:].astype(dtype), 2)


def test_rotate_broadcasts_and_says_what_does_not_fit():
    q, v = units(0, np.float64, 3, 1), normals(1, np.float64, 5, 3)
    y = alg.rotate(q, v)
    assert y.shape == (3, 5, 3)
    for n, m in np.ndindex(3, 5):
        close(y[n, m], alg.rotate(q[n, 0], v[m]), 2, length(v[m]))
    with pytest.raises(ShapeError, match=r"rotate: .*vectors.*size 3; got \(5, 4\)"):
        alg.rotate(q, np.ones((5, 4)))
    with pytest.raises(ShapeError, match="do not broadcast"):
        alg.rotate(q[:, 0], np.ones((2, 3)))
    with pytest.raises(DTypeError, match="float64 and float32 do not mix"):
        alg.rotate(q, v.astype(np.float32))


# --------------------------------------------------------------------------------- matrices


@DTYPES
@given(SEEDS)
def test_rotation_matrices_are_orthogonal_and_multiply_as_their_quaternions(dtype, seed):
    p, q = units(seed, dtype, 64), any_size(seed + 1, dtype, 64)
    M = alg.to_rotation_matrix
    eye = np.broadcast_to(np.eye(3, dtype=dtype), (64, 3, 3))
    close(M(q) @ M(q).swapaxes(-1, -2), eye, 4 * 7.2)
    close(np.linalg.det(M(q).astype(np.float64)).astype(dtype), np.ones(64, dtype), 4 * 7.2)
    close(M(p) @ M(q), M(alg.multiply(p, alg.normalize(q))), 4 * 6.3)
    close(M(alg.inverse(p)), M(p).swapaxes(-1, -2), 4 * 6.3)
    close(M(p), scipy(p).as_matrix().astype(dtype), 4 * 6.3)
    v = normals(seed + 2, dtype, 64, 3)
    close((M(q) @ v[..., None])[..., 0], alg.rotate(q, v), 4 * 6.3, length(v))


@DTYPES
@given(SEEDS)
def test_a_rotation_matrix_gives_its_quaternion_back(dtype, seed):
    q = units(seed, dtype, 4, 16)
    back = alg.from_rotation_matrix(alg.to_rotation_matrix(q))
    same_rotation(back, q, 4 * 2.1)
    close(alg.norm(back), np.ones((4, 16), dtype), 4 * 1.5)
    assert (back[..., 0] >= 0).all()
    close(back[1, 2], alg.from_rotation_matrix(alg.to_rotation_matrix(q[1, 2])), 0)


@DTYPES
@given(SEEDS)
def test_half_turns_come_back_with_their_first_component_positive(dtype, seed):
    axes = normals(seed, np.float64, 64, 3)
    whole = np.random.default_rng(seed).integers(-2, 3, (64, 3)) + np.array([0.0, 0, 5])
    for v in (axes, whole, np.eye(3), -np.eye(3)):
        v /= length(v)
        R = (2 * v[:, :, None] * v[:, None] - np.eye(3)).astype(dtype)
        q = alg.from_rotation_matrix(R)
        np.testing.assert_array_equal(q[:, 0], 0)
        first = q[np.arange(len(q)), (q != 0).argmax(axis=1)]
        assert (first > 0).all()
        same_rotation(q, alg.from_vector(v.astype(dtype)), 4 * 2.1)
        assert not np.signbit(q[q == 0]).any()


@DTYPES
@given(SEEDS)
def test_of_any_matrix_of_positive_determinant_the_nearest_rotation_is_found(dtype, seed):
    M = normals(seed, np.float64, 64, 3, 3)
    M *= np.sign(np.linalg.det(M))[:, None, None]
    U, s, V = np.linalg.svd(M)
    M = M[(s[:, 1] + s[:, 2] > 0.1) & (s[:, 2] > 0.01)]
    U, s, V = np.linalg.svd(M.astype(dtype).astype(np.float64))
    q = alg.from_rotation_matrix(M.astype(dtype))
    scale = (s[:, :1] / (s[:, 1:2] + s[:, 2:]))[..., None]
    close(alg.to_rotation_matrix(q), (U @ V).astype(dtype), 100, scale)


@DTYPES
@given(SEEDS)
def test_a_scaled_or_slightly_wrong_rotation_matrix_is_that_rotation(dtype, seed):
    q = units(seed, dtype, 64)
    R = alg.to_rotation_matrix(q)
    info = np.finfo(dtype)
    for s in (info.max / 1.01, info.max / 4, 3.7, info.tiny * 2**20):
        same_rotation(alg.from_rotation_matrix(R * dtype(s)), q, 20)
    noise = normals(seed + 1, dtype, 64, 3, 3)
    for n in (1e-6, 1e-3):
        near = alg.from_rotation_matrix(R + dtype(n) * noise)
        assert (alg.distance(near, q) < 8 * n).all()


@DTYPES
@pytest.mark.parametrize(
    "R",
    [-np.eye(3), np.diag([1, -1, 1]), np.diag([1, 1, 0]), np.zeros((3, 3)), np.ones((3, 3)),
     [[0, 1, 0], [1, 0, 0], [0, 0, 1]]],
    ids=["-1", "mirror", "plane", "zero", "ones", "swap"],
)  # fmt: skip
def test_reflections_and_singular_matrices_are_refused(dtype, R):
    R = np.stack([np.eye(3, dtype=dtype), np.asarray(R, dtype), np.eye(3, dtype=dtype)])
    for s in (1, 1e-20, 1e20):
        with pytest.raises(OptionError, match="1 of 3 matrices are reflections or singular"):
            alg.from_rotation_matrix(R * dtype(s))


def test_matrices_that_are_none_are_refused_and_nan_gives_nan():
    with pytest.raises(ShapeError, match=r"\(\.\.\., 3, 3\); got shape \(3, 4\)"):
        alg.from_rotation_matrix(np.ones((3, 4)))
    with pytest.raises(DTypeError, match="float32 or float64"):
        alg.from_rotation_matrix(np.eye(3, dtype=int))
    R = np.stack([np.eye(3)] * 3)
    R[1, 0, 2], R[2, 1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(alg.from_rotation_matrix(R), [ONE, [np.nan] * 4, [np.nan] * 4])
    assert alg.from_rotation_matrix(np.empty((0, 2, 3, 3))).shape == (0, 2, 4)


# ------------------------------------------------------------------------- angles and axes


@DTYPES
@given(SEEDS)
def test_axis_and_angle_round_trip(dtype, seed):
    q = units(seed, dtype, 64)
    axis, angle = alg.to_axis_angle(q)
    assert ((angle >= 0) & (angle <= dtype(np.pi))).all()
    same_rotation(alg.from_axis_angle(axis, angle), q, 4 * 10)
    turned = np.abs(q[:, 1:]).max(axis=-1) > 0
    close(length(axis[turned]).astype(dtype), np.ones((turned.sum(), 1), dtype), 4)
    np.testing.assert_array_equal(axis[~turned], 0)
    np.testing.assert_array_equal(angle[~turned], 0)
    for x, y in zip(alg.to_axis_angle(-q), (axis, angle), strict=True):
        np.testing.assert_array_equal(x, y)
    long = np.ldexp(axis, 100)
    np.testing.assert_array_equal(
        alg.from_axis_angle(long, angle), alg.from_axis_angle(axis, angle)
    )


@DTYPES
@given(SEEDS, st.floats(-20, 0))
def test_rotation_vectors_round_trip_for_angles_of_any_size(dtype, seed, power):
    v = normals(seed, np.float64, 64, 3)
    v *= 3.14 * 10.0**power / length(v)
    v = v.astype(dtype)
    q = alg.from_rotation_vector(v)
    close(alg.norm(q), np.ones(64, dtype), 4)
    close(alg.to_rotation_vector(q), v, 4 * 10, np.maximum(length(v), 1e-25))
    expected = Rotation.from_rotvec(np.float64(v)).as_quat(scalar_first=True)
    close(q, expected.astype(dtype), 4 * 10)
    close(alg.to_rotation_vector(-q), alg.to_rotation_vector(q), 0)


@DTYPES
@given(SEEDS)
def test_rotation_vectors_are_axis_times_angle_twice_the_logarithm_and_scipys(dtype, seed):
    q = units(seed, dtype, 64)
    v = alg.to_rotation_vector(q)
    axis, angle = alg.to_axis_angle(q)
    close(v, axis * angle[:, None], 0)
    up = q[:, 0] > 0
    close(v[up], 2 * alg.log(q[up])[:, 1:], 4 * 10)
    up = np.abs(q[:, 0]) > 1e-3
    close(v[up], scipy(q[up]).as_rotvec().astype(dtype), 4 * 10)


def test_tiny_angles_keep_all_their_digits():
    v = np.array([3e-200, -4e-200, 0])
    q = alg.from_rotation_vector(v)
    np.testing.assert_array_equal(q, [1, 1.5e-200, -2e-200, 0])
    np.testing.assert_allclose(alg.to_rotation_vector(q), v, rtol=1e-15)
    axis, angle = alg.to_axis_angle(q)
    np.testing.assert_allclose(axis, [0.6, -0.8, 0], rtol=1e-15)
    np.testing.assert_allclose(angle, 5e-200, rtol=1e-15)


def test_zero_and_nan_are_no_rotation_and_a_zero_axis_turns_nothing():
    nan = np.array([[0, 0, 0, 0], [np.nan, 1, 0, 0]])
    for y in (
        alg.rotate(nan, np.ones(3)),
        alg.to_rotation_matrix(nan),
        alg.to_rotation_vector(nan),
        alg.to_euler(nan, "xyz"),
        *alg.to_axis_angle(nan),
    ):
        assert np.isnan(y).all()
    np.testing.assert_array_equal(alg.from_axis_angle(np.zeros((2, 3)), 2.0), [ONE, ONE])


def test_angles_may_be_numbers_or_arrays_that_broadcast():
    axis, angle = normals(0, np.float32, 3, 1, 3), normals(1, np.float32, 5)
    assert alg.from_axis_angle(axis, angle).shape == (3, 5, 4)
    assert alg.from_axis_angle(axis, 1).dtype == np.float32
    assert alg.from_axis_angle(axis, np.float64(1)).dtype == np.float32
    with pytest.raises(DTypeError, match="from_axis_angle: float64 and float32 do not mix"):
        alg.from_axis_angle(axis, angle.astype(np.float64))
    with pytest.raises(ShapeError, match=r"from_axis_angle: .*axes.*size 3; got \(4,\)"):
        alg.from_axis_angle(np.ones(4), 1.0)
    with pytest.raises(ShapeError, match=r"from_rotation_vector: .*size 3"):
        alg.from_rotation_vector(np.ones(4))


# -------------------------------------------------------------------------------------- Euler


@DTYPES
@pytest.mark.parametrize("axes", AXES)
@given(SEEDS)
def test_euler_angles_round_trip_and_agree_with_scipy(axes, dtype, seed):
    q = any_size(seed, dtype, 64)
    angles = alg.to_euler(q, axes)
    half = np.pi * (1 + 4 * np.finfo(dtype).eps)
    ends, middle = angles[:, ::2], angles[:, 1]
    assert (np.abs(ends) <= half).all()
    center = np.pi / 2 if axes[0] == axes[2] else 0
    assert (np.abs(middle - center) <= half / 2).all()
    same_rotation(alg.from_euler(angles, axes), alg.normalize(q), 4 * 10)

    angles = alg.to_euler(units(seed, dtype, 64), axes)
    theirs = scipy(units(seed, dtype, 64))
    lock = np.cos(np.float64(angles[:, 1]) - center)
    free = lock > 1e-2
    difference = angles[free] - theirs[free].as_euler(axes)
    turn = np.abs((difference + np.pi) % (2 * np.pi) - np.pi)
    assert (turn <= 40 * np.finfo(dtype).eps / lock[free, None]).all()
    close(
        alg.to_rotation_matrix(alg.from_euler(angles, axes)),
        Rotation.from_euler(axes, np.float64(angles)).as_matrix().astype(dtype),
        4 * 10,
    )


@DTYPES
@pytest.mark.parametrize("axes", AXES)
@given(SEEDS)
@example(0)
def test_at_gimbal_lock_the_third_angle_is_zero_and_the_rotation_is_right(axes, dtype, seed):
    angles = np.random.default_rng(seed).uniform(-3, 3, (8, 3)).astype(dtype)
    angles[:, 1] = np.resize([0, np.pi] if axes[0] == axes[2] else [-np.pi / 2, np.pi / 2], 8)
    q = alg.from_euler(angles, axes)
    again = alg.to_euler(q, axes)
    np.testing.assert_array_equal(again[:, 2], 0)
    same_rotation(alg.from_euler(again, axes), q, 4 * 10)
    angles[:, 1] += (normals(seed, np.float64, 8) * 10 ** -np.linspace(1, 16, 8)).astype(dtype)
    q = alg.from_euler(angles, axes)  # near the lock, at any distance
    same_rotation(alg.from_euler(alg.to_euler(q, axes), axes), q, 4 * 10)


@pytest.mark.parametrize("axes", AXES)
def test_a_turn_about_one_axis_has_the_other_two_angles_exactly_zero(axes):
    for n in range(3):
        angles = np.zeros((4, 3))
        angles[:, n] = [1e-20, 0.1, 1, 1.5]
        again = alg.to_euler(alg.from_euler(angles, axes), axes)
        if axes[0] == axes[2] and n != 1:
            np.testing.assert_array_equal(again[:, 1:], 0)  # locked: all in the first
            angles = angles[:, [n, 1, 2 - n]]
        np.testing.assert_allclose(again, angles, rtol=1e-15)


def test_capital_axes_turn_with_the_body_and_small_ones_stay_in_the_room():
    a = normals(0, np.float64, 3)
    x, y, z = (alg.from_euler(a[n : n + 1], "xyz"[n]) for n in range(3))
    close(x, alg.from_axis_angle(I[1:], a[0]), 1)
    close(alg.from_euler(a, "XYZ"), alg.multiply(x, alg.multiply(y, z)), 2)
    close(alg.from_euler(a, "xyz"), alg.multiply(z, alg.multiply(y, x)), 2)
    close(alg.from_euler(a[:2], "XY"), alg.multiply(x, y), 0)


@pytest.mark.parametrize("axes", ["", "xy", "XXY", "xyy", "xYz", "abc", "xyzx", 3, None])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(OptionError, match=r"to_euler: axes .*give 3 letters"):
        alg.to_euler(np.ones(4), axes)
    if axes != "xy":
        with pytest.raises(OptionError, match=r"from_euler: axes .*give 1 or 2 or 3 letters"):
            alg.from_euler(np.ones(3), axes)


def test_as_many_angles_as_axes():
    with pytest.raises(ShapeError, match=r"from_euler: the angles about 'ZYX'.*size 3; got \(2,\)"):
        alg.from_euler(np.ones(2), "ZYX")
