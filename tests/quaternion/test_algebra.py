"""The algebra's identities, with measured bounds, and what they make of layers and networks.

Bounds are in units of eps, times the scale of the error: four times the worst seen in 200 000
samples of a careful implementation.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quatgrad import Tensor, generator, kernels, models, nn, ops
from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, ShapeError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
RUNGS = pytest.mark.parametrize("rung", ["reference", "gemm", "numba_cpu"])
SEEDS = st.integers(0, 2**32 - 1)
ONE, I, J, K = np.eye(4)


def spread(seed, dtype, count, *shape):
    """`count` arrays of quaternions: components over 5 or 30 decades, some zero, some alike."""
    rng = np.random.default_rng(seed)
    decades = 2.5 if dtype == np.float32 else 15
    shape = (count, *(shape or (64,)), 4)
    q = rng.standard_normal(shape) * 10 ** rng.uniform(-decades, decades, shape)
    q[rng.random(shape) < 0.05] = 0
    same = rng.random(shape[:-1]) < 0.3  # all four components of one size, so that they cancel
    q[same] = rng.standard_normal((same.sum(), 4))
    return q.astype(dtype)


def close(a, b, eps, scale=1.0):
    """|a - b| <= eps units in the last place of `scale`, by quaternion, by number or by matrix."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    error = np.abs(np.float64(a) - np.float64(b))
    while error.ndim > np.ndim(scale) and np.ndim(scale):
        error = error.max(axis=-1)
    assert (error <= eps * np.finfo(a.dtype).eps * np.float64(scale)).all()


def size(q):
    return alg.norm(q).astype(np.float64)


# -------------------------------------------------------------------------- exact identities


@DTYPES
def test_squares_of_i_j_k_and_the_product_i_j_k_are_minus_one(dtype):
    one, i, j, k = np.eye(4, dtype=dtype)
    mul = alg.multiply
    for product in (mul(i, i), mul(j, j), mul(k, k), mul(mul(i, j), k), mul(i, mul(j, k))):
        np.testing.assert_array_equal(product, -one)
        assert product.dtype == dtype


TABLE = [(ONE, I, J, K), (I, -ONE, K, -J), (J, -K, -ONE, I), (K, J, -I, -ONE)]


@pytest.mark.parametrize("a", range(4))
@pytest.mark.parametrize("b", range(4))
def test_each_product_of_two_units_is_the_one_in_hamiltons_table(a, b):
    units = (ONE, I, J, K)
    np.testing.assert_array_equal(alg.multiply(units[a], units[b]), TABLE[a][b])
    np.testing.assert_array_equal(alg.left_matrix(units[a])[:, b], TABLE[a][b])
    np.testing.assert_array_equal(alg.right_matrix(units[b])[:, a], TABLE[a][b])


@DTYPES
@given(SEEDS)
def test_more_identities_that_hold_without_any_rounding(dtype, seed):
    p, q = spread(seed, dtype, 2)
    equal = np.testing.assert_array_equal
    equal(alg.dot(p, q), alg.dot(q, p))
    equal(alg.from_vector(alg.vector(q)) + alg.real(q)[:, None] * ONE.astype(dtype), q)
    equal(alg.left_matrix(alg.conjugate(q)), alg.left_matrix(q).swapaxes(-1, -2))
    equal(alg.right_matrix(alg.conjugate(q)), alg.right_matrix(q).swapaxes(-1, -2))
    equal(alg.left_matrix(q)[..., 0], q)
    equal(alg.right_matrix(q)[..., 0], q)
    equal(alg.norm(np.abs(q)), alg.norm(q))
    equal(alg.norm(alg.conjugate(q)), alg.norm(q))


@given(SEEDS)
def test_products_do_not_commute(seed):
    p, q = np.random.default_rng(seed).integers(-1000, 1000, (2, 64, 4)).astype(np.float64)
    assert (alg.multiply(p, q) != alg.multiply(q, p)).any()


# --------------------------------------------- identities up to rounding: see test_identities.py


