"""`Quaternion`, the array for people: its operators, its text, and its manners with NumPy."""

import copy
import doctest
import pickle

import numpy as np
import pytest
from bounds import DTYPES, ONE, I, J, K, close, normals, units

from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.quaternion import Quaternion
from quatgrad.quaternion import quaternion as module

P, Q = Quaternion(1, 2, 3, 4), Quaternion(0, 1, 0, -2)


def same(q, components):
    assert isinstance(q, Quaternion)
    np.testing.assert_array_equal(q.components, components)
    assert q.dtype == np.asarray(components).dtype


# ------------------------------------------------------------------------------- making one


def test_from_four_numbers_a_number_a_list_an_array_and_another():
    same(P, np.array([1, 2, 3, 4], np.float32))
    same(Quaternion(2.5), np.array([2.5, 0, 0, 0], np.float32))
    same(Quaternion([[1, 2, 3, 4]]), np.array([[1, 2, 3, 4]], np.float32))
    same(Quaternion(np.eye(4)), np.eye(4))
    same(Quaternion(P), P.components)
    same(Quaternion(1, 2, 3, 4, dtype=np.float64), np.array([1.0, 2, 3, 4]))
    same(Quaternion(np.eye(4), dtype=np.float32), np.eye(4, dtype=np.float32))


def test_four_arrays_broadcast_and_keep_their_dtype():
    w = np.arange(3.0)
    same(Quaternion(w, 0, 1, w[:, None]), [[[a, 0.0, 1, b] for a in w] for b in w])
    assert Quaternion(w.astype(np.float32), 0, 0, 0).dtype == np.float32
    assert Quaternion(np.float64(1), 0, 0, 0).dtype == np.float64
    assert Quaternion(np.arange(3), 0, 0, 0).dtype == np.float32
    with pytest.raises(DTypeError, match="parts of float32 and float64 do not mix"):
        Quaternion(w, w.astype(np.float32), 0, 0)


def test_an_array_is_wrapped_and_not_copied():
    a = np.zeros((2, 4))
    q = Quaternion(a)
    q[0] = Quaternion(I)
    q.w = 7
    np.testing.assert_array_equal(a, [[7, 1, 0, 0], [7, 0, 0, 0]])
    assert np.asarray(q) is a or np.shares_memory(np.asarray(q), a)
    assert not np.shares_memory(q.copy().components, a)


def test_what_is_none_is_refused():
    with pytest.raises(TypeError, match=r"takes 4 numbers .* got 2 arguments"):
        Quaternion(1, 2)
    with pytest.raises(ShapeError, match="last axis, of size 4"):
        Quaternion(np.ones(3))
    with pytest.raises(DTypeError, match="float32 or float64 only"):
        Quaternion(np.arange(4))
    with pytest.raises(DTypeError, match="float32 or float64 only"):
        Quaternion(1, 2, 3, 4, dtype=int)
    with pytest.raises(DTypeError):
        Quaternion("1+2i")


def test_random():
    same(Quaternion.random((5, 3), seed=0), alg.random((5, 3), 0))
    same(Quaternion.random_unit(5, seed=0, dtype=np.float64), alg.random_unit(5, 0, np.float64))
    assert Quaternion.random(seed=np.random.default_rng(0)).shape == ()


# --------------------------------------------------------------------------------- as numbers


def test_the_docstrings_example():
    assert doctest.testmod(module).failed == 0
    assert module.__doc__.count(">>>") == 2


def test_hamilton():
    i, j, k = Quaternion(I), Quaternion(J), Quaternion(K)
    for square in (i * i, j**2, k**2.0, i * j * k):
        assert abs(square + 1) < 1e-15
    assert i * j == k == -(j * i)
    same(P * Q, alg.multiply(P.components, Q.components))


@DTYPES
def test_operators_are_the_functions(dtype):
    p, q = (Quaternion(normals(s, dtype, 5, 4)) for s in (0, 1))
    a, b = p.components, q.components
    same(p + q, a + b)
    same(p - q, a - b)
    same(p / q, alg.divide(a, b))
    same(p**3, alg.power(a, 3))
    same(p**0.5, alg.power(a, 0.5))
    same(p**q, alg.general_power(a, b))
    same(-p, -a)
    same(+p, a)
    same(~p, alg.conjugate(a))
    same(p.conjugate(), alg.conjugate(a))
    same(p.inverse(), alg.inverse(a))
    same(p.normalize(), alg.normalize(a))
    same(p.exp(), alg.exp(a))
    same(p.log(), alg.log(a))
    same(p.sqrt(), alg.sqrt(a))
    np.testing.assert_array_equal(abs(p), alg.norm(a))
    v = normals(2, dtype, 5, 3)
    np.testing.assert_array_equal(p.rotate(v), alg.rotate(a, v))
    np.testing.assert_array_equal(p.rotate([1, 0, 0]), alg.rotate(a, I[1:].astype(dtype)))
    np.testing.assert_array_equal(p.to_rotation_matrix(), alg.to_rotation_matrix(a))
    M, N = p.reshape(5, 1), q.reshape(1, 5)
    same(M @ N, alg.matmul(M.components, N.components))
    close((N @ M)[0, 0].components, (q * p).sum().components, 40)


