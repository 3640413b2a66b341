"""Between rotations: distances, arcs, smooth curves, means."""

from typing import Any

from quatgrad.arrays import Array, array_module
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.quaternion.algebra import conjugate, multiply, norm, normalize
from quatgrad.quaternion.checks import check, check_pair
from quatgrad.quaternion.functions import exp, log
from quatgrad.quaternion.rotations import real_like, rotor, top_eigenvector, upper


def distance(p: Array, q: Array, space: str = "rotation", metric: str = "intrinsic") -> Array:
    """How far apart p/|p| and q/|q| are; (..., 4), (..., 4) -> (...), in one of four ways.

    metric "intrinsic": 4 atan2(|p - q|, |p + q|), the angle of the turn q p^-1, in radians
           "chordal":   |p - q|, straight through the sphere
    space  "rotor":     as above, up to 2 pi or 2: q and -q are far apart
           "rotation":  to q or -q, whichever is nearer, up to pi or sqrt 2: q and -q are the same

    Each is a metric, and is the same for r p, r q and for p r, q r. All are accurate for p near q
    and near -q, where the arc cosine of p . q is not. Zero gives NaN.
    """
    check_pair("distance", p, q)
    if metric not in ("intrinsic", "chordal") or space not in ("rotation", "rotor"):
        raise OptionError(
            f"distance: space {space!r}, metric {metric!r}; the spaces are 'rotation' and 'rotor', "
            "the metrics 'intrinsic' and 'chordal'"
        )
    return kernel("quaternion_distance")(p, q, space == "rotation", metric == "chordal")


def slerp(p: Array, q: Array, t: Any, shortest: bool = True) -> Array:
    """(p sin((1 - t) a) + q sin(t a)) / sin a: from p at t = 0 to q at t = 1 at constant speed.

    a is the angle between p and q, which have norm 1. p (..., 4), q (..., 4), t a number or (...)
    -> (..., 4), the leading axes broadcast; t below 0 or above 1 goes on along the same circle.
    The ends are exact: p, and q or -q.

    q and -q are the same rotation: with `shortest`, the arc goes to whichever is nearer (to q if
    they are equally near). Else it goes to q, in two halves that meet at (p + q) / |p + q|; to
    q = -p, where all directions are equally good, it goes by p i, as p (p^-1 q)^t does.

    Source: Shoemake 1985, doi:10.1145/325165.325242.
    """
    check_pair("slerp", p, q)
    t = real_like("slerp", t, p)
    if not shortest:
        p, q, t = _half(p, q, t)
    return kernel("quaternion_slerp")(p, q, t, shortest)


def _half(p: Array, q: Array, t: Array) -> tuple[Array, Array, Array]:
    """The half, from p to the middle or from there to q, in which t lies; and its own t."""
    xp, t = array_module(p), t[..., None]
    middle, along, i = p + q, (p - q) / 2, xp.eye(4, dtype=p.dtype)[1]
    middle = middle - along * (along * middle).sum(axis=-1, keepdims=True)  # was rounding only
    opposite = norm(middle)[..., None] <= 4 * xp.finfo(p.dtype).eps
    middle = xp.where(opposite, multiply(p, i), normalize(middle))
    late = t > 0.5
    p, q = xp.where(late, middle, p), xp.where(late, q, middle)
    return p, q, (2 * t - late.astype(t.dtype))[..., 0]