@DTYPES
@given(SEEDS)
def test_matrices_multiply_as_their_quaternions(dtype, seed):
    p, q = spread(seed, dtype, 2)
    scale = size(p) * size(q)
    product, L, R = alg.multiply(p, q), alg.left_matrix, alg.right_matrix
    close((L(p) @ q[..., None])[..., 0], product, 4 * 1.2, scale)
    close((R(q) @ p[..., None])[..., 0], product, 4 * 1.3, scale)
    close(L(p) @ L(q), L(product), 4 * 1.4, scale)
    close(R(q) @ R(p), R(product), 4 * 1.4, scale)
    close(L(p) @ R(q), R(q) @ L(p), 4 * 1.3, scale)


@given(SEEDS)
def test_determinant_of_the_left_matrix_is_the_fourth_power_of_the_norm(seed):
    (q,) = np.random.default_rng(seed).standard_normal((1, 64, 4))
    close(np.linalg.det(alg.left_matrix(q)), alg.norm(q) ** 4, 32, size(q) ** 4)
    close(np.linalg.det(alg.right_matrix(q)), alg.norm(q) ** 4, 32, size(q) ** 4)


# ------------------------------------------------------------------- large, small, not finite

# Powers of two, so that the scaled numbers are exact: about 1e+-36, 1e+-300, and subnormals.
POWERS = {np.float32: (120, 60, -60, -120, -140, -149), np.float64: (1000, -1000, -1050, -1074)}
SCALES = [(dtype, n) for dtype, powers in POWERS.items() for n in powers]


@pytest.mark.parametrize(("dtype", "n"), SCALES, ids=[f"{d.__name__}-2^{n}" for d, n in SCALES])
def test_norm_and_direction_are_right_for_any_size(dtype, n):
    q = np.ldexp(np.array([[1, -1, 1, -1], [0, 3, 0, 4], [0, 0, -2, 0]], dtype), n)
    np.testing.assert_array_equal(alg.norm(q), np.ldexp(np.array([2, 5, 2], dtype), n))
    direction = np.array([[0.5, -0.5, 0.5, -0.5], [0, 0.6, 0, 0.8], [0, 0, -1, 0]], dtype)
    close(alg.normalize(q), direction, 2)


@DTYPES
@given(SEEDS, st.floats(-1, 1))
def test_normalize_gives_norm_one_whatever_the_size(dtype, seed, power):
    (q,) = np.random.default_rng(seed).standard_normal((1, 64, 4))
    info = np.finfo(dtype)
    q = (q * 2.0 ** (power * (info.maxexp - 5))).astype(dtype)
    unit = alg.normalize(q)
    close(alg.norm(unit), np.ones(64, dtype), 4 * 1.5)
    close(alg.normalize(unit), unit, 4 * 1.5)


@DTYPES
def test_inverse_is_right_where_the_square_of_the_norm_is_not_a_number(dtype):
    s = dtype(1e30 if dtype == np.float32 else 1e300)
    q = np.array([[1, 2, -3, 4], [0, 0, 1, 0]], dtype)
    for scaled, back in ((q * s, 1 / s), (q / s, s)):
        expected = alg.inverse(q) * back
        np.testing.assert_allclose(alg.inverse(scaled), expected, rtol=8 * np.finfo(dtype).eps)