@DTYPES
def test_real_numbers_and_arrays_go_along(dtype):
    q = Quaternion(normals(0, dtype, 3, 4))
    c, one = q.components, ONE.astype(dtype)
    s = np.array([2, -3, 0.5], dtype)
    for r in (3, 3.0, np.float32(3), np.float64(3), np.int64(3), True):
        same(q * r, c * dtype(r))
        same(r * q, c * dtype(r))
        same(q + r, c + dtype(r) * one)
        same(r - q, dtype(r) * one - c)
        same(q / r, c / dtype(r))
    same(q * s, c * s[:, None])
    same(s * q, c * s[:, None])
    same(s + q, c + s[:, None] * one)
    same(1 / q, alg.divide(one, c))
    close((s / q).components, s[:, None] * alg.inverse(c), 8, 8 / alg.norm(c)[:, None])
    same(q**s, alg.power(c, s))
    same(2**q, alg.general_power(2 * one, c))
    same(np.arange(3) * q, c * np.arange(3, dtype=dtype)[:, None])
    assert (q * s[:, None]).shape == (3, 3)
    other = np.float32 if dtype == np.float64 else np.float64
    for mixed in (lambda: q * s.astype(other), lambda: q + q.astype(other)):
        with pytest.raises(DTypeError, match="do not mix"):
            mixed()


def test_comparison_is_by_quaternion():
    q = Quaternion(np.array([ONE, I, np.zeros(4), ONE * np.nan]))
    np.testing.assert_array_equal(q == q[0], [True, False, False, False])
    np.testing.assert_array_equal(q != q, [False, False, False, True])
    np.testing.assert_array_equal(q == 1, [True, False, False, False])
    np.testing.assert_array_equal(np.array([1, 1, 0, 0]) == q, [True, False, True, False])
    assert (Quaternion(I) == "i") is False
    assert (q != None) is True  # noqa: E711
    with pytest.raises(TypeError, match="unhashable"):
        hash(q)
    with pytest.raises(TypeError, match=r"neither true nor false.*any\(\)"):
        bool(q)
    with pytest.raises(TypeError):
        q < q  # noqa: B015


@pytest.mark.parametrize("other", ["1", None, 1j, [1, 2, 3, 4], {}, np.array(["a"])])
def test_operators_refuse_what_is_not_a_number(other):
    for f in (lambda: P + other, lambda: other * P, lambda: P**other, lambda: P @ other):
        with pytest.raises(TypeError):
            f()
    with pytest.raises(TypeError, match="write a Quaternion or real numbers"):
        P.copy()[...] = other


# ---------------------------------------------------------------------------------- as arrays


def test_parts_are_views_to_read_and_to_write():
    q = Quaternion(np.arange(8.0).reshape(2, 4))
    for n, name in enumerate("wxyz"):
        np.testing.assert_array_equal(getattr(q, name), [n, n + 4])
    np.testing.assert_array_equal(q.real, q.w)
    np.testing.assert_array_equal(q.vector, [[1, 2, 3], [5, 6, 7]])
    q.vector = [1, 1, 2]
    q.real = [5, 6]
    q.z[0] = 9
    np.testing.assert_array_equal(q.components, [[5, 1, 1, 9], [6, 1, 1, 2]])


def test_indexing_is_that_of_the_array_without_its_last_axis():
    a = normals(0, np.float32, 2, 3, 5, 4)
    q = Quaternion(a)
    assert (q.shape, q.ndim, q.size, len(q), q.dtype) == ((2, 3, 5), 3, 30, 2, np.float32)
    mask = a[..., 0] > 0
    for index, expected in [
        (1, a[1]), ((0, 2), a[0, 2]), ((0, 2, 4), a[0, 2, 4]), (..., a), ((..., 1), a[:, :, 1]),
        (slice(None, None, -1), a[::-1]), ((slice(None), [0, 2]), a[:, [0, 2]]),
        (None, a[None]), ((0, ..., None), a[0, ..., None, :]), (mask, a[mask]),
        (np.array([1, 0]), a[[1, 0]]),
    ]:  # fmt: skip
        same(q[index], expected)
    for too_many in ((0, 0, 0, 0), (0, 0, 0, ..., 0)):
        with pytest.raises(IndexError):
            q[too_many]


