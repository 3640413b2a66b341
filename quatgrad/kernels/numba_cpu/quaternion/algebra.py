"""The algebra of quaternions in one pass over memory, each quaternion by itself.

The loops have no branch and call nothing, so the compiler vectorises them. They compute in float64,
for float32 too, and mark the rows that are `ok`: all whose squares are in range. The few others,
huge, tiny or not finite, are left to `reference`. Long arrays are shared among threads, and the
bits do not depend on how many.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numba
import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import formula, read_only, serial_nogil
from quatgrad.kernels.numba_cpu.machine.threads import in_threads
from quatgrad.kernels.numba_cpu.quaternion import elementary
from quatgrad.kernels.reference import algebra as reference
from quatgrad.kernels.registry import register

SHARED = 1 << 16  # quaternions for each thread: fewer are done before it has started


def _map(
    rows: Callable[..., None], f: Callable[..., Array] | None, width: int, *arrays: Array
) -> Array:
    """y = f(*arrays) (..., width): by `rows(*arrays, y, ok)`, and where not ok by f itself.

    Without an f, `rows` answers for every row and has nothing to mark.
    The arrays (..., k) broadcast. `rows` takes them flat: the compiler then knows the step from
    quaternion to quaternion and reads several at once. Those of a single row k are left so.
    """
    shape = arrays[0].shape[:-1]
    if any(a.shape[:-1] != shape for a in arrays):
        shape = np.broadcast_shapes(*(a.shape[:-1] for a in arrays))
    M = math.prod(shape)
    args = [_flat(a, shape) for a in arrays]
    y, ok = np.empty((*shape, width), arrays[0].dtype), np.empty(M if f else 0, np.bool_)
    threads = max(1, min(numba.get_num_threads(), M // SHARED))
    if threads == 1:
        rows(*args, y.reshape(-1), ok)
    else:
        cuts = [M * k // threads for k in range(threads + 1)]
        flat = *args, y.reshape(-1), ok
        in_threads(rows, [tuple(_part(a, i, j, M) for a in flat) for i, j in pairwise(cuts)])
    if f and not ok.all():
        far = ~ok.reshape(shape)
        y[far] = f(*(np.broadcast_to(a, (*shape, a.shape[-1]))[far] for a in arrays)).reshape(
            -1, width
        )
    return y


def _flat(a: Array, shape: tuple[int, ...]) -> Array:
    """(..., k) broadcast to (*shape, k) and laid out flat; (k,) for a single row."""
    if a.shape[:-1] != shape and a.size != a.shape[-1]:
        a = np.broadcast_to(a, (*shape, a.shape[-1]))
    return read_only(a).reshape(-1)


def _part(a: Array, i: int, j: int, M: int) -> Array:
    """Rows i to j of M rows laid out flat; a single row whole."""
    k = len(a) // M
    return a[i * k : j * k] if k else a


@formula
def _load(q, i):
    """The quaternion that starts at q[i], in float64."""
    return np.float64(q[i]), np.float64(q[i + 1]), np.float64(q[i + 2]), np.float64(q[i + 3])


@formula
def _store(q, i, w, x, y, z):
    q[i], q[i + 1], q[i + 2], q[i + 3] = w, x, y, z


@formula
def _in_range(n2):
    """Are n2 = |q|^2, 1 / n2, and all squares that matter in n2 normal numbers? False for NaN."""
    return (n2 > 2.0**-900) & (n2 < 2.0**1000)


@formula
def _vector(x, y, z):
    """(|v|, is it 0, is it in range or 0)."""
    v2 = x * x + y * y + z * z
    none = abs(x) + abs(y) + abs(z) == 0
    return math.sqrt(v2), none, _in_range(v2) | none


# ----------------------------------------------------------------------------- arithmetic


@register
def hamilton(p: Array, q: Array) -> Array:
    """`reference.hamilton`, written out."""
    return _map(_hamilton, None, 4, p, q)


@serial_nogil
def _hamilton(p, q, out, ok):
    # The steps are known to the compiler in each of these, which makes a loop for each.
    if len(p) == 4:
        _products(p, 0, q, 4, out)
    elif len(q) == 4:
        _products(p, 4, q, 0, out)
    else:
        _products(p, 4, q, 4, out)


@formula
def _products(p, a, q, b, out):
    for m in range(len(out) // 4):
        i, j, n = a * m, b * m, 4 * m
        out[n] = p[i] * q[j] - p[i + 1] * q[j + 1] - p[i + 2] * q[j + 2] - p[i + 3] * q[j + 3]
        out[n + 1] = p[i] * q[j + 1] + p[i + 1] * q[j] + p[i + 2] * q[j + 3] - p[i + 3] * q[j + 2]
        out[n + 2] = p[i] * q[j + 2] - p[i + 1] * q[j + 3] + p[i + 2] * q[j] + p[i + 3] * q[j + 1]
        out[n + 3] = p[i] * q[j + 3] + p[i + 1] * q[j + 2] - p[i + 2] * q[j + 1] + p[i + 3] * q[j]


@register
def quaternion_norm(q: Array) -> Array:
    """`reference.quaternion_norm`."""
    return _map(_norm, reference.quaternion_norm, 1, q)[..., 0]


@serial_nogil
def _norm(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n2 = w * w + x * x + y * y + z * z
        out[m] = math.sqrt(n2)
        ok[m] = _in_range(n2)


@register
def quaternion_normalize(q: Array) -> Array:
    """`reference.quaternion_normalize`."""
    return _map(_normalize, reference.quaternion_normalize, 4, q)


@serial_nogil
def _normalize(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n2 = w * w + x * x + y * y + z * z
        n = math.sqrt(n2)
        _store(out, 4 * m, w / n, x / n, y / n, z / n)
        ok[m] = _in_range(n2)


@register
def quaternion_inverse(q: Array) -> Array:
    """`reference.quaternion_inverse`."""
    return _map(_inverse, reference.quaternion_inverse, 4, q)


@serial_nogil
def _inverse(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n2 = w * w + x * x + y * y + z * z
        _store(out, 4 * m, w / n2, -x / n2, -y / n2, -z / n2)
        ok[m] = _in_range(n2)


@register
def quaternion_divide(p: Array, q: Array) -> Array:
    """`reference.quaternion_divide`."""
    return _map(_divide, reference.quaternion_divide, 4, p, q)


@serial_nogil
def _divide(p, q, out, ok):
    if len(p) == 4:
        _quotients(p, 0, q, 4, out, ok)
    elif len(q) == 4:
        _quotients(p, 4, q, 0, out, ok)
    else:
        _quotients(p, 4, q, 4, out, ok)


@formula
def _quotients(p, a, q, b, out, ok):
    for m in range(len(ok)):
        pw, px, py, pz = _load(p, a * m)
        w, x, y, z = _load(q, b * m)
        n2 = w * w + x * x + y * y + z * z
        out[4 * m] = (pw * w + px * x + py * y + pz * z) / n2
        out[4 * m + 1] = (px * w - pw * x - py * z + pz * y) / n2
        out[4 * m + 2] = (py * w - pw * y - pz * x + px * z) / n2
        out[4 * m + 3] = (pz * w - pw * z - px * y + py * x) / n2
        ok[m] = _in_range(n2) & _in_range(pw * pw + px * px + py * py + pz * pz)


@register
def quaternion_rotate(q: Array, v: Array) -> Array:
    """`reference.quaternion_rotate`."""
    return _map(_rotate, reference.quaternion_rotate, 3, q, v)


@serial_nogil
def _rotate(q, v, out, ok):
    if len(q) == 4:
        _turns(q, 0, v, 3, out, ok)
    elif len(v) == 3:
        _turns(q, 4, v, 0, out, ok)
    else:
        _turns(q, 4, v, 3, out, ok)


@formula
def _turns(q, a, v, b, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, a * m)
        v0, v1, v2 = np.float64(v[b * m]), np.float64(v[b * m + 1]), np.float64(v[b * m + 2])
        n2 = w * w + x * x + y * y + z * z
        two = 2 / n2
        t0, t1, t2 = two * (y * v2 - z * v1), two * (z * v0 - x * v2), two * (x * v1 - y * v0)
        out[3 * m] = v0 + w * t0 + (y * t2 - z * t1)
        out[3 * m + 1] = v1 + w * t1 + (z * t0 - x * t2)
        out[3 * m + 2] = v2 + w * t2 + (x * t1 - y * t0)
        size, none, _ = _vector(v0, v1, v2)
        ok[m] = (
            (n2 > 2.0**-400) & (n2 < 2.0**400) & (((size > 2.0**-300) & (size < 2.0**400)) | none)
        )


# ------------------------------------------------------------------------------ functions


@register
def quaternion_exp(q: Array) -> Array:
    """`reference.quaternion_exp`."""
    return _map(_exp, reference.quaternion_exp, 4, q)


@serial_nogil
def _exp(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n, none, fine = _vector(x, y, z)
        s, c = elementary.sin_cos(n)
        e = elementary.exp(w)
        f = 0.0 if none else e * (s / n)
        _store(out, 4 * m, e * c, f * x, f * y, f * z)
        ok[m] = fine & (abs(w) < 650) & (n < 1e5)


@register
def quaternion_log(q: Array) -> Array:
    """`reference.quaternion_log`."""
    return _map(_log, reference.quaternion_log, 4, q)


@serial_nogil
def _log(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n, none, fine = _vector(x, y, z)
        n2 = w * w + x * x + y * y + z * z
        (a, ra), (b, rb), (c, rc), (d, rd) = _square(w), _square(x), _square(y), _square(z)
        less_1 = ((a + b + c + d) - 1) + (ra + rb + rc + rd)
        f = elementary.angle(n, w) / (1.0 if none else n)
        _store(out, 4 * m, 0.5 * elementary.log(n2, less_1), f * (1.0 if none else x), f * y, f * z)
        ok[m] = fine & _in_range(n2)


@formula
def _square(c):
    """c^2 in two parts, see `reference.algebra._square_less_1`."""
    a = (c + 1.5 * 2.0**27) - 1.5 * 2.0**27
    return a * a, (c + a) * (c - a)


@register
def quaternion_sqrt(q: Array) -> Array:
    """`reference.quaternion_sqrt`."""
    return _map(_sqrt, reference.quaternion_sqrt, 4, q)


@serial_nogil
def _sqrt(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n, none, fine = _vector(x, y, z)
        n2 = w * w + x * x + y * y + z * z
        a = math.sqrt(0.5 * (math.sqrt(n2) + abs(w)))
        b = 0.5 * n / a
        f = (a if w < 0 else b) / (1.0 if none else n)
        _store(out, 4 * m, b if w < 0 else a, f * (1.0 if none else x), f * y, f * z)
        ok[m] = fine & _in_range(n2)


@register
def quaternion_power(q: Array, t: Array) -> Array:
    """`reference.quaternion_power`."""
    return _map(_power, lambda q, t: reference.quaternion_power(q, t[:, 0]), 4, q, t[..., None])


@serial_nogil
def _power(q, t, out, ok):
    if len(t) == 1:
        _powers(q, 4, t, 0, out, ok)
    elif len(q) == 4:
        _powers(q, 0, t, 1, out, ok)
    else:
        _powers(q, 4, t, 1, out, ok)


@formula
def _powers(q, a, t, b, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, a * m)
        s = np.float64(t[b * m])
        n, none, fine = _vector(x, y, z)
        n2 = w * w + x * x + y * y + z * z
        r, right = elementary.power(n2, 0.5 * s)
        turn = s * elementary.angle(n, w)
        sine, cosine = elementary.sin_cos(abs(turn))
        f = r * (sine if s > 0 else -sine)
        scale = 1 / (1.0 if none else n)  # of the axis first: f scale may be less than any number
        i, j, k = 1.0 if none else x * scale, y * scale, z * scale
        _store(out, 4 * m, r * cosine, f * i, f * j, f * k)
        ok[m] = fine & _in_range(n2) & right


@register
def quaternion_polar(q: Array) -> tuple[Array, Array, Array]:
    """`reference.quaternion_polar`."""

    def far(q: Array) -> Array:
        r, a, u = reference.quaternion_polar(q)
        return np.concatenate((r[:, None], a[:, None], u), axis=1)

    y = _map(_polar, far, 5, q)
    return y[..., 0], y[..., 1], y[..., 2:]


@serial_nogil
def _polar(q, out, ok):
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n, none, fine = _vector(x, y, z)
        n2 = w * w + x * x + y * y + z * z
        one = 1.0 if none else n
        out[5 * m], out[5 * m + 1] = math.sqrt(n2), elementary.angle(n, w)
        out[5 * m + 2], out[5 * m + 3], out[5 * m + 4] = 1.0 if none else x / one, y / one, z / one
        ok[m] = fine & _in_range(n2)