@DTYPES
def test_zero_has_norm_zero_and_direction_zero_and_its_inverse_is_nan(dtype):
    q = np.array([[0, 0, 0, 0], [0, 2, 0, 0]], dtype)
    np.testing.assert_array_equal(alg.norm(q), [0, 2])
    np.testing.assert_array_equal(alg.normalize(q), [[0, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(alg.inverse(q), [[np.nan] * 4, [0, -0.5, 0, 0]])


@DTYPES
@pytest.mark.parametrize("slot", range(4))
def test_nan_in_any_slot_comes_through_everything(dtype, slot):
    q = np.ones(4, dtype)
    q[slot] = np.nan
    assert np.isnan(alg.multiply(q, ONE.astype(dtype))).any()
    assert np.isnan(alg.multiply(np.ones(4, dtype), q)).all()
    assert np.isnan(alg.norm2(q))
    assert np.isnan(alg.norm(q))
    assert np.isnan(alg.inverse(q)).all()
    assert np.isnan(alg.normalize(q)).all()
    assert np.isnan(alg.conjugate(q))[slot]


@DTYPES
@RUNGS
@pytest.mark.parametrize("slot", range(4))
def test_infinity_leaves_nothing_finite_in_a_product(dtype, slot, rung):
    q = np.arange(4, dtype=dtype)  # its real part is 0, and 0 * inf is NaN
    q[slot] = -np.inf
    p = np.array([1, 0, -2, 3], dtype)
    with kernels.use_kernels(rung), np.errstate(invalid="ignore"):
        assert not np.isfinite(alg.multiply(p, q)).any()
        assert not np.isfinite(alg.multiply(q, p)).any()


@DTYPES
@pytest.mark.parametrize("slot", range(4))
def test_infinity_has_infinite_norm_a_direction_and_the_inverse_zero(dtype, slot):
    q = np.ones(4, dtype)
    q[slot] = -np.inf
    assert alg.norm(q) == np.inf
    np.testing.assert_array_equal(alg.normalize(q), -np.eye(4)[slot])
    np.testing.assert_array_equal(alg.inverse(q), np.zeros(4))


# ------------------------------------------------------------------ layouts, shapes, messages

UNARY = (
    alg.conjugate,
    alg.norm2,
    alg.norm,
    alg.inverse,
    alg.normalize,
    alg.exp,
    alg.log,
    alg.sqrt,
    alg.left_matrix,
    alg.right_matrix,
)
unary = pytest.mark.parametrize("f", UNARY, ids=lambda f: f.__name__)


@DTYPES
@unary
def test_layout_in_memory_changes_nothing_and_arguments_are_left_alone(f, dtype):
    (q,) = spread(0, dtype, 1, 6, 8)
    expected = f(q)
    assert expected.dtype == dtype
    big = np.full((12, 16, 8), 99, dtype)
    big[::2, ::-2, ::2] = q
    views = [big[::2, ::-2, ::2], np.asfortranarray(q), q.copy(), q.transpose(1, 0, 2)]
    views[2].flags.writeable = False
    for view, transposed in zip(views, (False, False, False, True), strict=True):
        before = view.copy()
        value = f(view)
        np.testing.assert_array_equal(value.swapaxes(0, 1) if transposed else value, expected)
        np.testing.assert_array_equal(view, before)


@DTYPES
@unary
def test_results_are_new_arrays_and_each_quaternion_is_by_itself(f, dtype):
    (q,) = spread(1, dtype, 1, 3, 5)
    value = f(q)
    assert not np.shares_memory(value, q)
    for index in np.ndindex(3, 5):
        np.testing.assert_array_equal(f(q[index]), value[index])
        assert f(q[index]).dtype == dtype


@DTYPES
@unary
def test_no_quaternions_give_no_results(f, dtype):
    assert f(np.empty((0, 4), dtype)).shape == (0, *f(np.ones(4, dtype)).shape)
    assert f(np.empty((2, 0, 3, 4), dtype)).shape[:3] == (2, 0, 3)
    assert f(np.empty((0, 4), dtype)).dtype == dtype


@DTYPES
@RUNGS
@pytest.mark.parametrize(
    ("p", "q", "shape"),
    [((), (), ()), ((5,), (), (5,)), ((3, 1), (4,), (3, 4)), ((2, 1, 3), (1, 4, 1), (2, 4, 3)),
     ((0,), (), (0,)), ((0, 1), (1, 5), (0, 5))],
)  # fmt: skip
def test_multiply_broadcasts_the_leading_axes(p, q, shape, dtype, rung):
    (a,), (b,) = spread(2, dtype, 1, *p, 1), spread(3, dtype, 1, *q, 1)
    a, b = a[..., 0, :], b[..., 0, :]
    with kernels.use_kernels(rung):
        y = alg.multiply(a, b)
        full = alg.multiply(*(np.broadcast_to(x, (*shape, 4)).copy() for x in (a, b)))
    assert y.shape == (*shape, 4)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, full)


@DTYPES
@RUNGS
def test_multiply_takes_strided_reversed_and_read_only_arrays(dtype, rung):
    p, q = spread(4, dtype, 2, 6)
    big = np.zeros((12, 8), dtype)
    big[::-2, ::2] = p
    fixed = np.broadcast_to(q[0], (6, 4))
    with kernels.use_kernels(rung):
        y = alg.multiply(big[::-2, ::2], fixed)
        np.testing.assert_array_equal(y, alg.multiply(p, fixed.copy()))
        y[...] = 0  # ours to write


@unary
@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex128, bool, object])
def test_other_dtypes_are_refused(f, dtype):
    with pytest.raises(DTypeError, match=r"float32 or float64 only.*astype"):
        f(np.ones((3, 4), dtype))


