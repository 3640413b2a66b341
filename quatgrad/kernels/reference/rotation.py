"""Rotations by quaternions (..., 4) as formulas: matrices, angles, distances, arcs.

q and s q are the same rotation for any real s != 0. Zero is none: it and NaN give NaN.
"""

from math import pi

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.algebra import (
    _length,
    _quiet,
    _scaled,
    _square,
    quaternion_normalize,
)
from quatgrad.kernels.registry import register


def _rotor(q: Array) -> Array:
    """q / |q|, and NaN for zero."""
    u, _ = _scaled(q)
    return u / array_module(q).sqrt(_square(u))


@register
@_quiet
def quaternion_to_matrix(q: Array) -> Array:
    """R = 1 + 2 (w [v] + [v]^2) / |q|^2, where [v] u = v x u; (..., 4) -> (..., 3, 3)."""
    u, _ = _scaled(q)
    xp, s = array_module(q), 2 / _square(u)[..., 0]
    w, x, y, z = xp.moveaxis(u, -1, 0)
    rows = (
        (1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)),
        (s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)),
        (s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)),
    )
    return xp.stack(sum(rows, ()), axis=-1).reshape(*q.shape[:-1], 3, 3)


@register
@_quiet
def quaternion_from_matrix(R: Array) -> Array:
    """The unit q of the rotation R, NaN where R is none up to rounding; (..., 3, 3) -> (..., 4).

    4 q q^T = K + 1 with the K of `davenport`: each column is a multiple of q, and that with the
    largest diagonal is exact. Of q and -q it is the one whose first component that is not 0 is
    positive. Source: Shepperd 1978, doi:10.2514/3.55767b.
    """
    xp, eps = array_module(R), 16 * float(np.finfo(R.dtype).eps)
    columns = davenport(R) + xp.eye(4, dtype=R.dtype)
    largest = xp.diagonal(columns, axis1=-2, axis2=-1).argmax(axis=-1)
    q = quaternion_normalize(xp.take_along_axis(columns, largest[..., None, None], axis=-1)[..., 0])
    first = xp.take_along_axis(q, (q != 0).argmax(axis=-1)[..., None], axis=-1)
    volume = (R[..., 0, :] * xp.cross(R[..., 1, :], R[..., 2, :])).sum(axis=-1)
    product = R @ R.swapaxes(-1, -2) - xp.eye(3, dtype=R.dtype)
    turns = (abs(product).max(axis=(-2, -1)) <= eps) & (volume > 0)
    return xp.where(turns[..., None], xp.where(first < 0, -q, q) + 0, q.dtype.type("nan"))


def davenport(R: Array) -> Array:
    """K = [[tr R, a^T], [a, R + R^T - tr R]], a = (R_21 - R_12, R_02 - R_20, R_10 - R_01).

    (..., 3, 3) -> (..., 4, 4), symmetric, of trace 0. Source: Davenport 1968.
    """
    xp = array_module(R)
    (a, b, c), (d, e, f), (g, h, i) = (xp.moveaxis(row, -1, 0) for row in xp.moveaxis(R, -2, 0))
    rows = (
        (a + e + i, h - f, c - g, d - b),
        (h - f, a - e - i, b + d, c + g),
        (c - g, b + d, e - a - i, f + h),
        (d - b, c + g, f + h, i - a - e),
    )
    return xp.stack(sum(rows, ()), axis=-1).reshape(*R.shape[:-2], 4, 4)


@register
@_quiet
def quaternion_to_euler(q: Array, axes: tuple[int, int, int], body: bool) -> Array:
    """The angles (..., 3) about the axes 1, 2, 3 of the body or the room that give q (..., 4).

    At both ends of the second angle's range the third is 0. See `quaternion.to_euler`.
    Source: Bernardes and Viollet 2022, doi:10.1371/journal.pone.0276302.
    """
    i, j, k, sign = order(axes, body)
    xp, r = array_module(q), _rotor(q)
    eps, full = 4 * float(np.finfo(q.dtype).eps), q.dtype.type(2 * pi)
    w, x, y, z = r[..., 0], r[..., i], r[..., j], r[..., k] * sign
    proper = axes[0] == axes[2]
    if proper:
        low, high = xp.hypot(w, x), xp.hypot(y, z)
        middle = 2 * xp.arctan2(high, low)
        plus, minus = xp.arctan2(x, w), xp.arctan2(z, y)
    else:
        low, high = xp.hypot(w - y, x + z), xp.hypot(w + y, z - x)
        middle = xp.arctan2(2 * (w * y - x * z), low * high)
        plus, minus = xp.arctan2(x + z, w - y), xp.arctan2(z - x, w + y)
    still = 1 if body else -1  # the sign that makes the third angle 0
    minus = xp.where(high <= eps, still * plus, minus)
    plus = xp.where(low <= eps, still * minus, plus)
    ends = [plus - minus, plus + minus if proper else sign * (plus + minus)]
    first, third = (xp.where(abs(a) > pi, a - xp.copysign(full, a), a) for a in ends)
    return xp.stack([third, middle, first] if body else [first, middle, third], axis=-1)


def order(axes: tuple[int, int, int], body: bool) -> tuple[int, int, int, int]:
    """(i, j, k, sign): i, j, k are 1, 2, 3 in an order whose sign as a permutation is given.

    Turns of the body are turns of the room in the opposite order. Where the third axis is the
    first, k is the one that is left.
    """
    i, j, k = axes[::-1] if body else axes
    k = 6 - i - j if i == k else k
    return i, j, k, (i - j) * (j - k) * (k - i) // 2


@register
@_quiet
def quaternion_distance(p: Array, q: Array, rotation: bool, chordal: bool) -> Array:
    """4 atan2(|p - q|, |p + q|), or if chordal |p - q|, of p / |p| and q / |q|; (..., 4) -> (...).

    For rotations to q or -q, whichever is nearer.
    """
    xp, p, q = array_module(p), _rotor(p), _rotor(q)
    near, far = _length(p - q)[..., 0], _length(p + q)[..., 0]
    if rotation:
        near, far = xp.minimum(near, far), xp.maximum(near, far)
    return near if chordal else 4 * xp.arctan2(near, far)


@register
@_quiet
def quaternion_slerp(p: Array, q: Array, t: Array, shortest: bool) -> Array:
    """(p sin((1 - t) a) + q sin(t a)) / sin a, a the angle between p and q; t (...).

    If shortest, from p to q or -q, whichever is nearer. |p| = |q| = 1, and a is less than pi.
    """
    xp, t = array_module(p), t[..., None]
    if shortest:
        q = xp.where((p * q).sum(axis=-1, keepdims=True) < 0, -q, q)
    turns = 2 * xp.arctan2(_length(p - q), _length(p + q)) / pi
    whole = xp.sinc(turns)  # sin(t a) / sin a = t sinc(t a / pi) / sinc(a / pi), also at a = 0
    ahead, behind = (s * (xp.sinc(s * turns) / whole) for s in (t, 1 - t))
    return behind * p + ahead * q