def test_items_are_written_in_place():
    q = Quaternion(np.zeros((2, 3, 4)))
    q[0, 1] = Quaternion(I)
    q[1] = 5
    q[1, :2] = np.array([1, 2])
    expected = np.zeros((2, 3, 4))
    expected[0, 1, 1], expected[1, :, 0] = 1, [1, 2, 5]
    same(q, expected)
    q[q == 5] = Quaternion(J)
    same(q[1, 2], J)
    with pytest.raises(DTypeError, match="do not mix"):
        q[0, 0] = P


def test_iteration_shape_and_reductions():
    a = normals(0, np.float64, 2, 3, 4)
    q = Quaternion(a)
    for row, expected in zip(q, a, strict=True):
        same(row, expected)
    for f in (lambda: len(P), lambda: list(P)):
        with pytest.raises(TypeError, match="no length"):
            f()
    same(q.reshape(3, 2), a.reshape(3, 2, 4))
    same(q.reshape((6,)), a.reshape(6, 4))
    same(q.reshape(-1), a.reshape(6, 4))
    same(q.T, a.transpose(1, 0, 2))
    same(q.sum(), a.sum(axis=(0, 1)))
    same(np.sum(q, axis=-1), a.sum(axis=1))
    same(np.mean(q, axis=0), a.mean(axis=0))
    with pytest.raises(np.exceptions.AxisError):
        q.sum(axis=2)
    same(q.astype(np.float32), a.astype(np.float32))


def test_stack_and_concatenate_keep_the_class():
    a, b = normals(0, np.float32, 2, 3, 5, 4)
    p, q = Quaternion(a), Quaternion(b)
    same(np.concatenate([p, q]), np.concatenate([a, b]))
    same(np.concatenate((p, q), axis=-1), np.concatenate([a, b], axis=1))
    same(np.stack([p, q]), np.stack([a, b]))
    same(np.stack([p, q], axis=-1), np.stack([a, b], axis=2))
    same(np.stack([P, Q, P]), np.stack([P.components, Q.components, P.components]))
    with pytest.raises(TypeError, match="quaternions go with quaternions only; got a ndarray"):
        np.concatenate([p, a])
    with pytest.raises(DTypeError, match="do not mix"):
        np.stack([p, q.astype(np.float64)])


def test_pickle_copy_and_files(tmp_path):
    q = Quaternion.random((2, 3), seed=0)
    for other in (
        pickle.loads(pickle.dumps(q)), copy.copy(q), copy.deepcopy(q), q.copy(), np.copy(q)
    ):  # fmt: skip
        same(other, q.components)
        assert not np.shares_memory(other.components, q.components)
    np.save(tmp_path / "q.npy", q)
    same(Quaternion(np.load(tmp_path / "q.npy")), q.components)
    np.savez(tmp_path / "q.npz", q=q, s=[P, Q])
    with np.load(tmp_path / "q.npz") as file:
        same(Quaternion(file["q"]), q.components)


# --------------------------------------------------------------------------------- with NumPy

SOME = [f for f in vars(np).values() if isinstance(f, np.ufunc)]


def test_asarray_gives_the_components():
    np.testing.assert_array_equal(np.asarray(P), [1, 2, 3, 4])
    assert np.asarray(P, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(P), P.components)


def test_there_are_ufuncs_that_work():
    assert {"multiply", "exp", "matmul", "absolute"} < {f.__name__ for f in module.UFUNCS}
    assert set(module.UFUNCS) <= set(SOME)