def squad(times: Array, q: Array, t: Array) -> Array:
    """A curve through q[n] at times[n] whose velocity does not jump; (N,), (N, ..., 4), (T,).

    Between times n and n + 1, with u = (t - times[n]) / (times[n + 1] - times[n]),

        slerp(slerp(q_n, q_n+1, u), slerp(a_n, b_n+1, u), 2 u (1 - u)),

    -> (T, ..., 4). The control points a and b bend it at each q_n halfway between the arcs that
    come and go. At the first and the last time they are the ends themselves. The q have norm 1 and
    are taken with the signs that bring each nearest to the one before.

    Errors: `OptionError` unless the times increase, and if a t is outside of them.
    Sources: Shoemake 1987; for unequal steps, Boyle's numpy-quaternion.
    """
    check("squad", q)
    times, t = real_like("squad", times, q), real_like("squad", t, q)
    if q.ndim < 2 or times.shape != q.shape[:1] or len(q) < 2 or t.ndim != 1:
        raise ShapeError(
            "squad: takes N >= 2 times (N,), as many quaternions (N, ..., 4) and new times (T,); "
            f"got {times.shape}, {q.shape} and {t.shape}"
        )
    xp, steps = array_module(q), times[1:] - times[:-1]
    if not (steps > 0).all() or not ((t >= times[0]) & (t <= times[-1])).all():
        raise OptionError(
            "squad: the times must increase, and the new ones lie between the first and the last "
            f"({times[0]} and {times[-1]}): there is no curve outside"
        )

    def beside(x: Array) -> Array:
        return x.reshape(-1, *[1] * (q.ndim - 1))

    flips = xp.where((q[1:] * q[:-1]).sum(axis=-1, keepdims=True) < 0, -1, 1).astype(q.dtype)
    q = xp.concatenate([q[:1], q[1:] * xp.cumprod(flips, axis=0)])
    turns = log(multiply(conjugate(q[:-1]), q[1:]))  # from each to the next, in its own frame
    come, go, ratio = turns[:-1], turns[1:], beside(steps[1:] / steps[:-1])
    a = xp.concatenate([q[:1], multiply(q[1:-1], exp((ratio * come - go) / 4))])
    b = xp.concatenate([multiply(q[1:-1], exp((come - go / ratio) / 4)), q[-1:]])
    n = xp.clip(xp.searchsorted(times, t, side="right") - 1, 0, len(q) - 2)
    u = xp.broadcast_to(beside((t - times[n]) / steps[n]), (len(t), *q.shape[1:-1], 1))[..., 0]
    return slerp(
        slerp(q[n], q[n + 1], u, False), slerp(a[n], b[n], u, False), 2 * u * (1 - u), False
    )


def mean_rotation(q: Array, weights: Array | None = None, axis: int = 0) -> Array:
    """The unit m, w >= 0, that minimises sum_n weights_n |R(m) - R(q_n)|^2 over one leading axis.

    R is `to_rotation_matrix`, and m the eigenvector of the largest eigenvalue of
    sum_n weights_n q_n q_n^T: the signs and sizes of the q_n do not matter. q (..., N, ..., 4)
    -> (..., 4) without that axis; weights (N,) or of q's leading shape, >= 0. Where two rotations
    are equally good, as between half turns about i and j, it is some combination of them.
    A q_n of zero, NaN or infinity makes the mean NaN.

    Errors: `OptionError` for weights that are negative or all 0, `ShapeError` if N is 0.
    Source: Markley et al. 2007, doi:10.2514/1.28949.
    """
    check("mean_rotation", q)
    lead = q.ndim - 1
    if not -lead <= axis < lead or q.shape[axis % lead] == 0:
        raise ShapeError(
            f"mean_rotation: no quaternions along axis {axis} of the leading axes {q.shape[:-1]}"
        )
    axis, xp = axis % lead, array_module(q)
    r = xp.moveaxis(rotor(q), axis, -2)
    if weights is None:
        w = xp.ones(r.shape[:-1], q.dtype)
    else:
        w = real_like("mean_rotation", weights, q)
        if w.shape not in (q.shape[axis : axis + 1], q.shape[:-1]):
            raise ShapeError(
                f"mean_rotation: weights of shape {w.shape}; give {q.shape[axis : axis + 1]}, one "
                f"for each along axis {axis}, or {q.shape[:-1]}"
            )
        w = w if w.ndim == 1 else xp.moveaxis(w, axis, -1)
        if not ((w >= 0).all() and (w.sum(axis=-1) > 0).all()):
            raise OptionError("mean_rotation: weights must be >= 0, and not all of them 0")
    M = (w[..., None] * r).swapaxes(-1, -2) @ r
    finite = xp.isfinite(M).all(axis=(-2, -1))[..., None]
    M = xp.where(finite[..., None], M, xp.eye(4, dtype=q.dtype))
    return xp.where(finite, upper(top_eigenvector(M)), q.dtype.type("nan"))
