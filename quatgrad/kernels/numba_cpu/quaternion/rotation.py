"""Rotations in one pass over memory, each quaternion by itself, see `algebra`."""

import math

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import formula, serial_nogil
from quatgrad.kernels.numba_cpu.quaternion import elementary
from quatgrad.kernels.numba_cpu.quaternion.algebra import _in_range, _load, _map, _store
from quatgrad.kernels.reference import rotation as reference
from quatgrad.kernels.registry import register

BLOCK = 64  # matrices that are rearranged at a time


@register
def quaternion_to_matrix(q: Array) -> Array:
    """`reference.quaternion_to_matrix`."""
    y = _map(_to_matrix, lambda q: reference.quaternion_to_matrix(q).reshape(-1, 9), 9, q)
    return y.reshape(*q.shape[:-1], 3, 3)


@serial_nogil
def _to_matrix(q, out, ok):
    scales = np.empty(BLOCK)  # made first: nothing then waits for a division
    total, all_ok = 0.0, True  # to mark each row takes a tenth of the time, and few rows are not ok
    for first in range(0, len(ok), BLOCK):
        end = min(first + BLOCK, len(ok))
        some, matrices = q[4 * first : 4 * end], out[9 * first : 9 * end]
        all_ok &= _to_scales(some, scales)
        total += _to_matrices(some, scales, matrices)
    ok[:] = all_ok
    if not all_ok:
        for m in range(len(ok)):
            w, x, y, z = _load(q, 4 * m)
            ok[m] = _in_range(w * w + x * x + y * y + z * z)
    return total


