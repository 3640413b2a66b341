"""Feature maps (..., 4Q), in component blocks, seen as arrays of quaternions (..., Q, 4)."""

from quatgrad.arrays import Array
from quatgrad.errors import ShapeError
from quatgrad.quaternion.checks import check, check_array


def as_quaternions(x: Array) -> Array:
    """y[..., q, a] = x[..., a Q + q]: a feature map (..., 4Q) as quaternions (..., Q, 4).

    x lies in component blocks [1 | i | j | k]. A view: writing to it writes to x.
    """
    check_array("as_quaternions", x)
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
    check("from_quaternions", q)
    if q.ndim < 2:
        raise ShapeError(
            "from_quaternions: an axis of quaternions goes before their components, "
            f"(..., Q, 4); got shape {q.shape}"
        )
    return q.swapaxes(-1, -2).reshape(*q.shape[:-2], 4 * q.shape[-2])
