"""Rotations of space: a quaternion q != 0 turns the vector v into vec(q v q^-1).

The rotation by an angle a about a unit axis u is q = cos(a/2) + sin(a/2) u, counterclockwise as
seen from the tip of u; angles are in radians. q and s q are the same rotation for any real s != 0,
so all functions take q of any size and either sign. Rotations compose from right to left, as
matrices do: rotate(p q, v) = rotate(p, rotate(q, v)).

Zero is no rotation: zero and NaN give NaN, without a warning. An infinite q gives the rotation of
its direction (see `normalize`).
"""

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, real_array
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.reference.rotation import davenport
from quatgrad.kernels.registry import kernel
from quatgrad.quaternion.algebra import from_vector, multiply, normalize
from quatgrad.quaternion.checks import broadcast, check, check_array, check_square, same_dtype
from quatgrad.quaternion.functions import exp


def rotate(q: Array, v: Array) -> Array:
    """vec(q v q^-1) = v + w t + u x t, where q = w + u and t = 2 u x v / |q|^2.

    q (..., 4), v (..., 3) -> (..., 3), the leading axes broadcast. Source: Rodrigues 1840.
    """
    check("rotate", q)
    check_last("rotate", v, 3, "the components of vectors")
    same_dtype("rotate", q, v)
    broadcast("rotate", q.shape[:-1], v.shape[:-1], "the axes before the last must")
    return kernel("quaternion_rotate")(q, v)


def rotor(q: Array) -> Array:
    """q / |q| as by `normalize`, but NaN for zero, which is no rotation; (..., 4) -> (..., 4)."""
    r = normalize(q)
    return array_module(q).where((r == 0).all(axis=-1, keepdims=True), r.dtype.type("nan"), r)


def upper(q: Array) -> Array:
    """q or -q, with w >= 0: one of the two quaternions of a rotation; (..., 4) -> (..., 4).

    For half turns (w = 0) the first component that is not 0 is positive.
    """
    xp = array_module(q)
    first = xp.take_along_axis(q, (q != 0).argmax(axis=-1)[..., None], axis=-1)
    return xp.where(first < 0, -q, q) + 0  # -0 + 0 = 0


# --------------------------------------------------------------------------------- matrices


def to_rotation_matrix(q: Array) -> Array:
    """R = 1 + 2 (w [u] + [u]^2) / |q|^2, where q = w + u and [u] v = u x v: R v = rotate(q, v).

    (..., 4) -> (..., 3, 3). R(p q) = R(p) R(q), R(q^-1) = R(q)^T; the columns of R are i, j and k,
    turned.
    """
    check("to_rotation_matrix", q)
    return kernel("quaternion_to_matrix")(q)


def from_rotation_matrix(R: Array) -> Array:
    """The unit q, w >= 0, whose rotation is nearest to R; (..., 3, 3) -> (..., 4).

    Nearest in the sum of squares, for any R with det R > 0, however scaled, noisy or sheared: with

        K = [[tr R, a^T], [a, R + R^T - tr R]],    a = (R_21 - R_12, R_02 - R_20, R_10 - R_01),

    q^T K q is the sum of the products of R and to_rotation_matrix(q), largest where q is K's
    eigenvector of the largest eigenvalue. Where R is a rotation, up to rounding, K + 1 = 4 q q^T:
    each of its columns is a multiple of q, and that with the largest diagonal is exact, at half
    turns too. Of q and -q it takes w > 0; at w = 0, the first component that is not 0 is positive.

    Errors: `OptionError` where det R <= 0, up to rounding: a reflection, or a singular matrix.
    Sources: Davenport 1968 (the q-method), Shepperd 1978 doi:10.2514/3.55767b (the columns),
    Bar-Itzhack 2000 doi:10.2514/2.4654 (the eigenvector).
    """
    check_array("from_rotation_matrix", R)
    check_square("from_rotation_matrix", R, 3)
    q = kernel("quaternion_from_matrix")(R)
    far = array_module(R).isnan(q[..., 0])
    if far.any():
        q[far] = _nearest(R[far], R[..., 0, 0].size)
    return q


def _nearest(R: Array, count: int) -> Array:
    """`from_rotation_matrix` by the eigenvector, of some (M, 3, 3) of a number of matrices."""
    xp, one = array_module(R), array_module(R).eye(3, dtype=R.dtype)
    finite = xp.isfinite(R).all(axis=(1, 2))
    R = xp.where(finite[:, None, None], R, one)
    largest = abs(R).max(axis=(1, 2), keepdims=True)
    R = R / (largest + (largest == 0))
    mirror = (R[:, 0] * xp.cross(R[:, 1], R[:, 2])).sum(axis=-1) <= 16 * np.finfo(R.dtype).eps
    if mirror.any():
        raise OptionError(
            f"from_rotation_matrix: {int(mirror.sum())} of {count} matrices are reflections or "
            "singular (determinant <= 0); no rotation is nearest to such a matrix: look for "
            "swapped axes, or pass -R if a reflection through the origin is meant"
        )
    return xp.where(finite[:, None], upper(top_eigenvector(davenport(R))), R.dtype.type("nan"))


def top_eigenvector(K: Array) -> Array:
    """The unit eigenvector of the largest eigenvalue: symmetric (..., n, n) -> (..., n)."""
    return array_module(K).linalg.eigh(K)[1][..., -1]


