"""Quaternions as matrices: p q = L(p) q = R(q) p, and the complex 2x2 form."""

from quatgrad.arrays import Array, array_module, check_dtype
from quatgrad.kernels.reference import HAMILTON
from quatgrad.quaternion.checks import check, check_array, check_square


def left_matrix(q: Array) -> Array:
    """L(q)[c, b] = sum_a H[a, b, c] q_a, so that L(q) p = q p; (..., 4) -> (..., 4, 4).

    The rows of L(r, i, j, k) are (r -i -j -k), (i r -k j), (j k r -i), (k -j i r): the block
    form of a quaternion layer. L(p q) = L(p) L(q), L(conj q) = L(q)^T, det L(q) = |q|^4.
    """
    check("left_matrix", q)
    return array_module(q).einsum("abc,...a->...cb", _table(q), q)


def right_matrix(q: Array) -> Array:
    """R(q)[c, a] = sum_b H[a, b, c] q_b, so that R(q) p = p q; (..., 4) -> (..., 4, 4).

    R(p q) = R(q) R(p), and L(p) R(q) = R(q) L(p), since (p x) q = p (x q).
    """
    check("right_matrix", q)
    return array_module(q).einsum("abc,...b->...ca", _table(q), q)


def from_left_matrix(M: Array) -> Array:
    """q_a = sum_bc H[a, b, c] M[c, b] / 4: the q whose L(q) is nearest to M.

    M (..., 4, 4) -> (..., 4). Nearest in the sum of squares: an orthogonal projection, since the
    four L(e_a) are orthogonal and of squared length 4. So from_left_matrix(left_matrix(q)) = q
    exactly, any other M has M - left_matrix(q) left over, and no M is refused. Errors:
    `ShapeError` unless M is 4 x 4.
    """
    check_array("from_left_matrix", M)
    check_square("from_left_matrix", M, 4)
    return array_module(M).einsum("abc,...cb->...a", _table(M) / 4, M)


def from_right_matrix(M: Array) -> Array:
    """q_b = sum_ac H[a, b, c] M[c, a] / 4: the q whose R(q) is nearest to M.

    M (..., 4, 4) -> (..., 4). The projection of `from_left_matrix`, for `right_matrix`.
    """
    check_array("from_right_matrix", M)
    check_square("from_right_matrix", M, 4)
    return array_module(M).einsum("abc,...ca->...b", _table(M) / 4, M)


def complex_matrix(q: Array) -> Array:
    """C(w, x, y, z) = [[w + xI, y + zI], [-y + zI, w - xI]], I^2 = -1; (..., 4) -> (..., 2, 2).

    With q = u + v j, u = w + x i and v = y + z i, it is [[u, v], [-conj v, conj u]]: complex64
    of float32, complex128 of float64. C(p q) = C(p) C(q), C(conj q) = C(q)^H, det C(q) = |q|^2;
    the unit quaternions become the group SU(2). Physics writes it with Pauli's matrices,
    C(i) = I sigma_z, C(j) = I sigma_y, C(k) = I sigma_x.
    """
    check("complex_matrix", q)
    xp = array_module(q)
    z = xp.empty((*q.shape[:-1], 2, 2), xp.result_type(q.dtype, xp.complex64))
    z.real, z.imag = q[..., [[0, 2], [2, 0]]], q[..., [[1, 3], [3, 1]]]
    z.real[..., 1, 0] *= -1
    z.imag[..., 1, 1] *= -1
    return z


def from_complex_matrix(C: Array) -> Array:
    """The q whose complex_matrix(q) is nearest to C; complex (..., 2, 2) -> (..., 4).

    u = (C_00 + conj C_11) / 2, v = (C_01 - conj C_10) / 2, q = u + v j: an orthogonal projection,
    exact where C is such a matrix. Errors: `DTypeError` unless complex64 or complex128.
    """
    if getattr(C, "dtype", None) is not None and C.dtype.kind == "c":
        check_dtype(C.real.dtype, "from_complex_matrix: the array's real part")
    else:
        check_array("from_complex_matrix", C)
        C = C + 0j
    check_square("from_complex_matrix", C, 2)
    u = (C[..., 0, 0] + C[..., 1, 1].conj()) / 2
    v = (C[..., 0, 1] - C[..., 1, 0].conj()) / 2
    return array_module(C).stack([u.real, u.imag, v.real, v.imag], axis=-1)


def _table(q: Array) -> Array:
    return array_module(q).asarray(HAMILTON, dtype=q.dtype)
