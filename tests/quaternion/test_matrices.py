"""Quaternions as matrices, and back: identities 16 to 19 (16 to 18 for L and R: test_algebra)."""

import numpy as np
import pytest
from bounds import DTYPES, SEEDS, I, J, K, close, normals
from hypothesis import given

from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, ShapeError

PAIRS = pytest.mark.parametrize(
    ("to", "back"),
    [
        (alg.left_matrix, alg.from_left_matrix),
        (alg.right_matrix, alg.from_right_matrix),
        (alg.complex_matrix, alg.from_complex_matrix),
    ],
    ids=["left", "right", "complex"],
)


@DTYPES
@given(SEEDS)
def test_complex_matrices_multiply_as_their_quaternions(dtype, seed):
    p, q = normals(seed, dtype, 2, 64, 4)
    C = alg.complex_matrix
    scale = (alg.norm(p) * alg.norm(q))[:, None, None]
    product, expected = C(p) @ C(q), C(alg.multiply(p, q))
    close(product.real, expected.real, 4 * 1.4, scale)
    close(product.imag, expected.imag, 4 * 1.4, scale)
    np.testing.assert_array_equal(C(alg.conjugate(q)), C(q).swapaxes(-1, -2).conj())
    assert C(q).dtype == (np.complex64 if dtype == np.float32 else np.complex128)


@DTYPES
@given(SEEDS)
def test_determinants_are_powers_of_the_norm(dtype, seed):
    q = normals(seed, dtype, 64, 4)
    n2 = alg.norm2(q).astype(np.float64)
    det = np.linalg.det(alg.complex_matrix(q))
    close(det.real, n2.astype(dtype), 4 * 8, n2)
    close(det.imag, np.zeros(64, dtype), 4 * 8, n2)
    for M in (alg.left_matrix(q), alg.right_matrix(q)):
        close(np.linalg.det(M), (n2**2).astype(dtype), 4 * 8, n2**2)


def test_complex_matrices_of_the_units_are_paulis_times_the_imaginary_unit():
    sigma = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    for unit, s in zip((K, J, I), sigma, strict=True):
        np.testing.assert_array_equal(alg.complex_matrix(unit), 1j * s)


@PAIRS
@DTYPES
@given(SEEDS)
def test_each_matrix_gives_its_quaternion_back_exactly(to, back, dtype, seed):
    q = normals(seed, dtype, 3, 5, 4)
    value = back(to(q))
    assert value.dtype == dtype
    np.testing.assert_array_equal(value, q)
    np.testing.assert_array_equal(back(to(q[0, 0])), q[0, 0])
    assert back(to(q[:0])).shape == (0, 5, 4)


@PAIRS
@given(SEEDS)
def test_of_any_matrix_the_nearest_is_found(to, back, seed):
    """What is left over is orthogonal to all matrices of quaternions."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal(to(I).shape).astype(to(I).dtype)
    if M.dtype.kind == "c":
        M += 1j * rng.standard_normal(M.shape)
    rest = M - to(back(M))
    for unit in np.eye(4):
        assert abs((rest * to(unit).conj()).sum().real) < 1e-14
    assert np.abs(rest).max() > 1e-3


def test_what_is_no_such_matrix_is_refused():
    for f in (alg.from_left_matrix, alg.from_right_matrix, alg.from_complex_matrix):
        with pytest.raises(ShapeError, match=rf"{f.__name__}: takes matrices.*got shape \(3, 3\)"):
            f(np.ones((3, 3)))
        with pytest.raises(DTypeError, match="float32 or float64 only"):
            f(np.ones((4, 4), np.int64))
    with pytest.raises(ShapeError, match="takes matrices"):
        alg.from_left_matrix(np.ones(4))
    close(alg.from_complex_matrix(np.eye(2)), np.array([1.0, 0, 0, 0]), 0)  # real numbers will do
