"""The algebra of quaternions, on arrays (..., 4): the components 1, i, j, k along the last axis.

    multiply  conjugate  norm2  norm  inverse  normalize      arithmetic, broadcasting
    left_matrix  right_matrix                                 p q = L(p) q = R(q) p
    as_quaternions  from_quaternions                          feature maps seen as quaternions
    random_unit                                               uniform on the sphere |q| = 1

Arrays of NumPy and of CuPy alike, float32 or float64, which is kept. A NaN gives NaN; what zero
and infinity give, each function says. For Tensors, with gradients, see `quatgrad.ops.hamilton`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quatgrad.backend import Array, array_module, asarray, check_dtype, generator, kernel
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.kernels.reference import HAMILTON

# ---------------------------------------------------------------------------- arithmetic


def multiply(p: Array, q: Array) -> Array:
    """p q, the Hamilton product: i j = k, j i = -k, ...; associative, not commutative.

    p (..., 4), q (..., 4) -> (..., 4), the leading axes broadcast. One component that is
    infinite leaves none of the product's finite. Errors: `ShapeError` where the shapes do not
    broadcast, `DTypeError` where p is float32 and q float64.
    """
    _check("multiply", p)
    _check("multiply", q)
    if p.dtype != q.dtype:
        raise DTypeError(f"multiply: {p.dtype} and {q.dtype} do not mix; convert one with .astype")
    try:
        np.broadcast_shapes(p.shape, q.shape)
    except ValueError:
        raise ShapeError(
            f"multiply: shapes {p.shape} and {q.shape} do not broadcast; all axes before the "
            "last must be equal, or 1, or missing"
        ) from None
    return kernel("hamilton")(p, q)


def conjugate(q: Array) -> Array:
    """conj(w + x i + y j + z k) = w - x i - y j - z k; conj(p q) = conj(q) conj(p)."""
    _check("conjugate", q)
    return q * array_module(q).asarray([1, -1, -1, -1], dtype=q.dtype)


def norm2(q: Array) -> Array:
    """|q|^2 = w^2 + x^2 + y^2 + z^2 = q conj(q); (..., 4) -> (...), inf where it overflows."""
    _check("norm2", q)
    return (q * q).sum(axis=-1)


def norm(q: Array) -> Array:
    """|q| = sqrt(w^2 + x^2 + y^2 + z^2); (..., 4) -> (...); |p q| = |p| |q|.

    Right for every q, however large or small: the squares are of components that a power of two
    has brought near 1. It is 0 for zero, inf where a component is infinite.
    """
    _check("norm", q)
    u, e = _near_one(q)
    xp = array_module(q)
    return xp.ldexp(xp.sqrt(norm2(u)), e[..., 0])


def inverse(q: Array) -> Array:
    """q^-1 = conj(q) / |q|^2: q q^-1 = q^-1 q = 1; (p q)^-1 = q^-1 p^-1.

    Squares neither overflow nor underflow. Zero has no inverse: NaN in all components, and an
    infinite component gives NaN, both with NumPy's RuntimeWarning, as for 0.0 / 0.0.
    """
    _check("inverse", q)
    u, e = _near_one(q)
    return array_module(q).ldexp(conjugate(u) / norm2(u)[..., None], -e)


def normalize(q: Array) -> Array:
    """q / |q|: the unit quaternion in the direction of q, for |q| of any size.

    Zero has no direction and stays zero, as sign(0) = 0. An infinite component gives NaN, with
    NumPy's RuntimeWarning.
    """
    _check("normalize", q)
    u, _ = _near_one(q)
    n = array_module(q).sqrt(norm2(u))[..., None]
    return u / (n + (n == 0))


def _near_one(q: Array) -> tuple[Array, Array]:
    """(u, e) with q = u 2^e and the largest component of u in [1/2, 1); 0 = 0 2^0. No rounding,
    but a component that is nothing beside the largest may underflow.
    """
    xp = array_module(q)
    _, e = xp.frexp(abs(q).max(axis=-1, keepdims=True))
    return xp.ldexp(q, -e), e


# ------------------------------------------------------------------------------ matrices


def left_matrix(q: Array) -> Array:
    """L(q)[c, b] = sum_a H[a, b, c] q_a, so that L(q) p = q p; (..., 4) -> (..., 4, 4).

    The rows of L(r, i, j, k) are (r -i -j -k), (i r -k j), (j k r -i), (k -j i r): the block
    form of a quaternion layer. L(p q) = L(p) L(q), L(conj q) = L(q)^T, det L(q) = |q|^4.
    """
    _check("left_matrix", q)
    return array_module(q).einsum("abc,...a->...cb", _table(q), q)


def right_matrix(q: Array) -> Array:
    """R(q)[c, a] = sum_b H[a, b, c] q_b, so that R(q) p = p q; (..., 4) -> (..., 4, 4).

    R(p q) = R(q) R(p), and L(p) R(q) = R(q) L(p), since (p x) q = p (x q).
    """
    _check("right_matrix", q)
    return array_module(q).einsum("abc,...b->...ca", _table(q), q)


def _table(q: Array) -> Array:
    return array_module(q).asarray(HAMILTON, dtype=q.dtype)


# -------------------------------------------------------------------------- feature maps


def as_quaternions(x: Array) -> Array:
    """y[..., q, a] = x[..., a Q + q]: a feature map (..., 4Q) as quaternions (..., Q, 4).

    x lies in component blocks [1 | i | j | k]. A view: writing to it writes to x.
    """
    _check_array("as_quaternions", x)
    if x.ndim == 0 or x.shape[-1] % 4:
        raise ShapeError(
            "as_quaternions: the last axis holds the 4Q components of Q quaternions, a multiple "
            f"of 4; got shape {x.shape}"
        )
    return x.reshape(*x.shape[:-1], 4, x.shape[-1] // 4).swapaxes(-1, -2)


def from_quaternions(q: Array) -> Array:
    """x[..., a Q + q] = y[..., q, a], the inverse of `as_quaternions`: (..., Q, 4) -> (..., 4Q).

    Copies, unless q is such a view.
    """
    _check("from_quaternions", q)
    if q.ndim < 2:
        raise ShapeError(
            "from_quaternions: an axis of quaternions goes before their components, "
            f"(..., Q, 4); got shape {q.shape}"
        )
    return q.swapaxes(-1, -2).reshape(*q.shape[:-2], 4 * q.shape[-2])


# -------------------------------------------------------------------------------- random


def random_unit(
    shape: int | tuple[int, ...], rng: int | np.random.Generator, dtype: Any = np.float32
) -> Array:
    """Unit quaternions uniform on the sphere |q| = 1, hence uniform rotations; (*shape, 4).

    Four normals have no preferred direction, so they are drawn and normalised. `rng` is a seed
    or a generator. Source: Muller 1959, doi:10.1145/377939.377946.
    """
    check_dtype(dtype, "random_unit")
    if not isinstance(rng, np.random.Generator):
        rng = generator(rng, "random_unit")
    shape = (shape,) if isinstance(shape, int) else shape
    return asarray(normalize(rng.standard_normal((*shape, 4))).astype(dtype))


# -------------------------------------------------------------------------------- checks


def _check_array(name: str, x: Array) -> None:
    if array_module(x) is np and not isinstance(x, np.ndarray):
        raise DTypeError(
            f"{name}: takes a NumPy or CuPy array; got a {type(x).__name__} (of a list make "
            "np.array(q, np.float32), and for Tensors there is quatgrad.ops)"
        )
    check_dtype(x.dtype, f"{name}: the array")


def _check(name: str, q: Array) -> None:
    _check_array(name, q)
    if q.ndim == 0 or q.shape[-1] != 4:
        raise ShapeError(
            f"{name}: quaternions lie along the last axis, of size 4; got shape {q.shape}"
        )
