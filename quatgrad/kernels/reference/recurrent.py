"""GRU and LSTM over whole sequences, as formulas. A state after the end of its sequence is 0.

Gates stand side by side in the last axis; U (H, gates H) is the real weight of the state.
"""

from collections.abc import Iterable
from typing import Any

from quatgrad.arrays import Array, array_module, special
from quatgrad.kernels.registry import register


def steps(T: int, reverse: bool) -> Iterable[tuple[int, int | None]]:
    """(t, the step before it or None), in the order in which the states are made."""
    order = range(T - 1, -1, -1) if reverse else range(T)
    before = 1 if reverse else -1
    return ((t, t + before if 0 <= t + before < T else None) for t in order)


def _parts(a: Array, count: int) -> list[Array]:
    H = a.shape[-1] // count
    return [a[..., i * H : (i + 1) * H] for i in range(count)]


def _inside(t: int, lengths: Array) -> Any:
    """(N, 1): has sequence n a step t?"""
    return (t < lengths)[:, None]


@register
def gru(x: Array, U: Array, c: Array, lengths: Array, reverse: bool) -> tuple[Array, Array, Array]:
    """h' = n + z (h - n), n = tanh(x_n + r m), m = h U_n + c, r, z = sigmoid(x_rz + h U_rz).

    x (N, T, 3H) in the order r, z, n; U (H, 3H), c (H,). Returns all h (N, T, H), and for the
    gradient r, z, n (N, T, 3H) and m (N, T, H). Source: Cho et al., arXiv:1406.1078, as cuDNN.
    """
    xp, (N, T, H) = array_module(x), (*x.shape[:2], len(U))
    y, gates, m = (xp.zeros((N, T, n * H), x.dtype) for n in (1, 3, 1))
    for t, before in steps(T, reverse):
        h = y[:, before] if before is not None else xp.zeros((N, H), x.dtype)
        u_r, u_z, u_n = _parts(h @ U, 3)
        x_r, x_z, x_n = _parts(x[:, t], 3)
        r, z = special(x).expit(x_r + u_r), special(x).expit(x_z + u_z)
        m[:, t] = xp.where(_inside(t, lengths), u_n + c, 0)
        n = xp.tanh(x_n + r * m[:, t])
        gates[:, t] = xp.where(_inside(t, lengths), xp.concatenate([r, z, n], axis=1), 0)
        y[:, t] = xp.where(_inside(t, lengths), n + z * (h - n), 0)
    return y, gates, m


@register
def gru_dx(
    g: Array, y: Array, U: Array, gates: Array, m: Array, lengths: Array, reverse: bool
) -> tuple[Array, Array]:
    """dL/dx and dL/d(h U + (0, 0, c)), both (N, T, 3H), from g = dL/dh; steps in reverse order.

    With e = dL/dh': dn = e (1 - z) (1 - n^2), dz = e (h - n) z (1 - z), dr = dn m r (1 - r);
    through the state it passes on e z + (dr, dz, dn r) U^T.
    """
    xp, (N, T, H) = array_module(g), g.shape
    dx, du = (xp.zeros((N, T, 3 * H), g.dtype) for _ in range(2))
    e = xp.zeros((N, H), g.dtype)
    for t, before in reversed(list(steps(T, reverse))):
        h = y[:, before] if before is not None else xp.zeros((N, H), g.dtype)
        r, z, n = _parts(gates[:, t], 3)
        e = xp.where(_inside(t, lengths), e + g[:, t], 0)
        dn = e * (1 - z) * (1 - n * n)
        dz, dr = e * (h - n) * z * (1 - z), dn * m[:, t] * r * (1 - r)
        dx[:, t], du[:, t] = (xp.concatenate([dr, dz, d], axis=1) for d in (dn, dn * r))
        e = e * z + du[:, t] @ U.T
    return dx, du


@register
def lstm(x: Array, U: Array, lengths: Array, reverse: bool) -> tuple[Array, Array, Array]:
    """h' = o tanh(c'), c' = f c + i n; i, f, o = sigmoid and n = tanh of x + h U.

    x (N, T, 4H) in the order i, f, n, o; U (H, 4H). Returns all h (N, T, H), and for the gradient
    i, f, n, o (N, T, 4H) and all c (N, T, H). Source: Gers et al. 2000.
    """
    xp, (N, T, H) = array_module(x), (*x.shape[:2], len(U))
    y, gates, cells = (xp.zeros((N, T, n * H), x.dtype) for n in (1, 4, 1))
    for t, before in steps(T, reverse):
        zero = xp.zeros((N, H), x.dtype)
        h, c = (zero, zero) if before is None else (y[:, before], cells[:, before])
        i, f, n, o = _parts(x[:, t] + h @ U, 4)
        i, f, o = (special(x).expit(a) for a in (i, f, o))
        n = xp.tanh(n)
        gates[:, t] = xp.where(_inside(t, lengths), xp.concatenate([i, f, n, o], axis=1), 0)
        cells[:, t] = xp.where(_inside(t, lengths), f * c + i * n, 0)
        y[:, t] = xp.where(_inside(t, lengths), o * xp.tanh(cells[:, t]), 0)
    return y, gates, cells


@register
def lstm_dx(g: Array, U: Array, gates: Array, cells: Array, lengths: Array, reverse: bool) -> Array:
    """dL/dx (N, T, 4H), which is dL/d(h U) too, from g = dL/dh; steps in reverse order.

    With e = dL/dh' and k = dL/dc' + e o (1 - tanh(c')^2): di = k n, df = k c, dn = k i and
    do = e tanh(c'), each times the slope of its gate; k f and dx U^T are passed on.
    """
    xp, (N, T, H) = array_module(g), g.shape
    dx = xp.zeros((N, T, 4 * H), g.dtype)
    e = k = xp.zeros((N, H), g.dtype)
    for t, before in reversed(list(steps(T, reverse))):
        c = cells[:, before] if before is not None else xp.zeros((N, H), g.dtype)
        i, f, n, o = _parts(gates[:, t], 4)
        e = xp.where(_inside(t, lengths), e + g[:, t], 0)
        tanh_c = xp.tanh(cells[:, t])
        k = xp.where(_inside(t, lengths), k, 0) + e * o * (1 - tanh_c * tanh_c)
        di, df = k * n * i * (1 - i), k * c * f * (1 - f)
        dn, do = k * i * (1 - n * n), e * tanh_c * o * (1 - o)
        dx[:, t] = xp.concatenate([di, df, dn, do], axis=1)
        k, e = k * f, dx[:, t] @ U.T
    return dx
