"""Functions of a quaternion: exp, log, sqrt, powers, and the polar form.

Each extends the complex function of the same name: q = w + v is in the plane of 1 and v / |v|, and
there it is that function. So f(r q r^-1) = r f(q) r^-1 and f(conj q) = conj(f(q)). On the negative
real axis v is 0 and there is no such plane; it takes the plane of i, whatever the signs of zeros:
log(-1) = pi i and sqrt(-1) = i.

An infinite q has the direction of its infinite components, as in C99; a NaN in any component gives
NaN in all. No warnings are given.
"""

from numbers import Integral, Real
from typing import Any

from quatgrad.arrays import Array, array_module
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.quaternion.algebra import inverse, multiply, norm
from quatgrad.quaternion.checks import broadcast, check, check_array


def exp(q: Array) -> Array:
    """e^q = e^w (cos|v| + v sin|v| / |v|), q = w + v; (..., 4) -> (..., 4).

    exp(p + q) = exp(p) exp(q) where p q = q p. e^-inf is 0; an infinite v gives NaN.
    """
    check("exp", q)
    return kernel("quaternion_exp")(q)


def log(q: Array) -> Array:
    """log q = log|q| + a u: a = atan2(|v|, w) in [0, pi] is the angle, u = v / |v| the axis of q.

    (..., 4) -> (..., 4). exp(log q) = q, and log(exp q) = q where |v| < pi. log 0 = -inf,
    log(-1) = pi i. Near |q| = 1 its real part is accurate, however small.
    """
    check("log", q)
    return kernel("quaternion_log")(q)


def sqrt(q: Array) -> Array:
    """The s with s s = q and real part >= 0; (..., 4) -> (..., 4). sqrt 0 = 0, sqrt(-1) = i."""
    check("sqrt", q)
    return kernel("quaternion_sqrt")(q)


def power(q: Array, t: Any) -> Array:
    """q^t = |q|^t (cos(t a) + u sin(t a)) = exp(t log q), with the angle a and axis u of q; t real.

    q (..., 4), t a number or an array (...) -> (..., 4), broadcast. A whole number (a Python int)
    gives the product q q ... q, exact where products are. q^0 = 1, 0^0 = 1 and 0^t = NaN for t < 0.
    For a quaternion exponent see `general_power`.
    """
    check("power", q)
    if isinstance(t, Integral):
        return _repeated(q, int(t))
    if isinstance(t, Real):
        t = array_module(q).asarray(t, dtype=q.dtype)
    else:
        check_array("power", t)
        if t.dtype != q.dtype:
            raise DTypeError(f"power: {q.dtype} to {t.dtype} does not mix; convert one: .astype")
    broadcast("power", q.shape[:-1], t.shape, "the exponents go with the axes before the last")
    return kernel("quaternion_power")(q, t)


def _repeated(q: Array, t: int) -> Array:
    """q^t for a whole number t, by squaring."""
    if t == 0:
        one = array_module(q).zeros_like(q)
        one[..., 0] = 1
        return array_module(q).where((q == q).all(axis=-1, keepdims=True), one, q.dtype.type("nan"))
    y: Any = None
    square, t = (inverse(q), -t) if t < 0 else (q + 0, t)
    while True:
        if t & 1:
            y = square if y is None else multiply(y, square)
        t >>= 1
        if not t:
            return y
        square = multiply(square, square)


def general_power(q: Array, p: Array) -> Array:
    """q^p = exp(log(q) p) for a quaternion exponent; (..., 4), (..., 4) -> (..., 4), broadcast.

    The product's order is a choice, in use since Hamilton: log(q) on the left. For real p it is
    `power`. 0^0 = 1, 0^p = 0 where p has a positive real part, else NaN.
    """
    check("general_power", q)
    check("general_power", p)
    xp = array_module(q)
    zero = (norm(q) == 0)[..., None]
    if not zero.any():
        return exp(multiply(log(q), p))
    one = xp.zeros_like(q)
    one[..., 0] = 1
    y = exp(multiply(log(xp.where(zero, one, q)), p))
    nan = xp.where((p == 0).all(axis=-1, keepdims=True), 1, q.dtype.type("nan"))
    limit = xp.where(p[..., :1] > 0, q.dtype.type(0), nan)  # of the real part
    return xp.where(zero, limit * xp.where(limit == 1, one, 1), y)


def polar(q: Array) -> tuple[Array, Array, Array]:
    """(r, a, u): q = r (cos a + u sin a), r = |q|, a = atan2(|v|, w) in [0, pi], u = v / |v|.

    (..., 4) -> (...), (...), (..., 3). Where v = 0 the axis is i; and zero has the angle 0.
    """
    check("polar", q)
    return kernel("quaternion_polar")(q)


def from_polar(r: Array, a: Array, u: Array) -> Array:
    """r (cos a + u sin a): modulus (...), angle (...), axis (..., 3), a unit vector -> (..., 4)."""
    for x in (r, a, u):
        check_array("from_polar", x)
    if not r.dtype == a.dtype == u.dtype:
        raise DTypeError(f"from_polar: {r.dtype}, {a.dtype} and {u.dtype} do not mix")
    if u.ndim == 0 or u.shape[-1] != 3:
        raise ShapeError(f"from_polar: axes are vectors (..., 3); got shape {u.shape}")
    xp = array_module(r)
    c, s = xp.broadcast_arrays(r * xp.cos(a), r * xp.sin(a))
    v = s[..., None] * u
    return xp.concatenate((xp.broadcast_to(c[..., None], (*v.shape[:-1], 1)), v), axis=-1)
