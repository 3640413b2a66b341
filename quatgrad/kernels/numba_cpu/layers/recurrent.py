"""GRU and LSTM in float32: a task takes some sequences of the batch through all of their steps.

So threads never wait for each other, and the weight of the state stays in the cache. A step is one
product, and one pass over the gates. A row has the same bits whatever rows are beside it. A task
has its longest sequences first, so those that have a step are its first rows, and nothing is
computed for the others: past its end, a sequence has zeros.
"""

import numba
import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.exponential import sigmoid, tanh
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.vector import scratch
from quatgrad.kernels.reference import recurrent as formulas
from quatgrad.kernels.registry import register

#: Most sequences of a task: their states and gates stay in the cache beside the weight.
_MOST = 48
_ZERO, _ONE = np.float32(0), np.float32(1)


def _plain(x: Array, U: Array) -> bool:
    """Can compiled steps take these?"""
    return x.dtype == np.float32 and 0 not in (*x.shape, *U.shape)


def _rows(N: int) -> int:
    """Sequences of a task."""
    return min(_MOST, -(-N // numba.get_num_threads()))


def _sequences(lengths: Array, rows: int) -> tuple[Array, Array]:
    """The sequences, the longest of each task first, and how long they are."""
    order = np.lexsort((-lengths, np.arange(len(lengths)) // rows))
    return read_only(order), read_only(lengths[order], np.int64)


@serial
def _alive(lengths, first, count, t):
    """How many of a task's sequences have a step t."""
    while count and lengths[first + count - 1] <= t:
        count -= 1
    return count


@serial
def _clear(arrays, sequences, t):
    for a in arrays:
        for n in sequences:
            a[n, t] = 0


@serial
def _order(i, T, reverse):
    """(t, the step before it): step i of T."""
    return (T - 1 - i, T - i) if reverse else (i, i - 1)


@register
def gru(x: Array, U: Array, c: Array, lengths: Array, reverse: bool) -> tuple[Array, Array, Array]:
    """`reference.gru`."""
    if not _plain(x, U):
        return formulas.gru(x, U, c, lengths, reverse)
    N, T, H = *x.shape[:2], len(U)
    y, gates, m = (empty((N, T, n * H), x.dtype) for n in (1, 3, 1))
    inputs = read_only(x), read_only(U).reshape(-1), read_only(c)
    _gru(*inputs, *_sequences(lengths, _rows(N)), reverse, _rows(N), y, gates, m)
    return y, gates, m


@parallel
def _gru(x, U, c, order, lengths, reverse, rows, y, gates, m):
    (N, T, H), G = y.shape, 3 * y.shape[2]
    for task in prange((N + rows - 1) // rows):
        first = task * rows
        count = min(rows, N - first)
        h, u = scratch(count * H), scratch(count * G)
        h[:] = 0
        for i in range(T):
            t, _ = _order(i, T, reverse)
            alive = _alive(lengths, first, count, t)
            _clear((y, gates, m), order[first + alive : first + count], t)
            multiply(u, 0, G, h, 0, H, 1, U, 0, G, alive, H, G, False)
            for row in range(alive):
                n, a, b = order[first + row], row * H, row * G
                for j in range(H):
                    r = sigmoid(x[n, t, j] + u[b + j])
                    z = sigmoid(x[n, t, H + j] + u[b + H + j])
                    v = u[b + 2 * H + j] + c[j]
                    new = tanh(x[n, t, 2 * H + j] + r * v)
                    gates[n, t, j], gates[n, t, H + j], gates[n, t, 2 * H + j] = r, z, new
                    m[n, t, j] = v
                    h[a + j] = new + z * (h[a + j] - new)
                    y[n, t, j] = h[a + j]


@register
def gru_dx(
    g: Array, y: Array, U: Array, gates: Array, m: Array, lengths: Array, reverse: bool
) -> tuple[Array, Array]:
    """`reference.gru_dx`."""
    if not _plain(g, U):
        return formulas.gru_dx(g, y, U, gates, m, lengths, reverse)
    dx, du = (empty(gates.shape, g.dtype) for _ in range(2))
    made = read_only(g), read_only(y), read_only(gates), read_only(m)
    turned, rows = read_only(U.T).reshape(-1), _rows(len(g))
    _gru_dx(*made, turned, *_sequences(lengths, rows), reverse, rows, dx, du)
    return dx, du


@parallel
def _gru_dx(g, y, gates, m, turned, order, lengths, reverse, rows, dx, du):
    (N, T, H), G = g.shape, 3 * g.shape[2]
    for task in prange((N + rows - 1) // rows):
        first = task * rows
        count = min(rows, N - first)
        e, d = scratch(count * H), scratch(count * G)
        e[:] = 0
        for i in range(T - 1, -1, -1):
            t, before = _order(i, T, reverse)
            older, s = (_ONE, before) if i > 0 else (_ZERO, t)
            alive = _alive(lengths, first, count, t)
            _clear((dx, du), order[first + alive : first + count], t)
            for row in range(alive):
                n, a, b = order[first + row], row * H, row * G
                for j in range(H):
                    r, z, new = gates[n, t, j], gates[n, t, H + j], gates[n, t, 2 * H + j]
                    share = e[a + j] + g[n, t, j]
                    dn = share * (_ONE - z) * (_ONE - new * new)
                    dz = share * (older * y[n, s, j] - new) * z * (_ONE - z)
                    dr = dn * m[n, t, j] * r * (_ONE - r)
                    dx[n, t, j], dx[n, t, H + j], dx[n, t, 2 * H + j] = dr, dz, dn
                    du[n, t, j], du[n, t, H + j], du[n, t, 2 * H + j] = dr, dz, dn * r
                    d[b + j], d[b + H + j], d[b + 2 * H + j] = dr, dz, dn * r
                    e[a + j] = share * z
            multiply(e, 0, H, d, 0, G, 1, turned, 0, H, alive, G, H, True)


@register
def lstm(x: Array, U: Array, lengths: Array, reverse: bool) -> tuple[Array, Array, Array]:
    """`reference.lstm`."""
    if not _plain(x, U):
        return formulas.lstm(x, U, lengths, reverse)
    N, T, H = *x.shape[:2], len(U)
    y, gates, cells = (empty((N, T, n * H), x.dtype) for n in (1, 4, 1))
    inputs = read_only(x), read_only(U).reshape(-1), *_sequences(lengths, _rows(N))
    _lstm(*inputs, reverse, _rows(N), y, gates, cells)
    return y, gates, cells


@parallel
def _lstm(x, U, order, lengths, reverse, rows, y, gates, cells):
    (N, T, H), G = y.shape, 4 * y.shape[2]
    for task in prange((N + rows - 1) // rows):
        first = task * rows
        count = min(rows, N - first)
        h, c, u = scratch(count * H), scratch(count * H), scratch(count * G)
        h[:] = 0
        c[:] = 0
        for i in range(T):
            t, _ = _order(i, T, reverse)
            alive = _alive(lengths, first, count, t)
            _clear((y, gates, cells), order[first + alive : first + count], t)
            multiply(u, 0, G, h, 0, H, 1, U, 0, G, alive, H, G, False)
            for row in range(alive):
                n, a, b = order[first + row], row * H, row * G
                for j in range(H):
                    enter = sigmoid(x[n, t, j] + u[b + j])
                    keep = sigmoid(x[n, t, H + j] + u[b + H + j])
                    new = tanh(x[n, t, 2 * H + j] + u[b + 2 * H + j])
                    out = sigmoid(x[n, t, 3 * H + j] + u[b + 3 * H + j])
                    gates[n, t, j], gates[n, t, H + j] = enter, keep
                    gates[n, t, 2 * H + j], gates[n, t, 3 * H + j] = new, out
                    c[a + j] = keep * c[a + j] + enter * new
                    h[a + j] = out * tanh(c[a + j])
                    cells[n, t, j], y[n, t, j] = c[a + j], h[a + j]


@register
def lstm_dx(g: Array, U: Array, gates: Array, cells: Array, lengths: Array, reverse: bool) -> Array:
    """`reference.lstm_dx`."""
    if not _plain(g, U):
        return formulas.lstm_dx(g, U, gates, cells, lengths, reverse)
    dx = empty(gates.shape, g.dtype)
    made = read_only(g), read_only(gates), read_only(cells)
    turned, rows = read_only(U.T).reshape(-1), _rows(len(g))
    _lstm_dx(*made, turned, *_sequences(lengths, rows), reverse, rows, dx)
    return dx


@parallel
def _lstm_dx(g, gates, cells, turned, order, lengths, reverse, rows, dx):
    (N, T, H), G = g.shape, 4 * g.shape[2]
    for task in prange((N + rows - 1) // rows):
        first = task * rows
        count = min(rows, N - first)
        e, k, d = scratch(count * H), scratch(count * H), scratch(count * G)
        e[:] = 0
        k[:] = 0
        for i in range(T - 1, -1, -1):
            t, before = _order(i, T, reverse)
            older, s = (_ONE, before) if i > 0 else (_ZERO, t)
            alive = _alive(lengths, first, count, t)
            _clear((dx,), order[first + alive : first + count], t)
            for row in range(alive):
                n, a, b = order[first + row], row * H, row * G
                for j in range(H):
                    enter, keep = gates[n, t, j], gates[n, t, H + j]
                    new, out = gates[n, t, 2 * H + j], gates[n, t, 3 * H + j]
                    share, state = e[a + j] + g[n, t, j], tanh(cells[n, t, j])
                    dc = k[a + j] + share * out * (_ONE - state * state)
                    di = dc * new * enter * (_ONE - enter)
                    df = dc * older * cells[n, s, j] * keep * (_ONE - keep)
                    dn, do = dc * enter * (_ONE - new * new), share * state * out * (_ONE - out)
                    dx[n, t, j], dx[n, t, H + j] = di, df
                    dx[n, t, 2 * H + j], dx[n, t, 3 * H + j] = dn, do
                    d[b + j], d[b + H + j], d[b + 2 * H + j], d[b + 3 * H + j] = di, df, dn, do
                    k[a + j] = dc * keep
                    e[a + j] = 0
            multiply(e, 0, H, d, 0, G, 1, turned, 0, H, alive, G, H, True)