EVERY = (*UNARY, alg.as_quaternions, alg.from_quaternions, lambda q: alg.multiply(q, np.ones(4)))


@pytest.mark.parametrize("f", EVERY)
@pytest.mark.parametrize(
    "q",
    [[1.0, 0, 0, 0], Tensor([1.0, 0, 0, 0]), 1.0, np.float64(1)],
    ids=["list", "Tensor", "float", "scalar"],
)
def test_what_is_not_an_array_is_refused_with_advice(f, q):
    with pytest.raises(DTypeError, match=f"got a {type(q).__name__}.*np.array"):
        f(q)


@unary
@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (2, 0), (4, 1)])
def test_other_shapes_are_refused(f, shape):
    with pytest.raises(ShapeError, match=rf"{f.__name__}: .*last axis, of size 4; got shape"):
        f(np.ones(shape, np.float32))


def test_parts_are_views():
    q = np.ones((3, 4))
    alg.real(q)[...] = 2
    alg.vector(q)[...] = 3
    np.testing.assert_array_equal(q, [[2, 3, 3, 3]] * 3)
    with pytest.raises(ShapeError, match="of size 3"):
        alg.from_vector(q)


@DTYPES
def test_matmul_is_the_sum_of_products_and_broadcasts(dtype):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((5, 1, 2, 3, 4)), rng.standard_normal((6, 3, 7, 4))
    A, B = A.astype(dtype), B.astype(dtype)
    expected = alg.multiply(A[..., :, :, None, :], B[..., None, :, :, :]).sum(axis=-3)
    y = alg.matmul(A, B)
    assert y.shape == (5, 6, 2, 7, 4)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, atol=64 * np.finfo(dtype).eps)
    assert alg.matmul(A[..., :0, :], B[:, :0]).shape == (5, 6, 2, 7, 4)


def test_matmul_says_what_does_not_fit():
    A, B = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\) and \(2, 5, 4\)"):
        alg.matmul(A, B)
    with pytest.raises(ShapeError, match="matrices"):
        alg.matmul(A[0], B)
    with pytest.raises(DTypeError, match="do not mix"):
        alg.matmul(A, A.astype(np.float32))


def test_multiply_says_what_does_not_fit():
    p, q = np.ones((3, 4), np.float32), np.ones((2, 4), np.float32)
    with pytest.raises(ShapeError, match=r"\(3, 4\) and \(2, 4\) do not broadcast"):
        alg.multiply(p, q)
    with pytest.raises(DTypeError, match="float32 and float64 do not mix"):
        alg.multiply(p, p.astype(np.float64))
    with pytest.raises(ShapeError, match="of size 4"):
        alg.multiply(p, np.ones((3, 1), np.float32))


# ----------------------------------------------------------------------------- feature maps


@DTYPES
@pytest.mark.parametrize("shape", [(12,), (2, 8), (2, 5, 3, 4), (0, 8), (3, 0)])
def test_a_feature_map_is_seen_as_quaternions_without_a_copy(shape, dtype):
    x = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    q = alg.as_quaternions(x)
    Q = shape[-1] // 4
    assert q.shape == (*shape[:-1], Q, 4)
    assert x.size == 0 or np.shares_memory(q, x)
    for a in range(4):
        np.testing.assert_array_equal(q[..., a], x[..., a * Q : (a + 1) * Q])
    back = alg.from_quaternions(q)
    np.testing.assert_array_equal(back, x)
    assert back.dtype == dtype
    assert x.size == 0 or np.shares_memory(back, x)
    np.testing.assert_array_equal(alg.from_quaternions(q.copy()), x)