@formula
def _to_scales(q, scales):
    """scales = 2 / |q|^2; are all |q|^2 in range?"""
    all_ok = True
    for m in range(len(q) // 4):
        w, x, y, z = _load(q, 4 * m)
        n2 = w * w + x * x + y * y + z * z
        scales[m] = 2 / n2
        all_ok = all_ok & _in_range(n2)
    return all_ok


@formula
def _to_matrices(q, scales, out):
    """The matrices; returns a sum, kept in order: in vectors, with steps of nine, it is slower."""
    total = 0.0
    for m in range(len(q) // 4):
        w, x, y, z = _load(q, 4 * m)
        s, n = scales[m], 9 * m
        out[n] = 1 - s * (y * y + z * z)
        out[n + 1] = s * (x * y - w * z)
        out[n + 2] = s * (x * z + w * y)
        out[n + 3] = s * (x * y + w * z)
        out[n + 4] = 1 - s * (x * x + z * z)
        out[n + 5] = s * (y * z - w * x)
        out[n + 6] = s * (x * z - w * y)
        out[n + 7] = s * (y * z + w * x)
        out[n + 8] = 1 - s * (x * x + y * y)
        total += s
    return total


@register
def quaternion_from_matrix(R: Array) -> Array:
    """`reference.quaternion_from_matrix`."""
    return _map(_from_matrix, None, 4, R.reshape(*R.shape[:-2], 9))


@serial_nogil
def _from_matrix(R, out, ok):
    eps = 16 * (2.0**-23 if R.itemsize == 4 else 2.0**-52)
    entries = np.empty((9, BLOCK))  # an entry of many matrices side by side: read in vectors
    for first in range(0, len(out) // 4, BLOCK):
        count = min(BLOCK, len(out) // 4 - first)
        for m in range(count):
            for k in range(9):
                entries[k, m] = R[9 * (first + m) + k]
        _from_entries(entries, eps, out[4 * first : 4 * (first + count)])


@formula
def _from_entries(entries, eps, out):
    for m in range(len(out) // 4):
        a, b, c = entries[0, m], entries[1, m], entries[2, m]
        d, e, f = entries[3, m], entries[4, m], entries[5, m]
        g, h, i = entries[6, m], entries[7, m], entries[8, m]
        x, y, z = h - f, c - g, d - b
        # The column with the largest diagonal, the first of equals.
        w, largest = 1 + a + e + i, 1 + a + e + i
        if 1 + a - e - i > largest:
            w, x, y, z, largest = h - f, 1 + a - e - i, b + d, c + g, 1 + a - e - i
        if 1 + e - a - i > largest:
            w, x, y, z, largest = c - g, b + d, 1 + e - a - i, f + h, 1 + e - a - i
        if 1 + i - a - e > largest:
            w, x, y, z = d - b, c + g, f + h, 1 + i - a - e
        first = w if w != 0 else x if x != 0 else y if y != 0 else z
        size = elementary.signed(_size(w, x, y, z), first)
        wrong = max(
            max(abs(a * a + b * b + c * c - 1), abs(d * d + e * e + f * f - 1)),
            max(abs(g * g + h * h + i * i - 1), abs(a * d + b * e + c * f)),
        )
        wrong = max(wrong, max(abs(a * g + b * h + c * i), abs(d * g + e * h + f * i)))
        det = a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)
        size = size if (wrong <= eps) & (det > 0) else np.nan
        _store(out, 4 * m, w / size + 0, x / size + 0, y / size + 0, z / size + 0)


@register
def quaternion_to_euler(q: Array, axes: tuple[int, int, int], body: bool) -> Array:
    """`reference.quaternion_to_euler`."""
    order, proper = reference.order(axes, body), axes[0] == axes[2]

    def rows(q: Array, out: Array, ok: Array) -> None:
        _to_euler(q, *order, body, proper, out, ok)

    return _map(rows, lambda q: reference.quaternion_to_euler(q, axes, body), 3, q)


@serial_nogil
def _to_euler(q, i, j, k, sign, body, proper, out, ok):
    eps = 4 * (2.0**-23 if q.itemsize == 4 else 2.0**-52)
    still, flip = 1.0 if body else -1.0, 1.0 if proper else np.float64(sign)
    for m in range(len(ok)):
        w, x, y, z = _load(q, 4 * m)
        n2 = w * w + x * x + y * y + z * z
        n = math.sqrt(n2)
        w, x, y, z = w / n, x / n, y / n, z / n
        x, y, z = _of(i, x, y, z), _of(j, x, y, z), sign * _of(k, x, y, z)
        middle = 2 * (w * y - x * z)
        if not proper:
            w, x, y, z = w - y, x + z, w + y, z - x
        low, high = math.sqrt(w * w + x * x), math.sqrt(y * y + z * z)
        middle = elementary.signed_angle(high if proper else middle, low if proper else low * high)
        plus, minus = elementary.signed_angle(x, w), elementary.signed_angle(z, y)
        minus = still * plus if high <= eps else minus
        plus = still * minus if low <= eps else plus
        first, third = _within(plus - minus), _within(flip * (plus + minus))
        out[3 * m] = third if body else first
        out[3 * m + 1] = 2 * middle if proper else middle
        out[3 * m + 2] = first if body else third
        ok[m] = _in_range(n2)


@formula
def _of(k, x, y, z):
    """Component k of x, y, z, counted from 1."""
    return x if k == 1 else y if k == 2 else z


@formula
def _within(a):
    """The angle a in [-pi, pi]."""
    return a - elementary.signed(2 * math.pi, a) if abs(a) > math.pi else a


@register
def quaternion_distance(p: Array, q: Array, rotation: bool, chordal: bool) -> Array:
    """`reference.quaternion_distance`."""

    def rows(p: Array, q: Array, out: Array, ok: Array) -> None:
        _distance(p, q, rotation, chordal, out, ok)

    def far(p: Array, q: Array) -> Array:
        return reference.quaternion_distance(p, q, rotation, chordal)

    return _map(rows, far, 1, p, q)[..., 0]


@serial_nogil
def _distance(p, q, rotation, chordal, out, ok):
    if len(p) == 4:
        _distances(p, 0, q, 4, rotation, chordal, out, ok)
    elif len(q) == 4:
        _distances(p, 4, q, 0, rotation, chordal, out, ok)
    else:
        _distances(p, 4, q, 4, rotation, chordal, out, ok)


@formula
def _distances(p, a, q, b, rotation, chordal, out, ok):
    for m in range(len(ok)):
        pw, px, py, pz = _load(p, a * m)
        w, x, y, z = _load(q, b * m)
        p2, q2 = pw * pw + px * px + py * py + pz * pz, w * w + x * x + y * y + z * z
        r, s = 1 / math.sqrt(p2), 1 / math.sqrt(q2)
        pw, px, py, pz, w, x, y, z = pw * r, px * r, py * r, pz * r, w * s, x * s, y * s, z * s
        near, far = _square(pw - w, px - x, py - y, pz - z), _square(pw + w, px + x, py + y, pz + z)
        if rotation:
            near, far = min(near, far), max(near, far)
        fine = ((near > 2.0**-900) | (near == 0)) & ((far > 2.0**-900) | (far == 0))
        if chordal:
            out[m] = math.sqrt(near)
        else:
            out[m] = 4 * elementary.angle(math.sqrt(near), math.sqrt(far))
        ok[m] = _in_range(p2) & _in_range(q2) & fine


@formula
def _size(w, x, y, z):
    return math.sqrt(_square(w, x, y, z))


@formula
def _square(w, x, y, z):
    return w * w + x * x + y * y + z * z


@register
def quaternion_slerp(p: Array, q: Array, t: Array, shortest: bool) -> Array:
    """`reference.quaternion_slerp`."""
    shape = np.broadcast_shapes(p.shape[:-1], q.shape[:-1], t.shape)
    q, t = np.broadcast_to(q, (*shape, 4)), np.broadcast_to(t, shape)

    def rows(p: Array, q: Array, t: Array, out: Array, ok: Array) -> None:
        _slerp(p, q, t, shortest, out, ok)

    def far(p: Array, q: Array, t: Array) -> Array:
        return reference.quaternion_slerp(p, q, t[:, 0], shortest)

    return _map(rows, far, 4, p, q, t[..., None])


@serial_nogil
def _slerp(p, q, t, shortest, out, ok):
    if len(p) == 4:
        _arcs(p, 0, q, t, shortest, out, ok)
    else:
        _arcs(p, 4, q, t, shortest, out, ok)


@formula
def _arcs(p, a, q, t, shortest, out, ok):
    for m in range(len(ok)):
        pw, px, py, pz = _load(p, a * m)
        w, x, y, z = _load(q, 4 * m)
        s = np.float64(t[m])
        turn = shortest & (pw * w + px * x + py * y + pz * z < 0)
        w, x, y, z = -w if turn else w, -x if turn else x, -y if turn else y, -z if turn else z
        d, e = _size(pw - w, px - x, py - y, pz - z), _size(pw + w, px + x, py + y, pz + z)
        angle = 2 * elementary.angle(d, e)
        whole = elementary.sine(angle)
        near = angle < 1e-9  # the sine is the angle
        f = 1 - s if near else elementary.sine((1 - s) * angle) / whole
        g = s if near else elementary.sine(s * angle) / whole
        _store(out, 4 * m, f * pw + g * w, f * px + g * x, f * py + g * y, f * pz + g * z)
        ok[m] = (abs(s) < 1e4) & (d < 3) & (e > 1) & (e < 3)
