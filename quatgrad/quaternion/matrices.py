"""Quaternions as matrices: p q = L(p) q = R(q) p."""

from __future__ import annotations

from quatgrad.backend import Array, array_module
from quatgrad.kernels.reference import HAMILTON
from quatgrad.quaternion.checks import check


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


def _table(q: Array) -> Array:
    return array_module(q).asarray(HAMILTON, dtype=q.dtype)