def test_writing_to_the_view_writes_to_the_map_also_through_strides():
    x = np.zeros((6, 16), np.float32)
    alg.as_quaternions(x[::-2, ::2])[0, 1] = [1, 2, 3, 4]  # quaternion 1 of the last row
    np.testing.assert_array_equal(x[5, [2, 6, 10, 14]], [1, 2, 3, 4])
    assert x.sum() == 10
    x.flags.writeable = False
    assert not alg.as_quaternions(x).flags.writeable


def test_maps_that_hold_no_whole_quaternions_are_refused():
    with pytest.raises(ShapeError, match=r"multiple of 4; got shape \(2, 6\)"):
        alg.as_quaternions(np.ones((2, 6), np.float32))
    with pytest.raises(ShapeError, match="as_quaternions"):
        alg.as_quaternions(np.array(1.0))
    with pytest.raises(ShapeError, match=r"\(\.\.\., Q, 4\); got shape \(4,\)"):
        alg.from_quaternions(np.ones(4))


@RUNGS
def test_a_layer_with_one_quaternion_in_and_out_is_multiplication_from_the_left(rung):
    x, w = spread(5, np.float64, 2, 7)
    with kernels.use_kernels(rung):
        for n in range(7):
            y = ops.hamilton_linear(Tensor(x), Tensor(w[n].reshape(4, 1, 1)))
            close(y.numpy(), alg.multiply(w[n], x), 8, size(w[n]) * size(x))


# ----------------------------------------------------------------------------------- random


def test_random_units_depend_on_the_seed_only_and_have_norm_one():
    q = alg.random_unit((20, 50), 3)
    assert q.shape == (20, 50, 4)
    assert q.dtype == np.float32
    np.testing.assert_array_equal(q, alg.random_unit((20, 50), 3))
    assert (q != alg.random_unit((20, 50), 4)).any()
    close(alg.norm(q), np.ones((20, 50), np.float32), 2)
    assert alg.random_unit((), 0).shape == (4,)
    assert alg.random_unit(3, 0, np.float64).dtype == np.float64
    rng = generator(0, "test")
    assert (alg.random_unit(3, rng) != alg.random_unit(3, rng)).any()
    with pytest.raises(DTypeError, match="float16"):
        alg.random_unit(3, 0, np.float16)


def test_random_units_are_uniform_on_the_sphere():
    q = alg.random_unit(40_000, 0, np.float64)
    N = len(q)
    # E x = 0, E x y = 1/4 or 0, E x^4 = 3/24, each with its standard deviation
    assert (abs(q.mean(axis=0)) < 4 * 0.5 / np.sqrt(N)).all()
    assert (abs(q.T @ q / N - np.eye(4) / 4) < 4 * 0.25 / np.sqrt(N)).all()
    assert (abs((q**4).mean(axis=0) - 1 / 8) < 4 * 0.17 / np.sqrt(N)).all()


# ----------------------------------------------------------------------- the layer's weight