# ------------------------------------------------------------------------- angles and axes


def from_axis_angle(axis: Array, angle: Any) -> Array:
    """cos(a/2) + sin(a/2) u/|u|: the turn by the angle a about the axis u.

    axis (..., 3) of any length, angle a number or (...) -> (..., 4), the leading axes broadcast.
    No rounding is lost to a long or a short axis. A zero axis turns nothing: 1.
    """
    check_last("from_axis_angle", axis, 3, "the components of axes")
    u = normalize(from_vector(axis))
    half = real_like("from_axis_angle", angle, axis)[..., None] / 2
    return exp(half * u)


def to_axis_angle(q: Array) -> tuple[Array, Array]:
    """(u, a): the unit axis (..., 3) and the angle (...), 0 <= a <= pi, of the rotation q (..., 4).

    a = 2 atan2(|v|, |w|) with q = w + v, right for all angles. q and -q give the same; at a half
    turn the first component of u that is not 0 is positive. No turn has no axis: u = 0, a = 0.
    """
    check("to_axis_angle", q)
    xp, w = array_module(q), q[..., :1]
    r, half, axis = kernel("quaternion_polar")(q * xp.copysign(q.dtype.type(1), w))
    turned, still, none = w[..., 0] == 0, half == 0, ~(r > 0) | xp.isnan(half)
    if turned.any():  # by half a turn
        axis[turned] = upper(axis[turned])
    if still.any():
        axis[still] = 0
    if none.any():
        half[none] = axis[none] = q.dtype.type("nan")
    return axis, 2 * half


def from_rotation_vector(v: Array) -> Array:
    """exp(v/2): the turn by the angle |v| about the axis v; (..., 3) -> (..., 4)."""
    check_last("from_rotation_vector", v, 3, "the components of vectors")
    return exp(from_vector(v / 2))


def to_rotation_vector(q: Array) -> Array:
    """a u, the axis times the angle of `to_axis_angle`, of length <= pi; (..., 4) -> (..., 3).

    For w >= 0 it is 2 log(q / |q|). It and `from_rotation_vector` undo each other for |v| < pi.
    """
    axis, angle = to_axis_angle(q)
    return axis * angle[..., None]


def from_euler(angles: Array, axes: str) -> Array:
    """Turns by angles[..., 0], [..., 1], ... about the named axes, one after the other.

    angles (..., n), axes n letters, n = 1, 2 or 3 -> (..., 4). As in SciPy, capitals are axes of
    the turning body (intrinsic), small letters are axes of the room (extrinsic): with turns X(a),
    Y(b), Z(c), "XYZ" gives X(a) Y(b) Z(c), and "xyz" gives Z(c) Y(b) X(a). Two neighbours in
    `axes` differ. Errors: `OptionError` for other axes.
    """
    n = len(_axes("from_euler", axes, (1, 2, 3)))
    check_last("from_euler", angles, n, f"the angles about {axes!r}")
    turns = []
    for i, letter in enumerate(axes.lower()):
        half = array_module(angles).zeros((*angles.shape[:-1], 4), angles.dtype)
        half[..., "xyz".index(letter) + 1] = angles[..., i] / 2
        turns.append(exp(half))
    return reduce(multiply, turns if axes.isupper() else turns[::-1])


def to_euler(q: Array, axes: str) -> Array:
    """The angles (..., 3), with from_euler(angles, axes) the rotation q (..., 4); three axes.

    The first and the third are in [-pi, pi]. The second is in [0, pi] if the first and the third
    axis are the same ("ZYZ"), else in [-pi/2, pi/2]. At both ends of its range (gimbal lock) only
    the sum or the difference of the other two matters: the third angle is then 0. This rule holds
    only within rounding of the lock, so the angles always give q again within a few eps.

    Source: Bernardes and Viollet 2022, doi:10.1371/journal.pone.0276302.
    """
    check("to_euler", q)
    i, j, k = _axes("to_euler", axes, (3,))
    return kernel("quaternion_to_euler")(q, (i, j, k), axes.isupper())


def _axes(name: str, axes: str, counts: tuple[int, ...]) -> list[int]:
    """The components 1, 2, 3 of the axes; raises `OptionError` for axes that are none."""
    good = isinstance(axes, str) and len(axes) in counts and (axes.islower() or axes.isupper())
    if not good or set(axes.lower()) - set("xyz") or any(a == b for a, b in pairwise(axes)):
        raise OptionError(
            f"{name}: axes {axes!r}; give {' or '.join(map(str, counts))} letters of XYZ (axes of "
            "the body) or of xyz (of the room), no letter twice in a row, as 'ZYX' or 'zxz'"
        )
    return ["xyz".index(a) + 1 for a in axes.lower()]


# ------------------------------------------------------------------------------ arguments


def check_last(name: str, x: Array, size: int, what: str) -> None:
    """Raise unless x is an array of float32 or float64 whose last axis has that size."""
    check_array(name, x)
    if x.ndim == 0 or x.shape[-1] != size:
        raise ShapeError(f"{name}: {what} lie along the last axis, of size {size}; got {x.shape}")


def real_like(name: str, x: Any, q: Array) -> Array:
    """The number or array of numbers x as an array beside q; raises `DTypeError` if they differ."""
    if getattr(x, "ndim", 0) == 0:
        return real_array(x, q.dtype, array_module(q))
    check_array(name, x)
    same_dtype(name, x, q)
    return x
