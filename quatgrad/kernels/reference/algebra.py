"""The algebra of quaternions (..., 4) as formulas, right for every size of q.

Squares overflow and underflow long before the numbers do, so a formula with |q|^2 in it is given
u = q h^2 instead, with h a power of two (no rounding) that brings the squares of u into range:

    |q| = |u| / h^2     q^-1 = u^-1 h^2     sqrt(q) = sqrt(u) / h     log|q| = log|u| - 2 log(h)

An infinite q has h = 0 and u its direction, as in C99: 1 for each infinite component with its
sign, 0 for each finite one. A NaN stays, and so gives NaN in all components.
"""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register

_quiet = np.errstate(all="ignore")  # what zero and infinity give is stated, not warned of


# ----------------------------------------------------------------------------- parts of q


def _scaled(q: Array) -> tuple[Array, Array]:
    """(u, h): u = q h^2; h (..., 1) is a power of two, or 0 where q is infinite."""
    xp, info = array_module(q), np.finfo(q.dtype)
    E = info.maxexp  # 128, 1024
    m = abs(q).max(axis=-1, keepdims=True)
    h = xp.ones_like(m)
    h = xp.where(m > 2.0 ** (E // 2 - 4), 2.0 ** (-5 * E // 16), h)
    h = xp.where((m < 2.0 ** (info.nmant + 1 - E // 2)) & (m > 0), 2.0 ** (3 * E // 8), h)
    infinite = xp.isinf(q)
    direction = xp.where(xp.isnan(q), q, xp.copysign(infinite.astype(q.dtype), q))
    somewhere = infinite.any(axis=-1, keepdims=True)
    return xp.where(somewhere, direction, q * h * h), xp.where(somewhere, 0, h)


def _square(u: Array) -> Array:
    """|u|^2 (..., 1), of numbers that are in range."""
    return (u * u).sum(axis=-1, keepdims=True)


def _length(q: Array) -> Array:
    """|q| (..., 1), of any numbers of any size; NaN where one is NaN."""
    u, h = _scaled(q)
    return array_module(q).sqrt(_square(u)) / h / h


def _axis(q: Array) -> Array:
    """The direction (..., 3) of the vector part; i where that is zero."""
    xp, axis = array_module(q), quaternion_normalize(q[..., 1:])
    i = xp.asarray([1, 0, 0], dtype=q.dtype)
    return xp.where((axis == 0).all(axis=-1, keepdims=True), i, axis)


def _times(r: Array, q: Array) -> Array:
    """r q for numbers r (..., 1), with inf 0 = 0: an infinite modulus leaves zeros alone."""
    return array_module(q).where((q == 0) & (r == np.inf), 0, r * q)


def _join(w: Array, v: Array) -> Array:
    """w + v of a real part (..., 1) and a vector (..., 3)."""
    return array_module(w).concatenate((w, v), axis=-1)


def _square_less_1(u: Array) -> Array:
    """|u|^2 - 1 (..., 1) with hardly an error, for |u|^2 < 2.

    Each component is c = a + b, where a is c rounded to a multiple of 2^-25 (float32: 2^-11).
    Then sum a^2 - 1 is exact, and what is left, sum (c + a) b, is small and so is its error.
    """
    big = 1.5 * 2.0 ** (np.finfo(u.dtype).nmant // 2 + 1)  # its last bit is that multiple
    a = (u + big) - big
    return (_square(a) - 1) + ((u + a) * (u - a)).sum(axis=-1, keepdims=True)


# ----------------------------------------------------------------------------- arithmetic


@register
@_quiet
def quaternion_norm(q: Array) -> Array:
    """|q|; (..., n) -> (...); inf where a component is infinite, even if another is NaN."""
    return array_module(q).where(array_module(q).isinf(q).any(axis=-1), np.inf, _length(q)[..., 0])


@register
@_quiet
def quaternion_normalize(q: Array) -> Array:
    """q / |q|, and 0 / |0| = 0."""
    u, _ = _scaled(q)
    n = array_module(q).sqrt(_square(u))
    return u / (n + (n == 0))


@register
@_quiet
def quaternion_inverse(q: Array) -> Array:
    """conj(q) / |q|^2; NaN for zero, 0 for infinity."""
    u, h = _scaled(q)
    return _conjugate(u) / _square(u) * h * h


@register
@_quiet
def quaternion_divide(p: Array, q: Array) -> Array:
    """p q^-1; NaN for q = 0."""
    (s, g), (u, h) = _scaled(p), _scaled(q)
    return _product(s, _conjugate(u)) / _square(u) * (h / g) * (h / g)


def _conjugate(q: Array) -> Array:
    return _join(q[..., :1], -q[..., 1:])


def _product(p: Array, q: Array) -> Array:
    """(w + v) (r + u) = (w r - v . u) + (w u + r v + v x u)."""
    w, v, r, u = p[..., :1], p[..., 1:], q[..., :1], q[..., 1:]
    return _join(w * r - (v * u).sum(axis=-1, keepdims=True), w * u + r * v + _cross(v, u))


# ------------------------------------------------------------------------------ functions


@register
@_quiet
def quaternion_exp(q: Array) -> Array:
    """e^(w + v) = e^w (cos|v| + v sin|v| / |v|)."""
    xp = array_module(q)
    w, v = q[..., :1], q[..., 1:]
    n = _length(v)
    y = _join(xp.cos(n), v * xp.where(n == 0, 1, xp.sin(n) / n))
    # In two factors, because e^w cos|v| may be finite where e^w is not. One is nearly always 1.
    most = np.log(np.finfo(q.dtype).max) - 1
    inner = xp.clip(w, -most, most)
    return _times(xp.exp(w - inner), _times(xp.exp(inner), y))


@register
@_quiet
def quaternion_log(q: Array) -> Array:
    """log|q| + angle axis; -inf for zero, and log(-1) = pi i."""
    xp = array_module(q)
    u, h = _scaled(q)
    n2 = _square(u)
    near = (n2 > 0.5) & (n2 < 2)
    modulus = xp.where(near, xp.log1p(_square_less_1(u)), xp.log(n2)) / 2 - 2 * xp.log(h)
    angle = xp.arctan2(_length(u[..., 1:]), u[..., :1])
    return _join(modulus, angle * _axis(q))


@register
@_quiet
def quaternion_sqrt(q: Array) -> Array:
    """The root with real part >= 0: a = sqrt((|q| + |w|) / 2) is one part, |v| / 2a the other."""
    xp = array_module(q)
    u, h = _scaled(q)
    w = u[..., :1]
    a = xp.sqrt((xp.sqrt(_square(u)) + abs(w)) / 2)
    b = _length(u[..., 1:]) / (2 * a + (a == 0))
    y = _join(xp.where(w < 0, b, a), xp.where(w < 0, a, b) * _axis(q))
    return _times(1 / h, y)


@register
@_quiet
def quaternion_power(q: Array, t: Array) -> Array:
    """|q|^t (cos(t angle) + axis sin(t angle)) for real t (...); 0^0 = 1, 0^t = NaN for t < 0."""
    xp = array_module(q)
    u, h = _scaled(q)
    t = t[..., None]
    n = xp.sqrt(_square(u))
    angle = xp.arctan2(_length(u[..., 1:]), u[..., :1])
    y = _join(xp.cos(t * angle), xp.sin(t * angle) * _axis(q))
    r = xp.where((n == 0) & (t < 0), np.nan, (n / h) ** t)
    return _times((1 / h) ** t, _times(r, y))


@register
@_quiet
def quaternion_polar(q: Array) -> tuple[Array, Array, Array]:
    """|q|, the angle atan2(|v|, w) in [0, pi], the axis v / |v| (i where v = 0)."""
    u, _ = _scaled(q)
    angle = array_module(q).arctan2(_length(u[..., 1:]), u[..., :1])[..., 0]
    return quaternion_norm(q), angle, _axis(q)


@register
@_quiet
def quaternion_rotate(q: Array, v: Array) -> Array:
    """The vector part of q v q^-1, v (..., 3): v + w t + r x t with t = 2 r x v / |q|^2."""
    (u, _), (v, h) = _scaled(q), _scaled(v)
    w, r = u[..., :1], u[..., 1:]
    t = 2 * _cross(r, v) / _square(u)
    return _times(1 / h, _times(1 / h, v + w * t + _cross(r, t)))


def _cross(a: Array, b: Array) -> Array:
    """a x b of vectors (..., 3)."""
    (x, y, z), (u, v, w) = (a[..., k] for k in range(3)), (b[..., k] for k in range(3))
    return array_module(a).stack((y * w - z * v, z * u - x * w, x * v - y * u), axis=-1)