def whole(seed, *shape):
    """Whole numbers, so that sums of products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float64)


FEATURES = [(1, 1), (3, 2), (2, 5)]
WINDOWS = [(), (1, 1), (3, 2)]


@RUNGS
@pytest.mark.parametrize("PQ", FEATURES, ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_expanded_weight_is_the_papers_block_matrix_transposed(rung, PQ, window):
    w = whole(0, 4, *window, *PQ)
    with kernels.use_kernels(rung):
        W = kernels.kernel("expand")(w)
    for uv in np.ndindex(*window):
        r, i, j, k = (w[(a, *uv)].T for a in range(4))  # (Q, P), acting on columns
        paper = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
        np.testing.assert_array_equal(W[uv].T, paper)


@RUNGS
@given(SEEDS)
def test_expand_and_fold_are_adjoint_and_fold_after_expand_is_four(rung, seed):
    w, W = whole(seed, 4, 3, 2, 2, 5), whole(seed + 1, 3, 2, 8, 20)
    with kernels.use_kernels(rung):
        expand, fold = kernels.kernel("expand"), kernels.kernel("fold")
        assert (expand(w) * W).sum() == (w * fold(W)).sum()
        np.testing.assert_array_equal(fold(expand(w)), 4 * w)


@RUNGS
@pytest.mark.parametrize("PQ", FEATURES, ids=str)
def test_a_quaternion_layer_is_the_real_layer_of_the_expanded_weight(rung, PQ):
    P, Q = PQ
    x, w = Tensor(whole(1, 6, 4 * P)), whole(2, 4, P, Q)
    with kernels.use_kernels(rung):
        W = Tensor(kernels.kernel("expand")(w))
        y = ops.hamilton_linear(x, Tensor(w))
    np.testing.assert_array_equal(y.numpy(), ops.linear(x, W).numpy())


CONVS = [((3, 3), 1, 1), ((1, 1), 2, 0), ((2, 3), (1, 2), (1, 0)), ((3, 1), (2, 1), (0, 2))]


@RUNGS
@pytest.mark.parametrize("PQ", FEATURES, ids=str)
@pytest.mark.parametrize(("window", "stride", "padding"), CONVS)
def test_a_quaternion_convolution_is_the_real_one_of_the_expanded_weight(
    rung, PQ, window, stride, padding
):
    P, Q = PQ
    x, w = Tensor(whole(3, 2, 5, 6, 4 * P)), whole(4, 4, *window, P, Q)
    with kernels.use_kernels(rung):
        W = Tensor(kernels.kernel("expand")(w))
        y = ops.hamilton_conv2d(x, Tensor(w), None, stride, padding)
    np.testing.assert_array_equal(y.numpy(), ops.conv2d(x, W, None, stride, padding).numpy())


def times(x, s, left=False):
    """Every quaternion of a feature map times s, from the right unless `left`."""
    q = alg.as_quaternions(x)
    return alg.from_quaternions(alg.multiply(s, q) if left else alg.multiply(q, s))


@RUNGS
@given(SEEDS)
@example(0)
def test_layers_are_linear_over_quaternions_on_the_right_and_not_on_the_left(rung, seed):
    """w (x s) = (w x) s: the algebra is associative, but does not commute."""
    s = whole(seed, 4)
    s[1] += 20  # not real
    w, x = whole(seed + 1, 4, 3, 2), whole(seed + 2, 5, 12)
    c, maps = whole(seed + 3, 4, 2, 3, 3, 2), whole(seed + 4, 2, 4, 5, 12)
    layers = [
        (x, lambda x: ops.hamilton_linear(Tensor(x), Tensor(w)).numpy()),
        (maps, lambda x: ops.hamilton_conv2d(Tensor(x), Tensor(c), None, (1, 2), 1).numpy()),
    ]
    with kernels.use_kernels(rung):
        for x, layer in layers:
            np.testing.assert_array_equal(layer(times(x, s)), times(layer(x), s))
            assert (layer(times(x, s, left=True)) != times(layer(x), s, left=True)).any()


# ------------------------------------------- networks: quaternion, real, and one inside the other


@RUNGS
@pytest.mark.parametrize(("window", "stride", "padding"), CONVS)
def test_with_real_weights_a_layer_works_on_each_component_by_itself(rung, window, stride, padding):
    P, Q = 3, 2
    w = np.zeros((4, *window, P, Q))
    w[0] = whole(5, *window, P, Q)
    x = whole(6, 2, 5, 6, 4 * P)
    with kernels.use_kernels(rung):
        y = ops.hamilton_conv2d(Tensor(x), Tensor(w), None, stride, padding).numpy()
        pixel = ops.hamilton_linear(Tensor(x), Tensor(w[:, 0, 0])).numpy()
    for a in range(4):
        part = Tensor(x[..., a * P : (a + 1) * P])
        block = np.s_[..., a * Q : (a + 1) * Q]
        np.testing.assert_array_equal(
            y[block], ops.conv2d(part, Tensor(w[0]), None, stride, padding).numpy()
        )
        np.testing.assert_array_equal(pixel[block], (part @ Tensor(w[0, 0, 0])).numpy())


NETS = {
    "lenet-300-100": {"width": 24, "image_size": (5, 6)},
    "conv-2": {"width": 8, "image_size": (5, 6)},
    "conv-4": {"width": 4, "image_size": (8, 9)},
    "resnet8": {"width": 8, "image_size": (7, 6)},
}
nets = pytest.mark.parametrize("name", NETS)


def in_float64(model):
    for _, t in model.named_state():
        t._array = t._array.astype(np.float64)
    return model


def quaternion_net(name):
    """A small net in float64 whose biases and batch-norm parameters are not at their start."""
    net = in_float64(models.create(name, "quaternion", num_classes=8, init="he", **NETS[name]))
    rng = np.random.default_rng(0)
    for p in net.parameters():
        if p.ndim == 1:
            p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    return net


def real_twin(name, net, expand):
    """The real net of the same widths, whose weights are `expand` of the quaternion ones."""
    twin = in_float64(models.create(name, "real", num_classes=8, **NETS[name]))
    assert [n for n, _ in twin.named_state()] == [n for n, _ in net.named_state()]
    twin.load_state_dict(
        {n: expand(t.numpy()) if t.ndim > 1 else t.numpy() for n, t in net.named_state()}
    )
    return twin


def images(name, N=5):
    return Tensor(np.random.default_rng(1).standard_normal((N, *NETS[name]["image_size"], 4)))


def block_diagonal(w):
    """Four copies of the real part of w (4, ..., P, Q) along the diagonal: (..., 4P, 4Q)."""
    *lead, P, Q = w.shape[1:]
    W = np.zeros((*lead, 4 * P, 4 * Q))
    for a in range(4):
        W[..., a * P : (a + 1) * P, a * Q : (a + 1) * Q] = w[0]
    return W


def train_once(net, x):
    """Logits and the gradient of every parameter of one training step; then logits in eval."""
    net.train()
    logits = net(x)
    ops.cross_entropy(logits, np.arange(len(x)) % 8).backward()
    net.eval()
    return logits.numpy(), {n: p.grad for n, p in net.named_parameters()}, net(x).numpy()


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


@nets
def test_a_quaternion_net_without_i_j_k_is_the_real_net_with_block_diagonal_weights(name):
    net, x = quaternion_net(name), images(name)
    for _, p in net.weight_parameters():
        w = p.numpy().copy()
        w[1:] = 0
        p.data = w
    twin = real_twin(name, net, block_diagonal)
    logits, _, evaluated = train_once(net, x)
    twin_logits, _, twin_evaluated = train_once(twin, x)
    assert np.abs(logits).max() > 0.1
    same(logits, twin_logits)
    same(evaluated, twin_evaluated)


@nets
def test_a_quaternion_net_is_the_real_net_with_expanded_weights_and_folds_its_gradients(name):
    net, x = quaternion_net(name), images(name)
    twin = real_twin(name, net, kernels.reference.expand)
    logits, gradients, evaluated = train_once(net, x)
    twin_logits, twin_gradients, twin_evaluated = train_once(twin, x)
    same(logits, twin_logits)
    same(evaluated, twin_evaluated)  # hence the same running statistics
    for n, p in net.named_parameters():
        folded = twin_gradients[n] if p.ndim == 1 else kernels.reference.fold(twin_gradients[n])
        assert np.abs(folded).max() > 0
        same(gradients[n], folded)


def test_a_net_of_components_one_by_one_is_the_net_of_blocks():
    """conv, relu, conv with real weights: each component goes its own way through a real net."""
    rng = generator(0, "test")
    net = in_float64(
        nn.Sequential(
            nn.QConv2d(8, 12, 3, padding=1, bias=False, rng=rng),
            nn.ReLU(),
            nn.QConv2d(12, 4, 3, stride=2, bias=False, rng=rng),
        )
    )
    for p in net.parameters():
        w = p.numpy().copy()
        w[1:] = 0
        p.data = w
    x = np.random.default_rng(2).standard_normal((2, 6, 7, 8))
    y = net(Tensor(x)).numpy()
    first, second = (Tensor(p.numpy()[0]) for p in net.parameters())
    for a in range(4):
        part = ops.conv2d(Tensor(x[..., 2 * a : 2 * a + 2]), first, None, 1, 1)
        same(y[..., a : a + 1], ops.conv2d(ops.relu(part), second, None, 2).numpy())
