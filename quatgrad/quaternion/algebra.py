"""Arithmetic of quaternions: parts, products, norms, inverses.

Right for numbers of any size: no square over- or underflows on the way to a result that does not.
"""

from quatgrad.arrays import Array, array_module
from quatgrad.errors import ShapeError
from quatgrad.kernels.reference import HAMILTON
from quatgrad.kernels.registry import kernel
from quatgrad.quaternion.checks import broadcast, check, check_array, check_pair, same_dtype

# ---------------------------------------------------------------------------------- parts


def real(q: Array) -> Array:
    """w of w + x i + y j + z k; (..., 4) -> (...). A view: writing to it writes to q."""
    check("real", q)
    return q[..., 0]


def vector(q: Array) -> Array:
    """(x, y, z) of w + x i + y j + z k; (..., 4) -> (..., 3). A view: writing to it writes to q."""
    check("vector", q)
    return q[..., 1:]


def from_vector(v: Array) -> Array:
    """x i + y j + z k, a pure quaternion; (..., 3) -> (..., 4)."""
    check_array("from_vector", v)
    if v.ndim == 0 or v.shape[-1] != 3:
        raise ShapeError(
            f"from_vector: vectors lie along the last axis, of size 3; got shape {v.shape}"
        )
    q = array_module(v).zeros((*v.shape[:-1], 4), v.dtype)
    q[..., 1:] = v
    return q


# ------------------------------------------------------------------------------- products


def multiply(p: Array, q: Array) -> Array:
    """p q, the Hamilton product: i j = k, j i = -k, ...; associative, not commutative.

    p (..., 4), q (..., 4) -> (..., 4), the leading axes broadcast. One component that is
    infinite leaves none of the product's finite. Errors: `ShapeError` where the shapes do not
    broadcast, `DTypeError` where p is float32 and q float64.
    """
    check_pair("multiply", p, q)
    return kernel("hamilton")(p, q)


def divide(p: Array, q: Array) -> Array:
    """p q^-1; (..., 4), (..., 4) -> (..., 4), the leading axes broadcast.

    Right where q^-1 over- or underflows and the quotient does not. p / 0 is NaN, p / inf is 0.
    """
    check_pair("divide", p, q)
    return kernel("quaternion_divide")(p, q)


def dot(p: Array, q: Array) -> Array:
    """p . q = sum_a p_a q_a = Re(p conj(q)), the product of 4-vectors; (..., 4) -> (...)."""
    check_pair("dot", p, q)
    return (p * q).sum(axis=-1)


def matmul(A: Array, B: Array) -> Array:
    """(A B)_nm = sum_k A_nk B_km, the product of matrices of quaternions.

    A (..., N, K, 4), B (..., K, M, 4) -> (..., N, M, 4), the leading axes broadcast. It is one real
    product of (4N, 4K) and (4K, M): A becomes the matrix of its left multiplications, of B the
    four components are stacked. (A B) C = A (B C), (A B)^H = B^H A^H.
    """
    check("matmul", A)
    check("matmul", B)
    same_dtype("matmul", A, B)
    if A.ndim < 3 or B.ndim < 3 or A.shape[-2] != B.shape[-3]:
        raise ShapeError(
            "matmul: takes matrices (..., N, K, 4) and (..., K, M, 4); "
            f"got shapes {A.shape} and {B.shape}"
        )
    broadcast("matmul", A.shape[:-3], B.shape[:-3], "so must the axes before the matrices")
    (N, K), M = A.shape[-3:-1], B.shape[-2]
    xp = array_module(A)
    table = xp.asarray(HAMILTON, dtype=A.dtype)
    left = xp.einsum("abc,...nka->...cnbk", table, A).reshape(*A.shape[:-3], 4 * N, 4 * K)
    right = xp.moveaxis(B, -1, -3).reshape(*B.shape[:-3], 4 * K, M)
    y = left @ right
    return xp.ascontiguousarray(xp.moveaxis(y.reshape(*y.shape[:-2], 4, N, M), -3, -1))


# --------------------------------------------------------------------- conjugates and norms


def conjugate(q: Array) -> Array:
    """conj(w + x i + y j + z k) = w - x i - y j - z k; conj(p q) = conj(q) conj(p)."""
    check("conjugate", q)
    y = -q
    y[..., 0] = q[..., 0]
    return y


def norm2(q: Array) -> Array:
    """|q|^2 = w^2 + x^2 + y^2 + z^2 = q conj(q); (..., 4) -> (...), inf where it overflows."""
    check("norm2", q)
    return (q * q).sum(axis=-1)


def norm(q: Array) -> Array:
    """|q| = sqrt(w^2 + x^2 + y^2 + z^2); (..., 4) -> (...); |p q| = |p| |q|.

    0 for zero; inf where a component is infinite, even if another is NaN (as C99's hypot).
    """
    check("norm", q)
    return kernel("quaternion_norm")(q)


def inverse(q: Array) -> Array:
    """q^-1 = conj(q) / |q|^2: q q^-1 = q^-1 q = 1; (p q)^-1 = q^-1 p^-1.

    Zero has no inverse: NaN in all components. That of an infinite quaternion is 0.
    """
    check("inverse", q)
    return kernel("quaternion_inverse")(q)


def normalize(q: Array) -> Array:
    """q / |q|: the unit quaternion in the direction of q.

    Zero has no direction and stays zero, as sign(0) = 0. Infinite components outweigh the finite
    ones and each other not: (inf, 1, -inf, 0) becomes (1, 0, -1, 0) / sqrt 2.
    """
    check("normalize", q)
    return kernel("quaternion_normalize")(q)
