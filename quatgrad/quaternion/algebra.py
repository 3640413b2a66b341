"""Arithmetic of quaternions: products, norms, inverses."""

from __future__ import annotations

import numpy as np

from quatgrad.backend import Array, array_module, kernel
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.quaternion.checks import check


def multiply(p: Array, q: Array) -> Array:
    """p q, the Hamilton product: i j = k, j i = -k, ...; associative, not commutative.

    p (..., 4), q (..., 4) -> (..., 4), the leading axes broadcast. One component that is
    infinite leaves none of the product's finite. Errors: `ShapeError` where the shapes do not
    broadcast, `DTypeError` where p is float32 and q float64.
    """
    check("multiply", p)
    check("multiply", q)
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
    check("conjugate", q)
    return q * array_module(q).asarray([1, -1, -1, -1], dtype=q.dtype)


def norm2(q: Array) -> Array:
    """|q|^2 = w^2 + x^2 + y^2 + z^2 = q conj(q); (..., 4) -> (...), inf where it overflows."""
    check("norm2", q)
    return (q * q).sum(axis=-1)


def norm(q: Array) -> Array:
    """|q| = sqrt(w^2 + x^2 + y^2 + z^2); (..., 4) -> (...); |p q| = |p| |q|.

    Right for every q, however large or small: the squares are of components that a power of two
    has brought near 1. It is 0 for zero, inf where a component is infinite.
    """
    check("norm", q)
    u, e = _near_one(q)
    xp = array_module(q)
    return xp.ldexp(xp.sqrt(norm2(u)), e[..., 0])


def inverse(q: Array) -> Array:
    """q^-1 = conj(q) / |q|^2: q q^-1 = q^-1 q = 1; (p q)^-1 = q^-1 p^-1.

    Squares neither overflow nor underflow. Zero has no inverse: NaN in all components, and an
    infinite component gives NaN, both with NumPy's RuntimeWarning, as for 0.0 / 0.0.
    """
    check("inverse", q)
    u, e = _near_one(q)
    return array_module(q).ldexp(conjugate(u) / norm2(u)[..., None], -e)


def normalize(q: Array) -> Array:
    """q / |q|: the unit quaternion in the direction of q, for |q| of any size.

    Zero has no direction and stays zero, as sign(0) = 0. An infinite component gives NaN, with
    NumPy's RuntimeWarning.
    """
    check("normalize", q)
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