@pytest.mark.parametrize("f", sorted(set(SOME), key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_every_ufunc_works_or_raises_a_type_error_that_says_what_to_do(f):
    a = normals(0, np.float32, 3, 3, 4)
    arguments = [Quaternion(a)] * f.nin
    if f not in module.UFUNCS:
        with pytest.raises(TypeError, match=rf"np\.{f.__name__} is not .*\(q\.components\)"):
            f(*arguments)
    else:
        y = f(*arguments)
        if f in module.NOT_QUATERNIONS:
            assert y.shape == (3, 3)
            assert isinstance(y, np.ndarray)
            assert y.dtype in (np.bool_, np.float32)
        else:
            assert isinstance(y, Quaternion)
            assert y.shape == (3, 3)
            assert y.dtype == np.float32
            assert not np.shares_memory(y.components, a)
        with pytest.raises(TypeError, match="takes no out="):
            f(*arguments, out=Quaternion(a.copy()))
    q = arguments[0]
    methods = {"reduce": [q], "accumulate": [q], "reduceat": [q, [0]], "outer": [q, q]}
    methods["at"] = [q, [0], q]
    for method in methods if f.nin == 2 and f.nout == 1 and not f.signature else ():
        with pytest.raises(TypeError, match=rf"np\.{f.__name__}\.{method} is not defined"):
            getattr(f, method)(*methods[method])


def test_the_values_of_ufuncs():
    a = units(0, np.float64, 4)
    q = Quaternion(a)
    same(np.square(q), alg.multiply(a, a))
    same(np.reciprocal(q), alg.inverse(a))
    same(np.conj(q), alg.conjugate(a))
    same(np.true_divide(q, 2), a / 2)
    same(np.exp(q), alg.exp(a))
    same(np.log(q), alg.log(a))
    same(np.sqrt(q), alg.sqrt(a))
    same(np.positive(q), a)
    same(np.negative(q), -a)
    np.testing.assert_array_equal(np.abs(q), alg.norm(a))
    a[0, 1], a[1, 2], a[2, 3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(np.isnan(q), [True, False, False, False])
    np.testing.assert_array_equal(np.isinf(q), [False, True, True, False])
    np.testing.assert_array_equal(np.isfinite(q), [False, False, False, True])


@pytest.mark.parametrize(
    "f",
    [np.prod, np.median, np.sort, np.linalg.norm, np.allclose, np.dot, np.cross, np.where, np.max],
    ids=lambda f: f.__name__,
)
def test_other_functions_are_refused_with_advice(f):
    arguments = [P] * {np.allclose: 2, np.dot: 2, np.cross: 2, np.where: 3}.get(f, 1)
    with pytest.raises(TypeError, match=r"is not defined for quaternions.*\(q\.components\)"):
        f(*arguments)


# --------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((1, 2, 3, 4), "1 + 2i + 3j + 4k"),
        ((-1, -2, 3, -4), "-1 - 2i + 3j - 4k"),
        ((0.5, 0, -0.0, 0.1), "0.5 + 0i - 0j + 0.1k"),
        ((1e-20, 1e10, -1e-5, 123456.75), "1e-20 + 1e+10i - 1e-05j + 123456.75k"),
        ((np.nan, np.inf, -np.inf, -np.nan), "nan + infi - infj + nank"),
        ((1 / 3, 0, 0, 0), "0.33333334 + 0i + 0j + 0k"),
    ],
)
def test_one_quaternion_reads_as_a_number(parts, text):
    assert repr(Quaternion(*parts)) == str(Quaternion(*parts)) == f"{Quaternion(*parts)}" == text


def test_float64_is_printed_to_as_many_digits_as_numpy_is_asked_for():
    q = Quaternion(1 / 3, 0, 0, 2, dtype=np.float64)
    assert repr(q) == "0.33333333 + 0i + 0j + 2k"
    with np.printoptions(precision=3):
        assert repr(q) == "0.333 + 0i + 0j + 2k"


def test_arrays_print_as_numpys_do():
    assert repr(np.stack([P, Q])) == "Quaternion([1 + 2i + 3j + 4k, 0 + 1i + 0j - 2k])"
    q = np.stack([P, Q]).astype(np.float64)
    assert repr(q) == "Quaternion([1 + 2i + 3j + 4k, 0 + 1i + 0j - 2k], dtype=float64)"
    assert repr(q.reshape(2, 1)) == (
        "Quaternion([[1 + 2i + 3j + 4k],\n            [0 + 1i + 0j - 2k]], dtype=float64)"
    )
    assert repr(Quaternion(np.empty((0, 3, 4), np.float32))) == "Quaternion([], shape=(0, 3))"
    assert repr(q[::-1][:1]) == "Quaternion([0 + 1i + 0j - 2k], dtype=float64)"
    assert len(repr(Quaternion.random(100_000, seed=0))) < 1000


def test_format_writes_each_number():
    assert f"{P:.2f}" == "1.00 + 2.00i + 3.00j + 4.00k"
    assert f"{Q:g}" == "0 + 1i + 0j - 2k"
    with pytest.raises(TypeError, match="only a single Quaternion"):
        f"{np.stack([P, Q]):.2f}"
