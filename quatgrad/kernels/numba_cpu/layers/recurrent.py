"""GRU and LSTM in float32: a task takes some sequences of the batch through all of their steps.

So threads never wait for each other, and the weight of the state stays in the cache. A step is one
product, and some passes over the gates. A row has the same bits whatever rows are beside it. A task
has its longest sequences first, so those that have a step are its first rows, and nothing is
computed for the others: past its end, a sequence has zeros.

A pass is a loop as in `rows`: of one that writes several rows the compiler cannot tell whether they
overlap, and takes number by number, up to three times as long.
"""

import numba
import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.exponential import sigmoid, tanh
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.rows import add, copy
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


@leaf
def _sigmoids(x):
    for j in range(len(x)):
        x[j] = sigmoid(x[j])


@leaf
def _tanhs(x):
    for j in range(len(x)):
        x[j] = tanh(x[j])


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
                n = order[first + row]
                _gru_row(x[n, t], c, h[row * H : (row + 1) * H], u[row * G :], m[n, t], gates[n, t])
                copy(y[n, t], h[row * H :])


@leaf
def _gru_row(x, c, h, u, m, gates):
    """A step of a sequence: h changes, its gates and m are noted."""
    H = len(h)
    r, z, new = gates[:H], gates[H : 2 * H], gates[2 * H :]
    for j in range(H):
        m[j] = u[2 * H + j] + c[j]
    copy(gates, x)
    add(gates[: 2 * H], u)
    _sigmoids(gates[: 2 * H])
    for j in range(H):
        new[j] += r[j] * m[j]
    _tanhs(new)
    for j in range(H):
        h[j] = new[j] + z[j] * (h[j] - new[j])


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
                n = order[first + row]
                made = gates[n, t], m[n, t], y[n, s], older
                _gru_row_dx(e[row * H : (row + 1) * H], g[n, t], *made, dx[n, t], du[n, t])
                copy(d[row * G : (row + 1) * G], du[n, t])
            multiply(e, 0, H, d, 0, G, 1, turned, 0, H, alive, G, H, True)


@leaf
def _gru_row_dx(e, g, gates, m, y, older, dx, du):
    """The gradients of a step of a sequence; e, of its state, becomes what goes past the gates."""
    H = len(e)
    r, z, new = gates[:H], gates[H : 2 * H], gates[2 * H :]
    dr, dz, dn = dx[:H], dx[H : 2 * H], dx[2 * H :]
    add(e, g)
    for j in range(H):
        dn[j] = e[j] * (_ONE - z[j]) * (_ONE - new[j] * new[j])
    for j in range(H):
        dz[j] = e[j] * (older * y[j] - new[j]) * z[j] * (_ONE - z[j])
    for j in range(H):
        dr[j] = dn[j] * m[j] * r[j] * (_ONE - r[j])
    copy(du[: 2 * H], dx)
    for j in range(H):
        du[2 * H + j] = dn[j] * r[j]
    for j in range(H):
        e[j] *= z[j]


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
                n, a = order[first + row], row * H
                state = h[a : a + H], c[a : a + H]
                _lstm_row(x[n, t], *state, u[row * G : (row + 1) * G], gates[n, t])
                copy(cells[n, t], state[1])
                copy(y[n, t], state[0])


@leaf
def _lstm_row(x, h, c, u, gates):
    """A step of a sequence: h and c change, u becomes its gates."""
    H = len(h)
    enter, keep, new, out = u[:H], u[H : 2 * H], u[2 * H : 3 * H], u[3 * H :]
    add(u, x)
    _sigmoids(u[: 2 * H])
    _tanhs(new)
    _sigmoids(out)
    copy(gates, u)
    for j in range(H):
        c[j] = keep[j] * c[j] + enter[j] * new[j]
    copy(h, c)
    _tanhs(h)
    for j in range(H):
        h[j] *= out[j]


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
        e, k, d, state = scratch(count * H), scratch(count * H), scratch(count * G), scratch(H)
        e[:] = 0
        k[:] = 0
        for i in range(T - 1, -1, -1):
            t, before = _order(i, T, reverse)
            older, s = (_ONE, before) if i > 0 else (_ZERO, t)
            alive = _alive(lengths, first, count, t)
            _clear((dx,), order[first + alive : first + count], t)
            for row in range(alive):
                n, a = order[first + row], row * H
                made = gates[n, t], cells[n, t], cells[n, s], older
                own = d[row * G : (row + 1) * G]
                _lstm_row_dx(e[a : a + H], k[a : a + H], g[n, t], *made, state, own)
                copy(dx[n, t], own)
            multiply(e, 0, H, d, 0, G, 1, turned, 0, H, alive, G, H, False)


@leaf
def _lstm_row_dx(e, k, g, gates, cell, before, older, state, d):
    """The gradients d of a step of a sequence, from e of its state and k of its cell."""
    H = len(e)
    enter, keep, new, out = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H :]
    di, df, dn, do = d[:H], d[H : 2 * H], d[2 * H : 3 * H], d[3 * H :]
    add(e, g)
    copy(state, cell)
    _tanhs(state)
    for j in range(H):
        k[j] += e[j] * out[j] * (_ONE - state[j] * state[j])
    for j in range(H):
        di[j] = k[j] * new[j] * enter[j] * (_ONE - enter[j])
    for j in range(H):
        df[j] = k[j] * older * before[j] * keep[j] * (_ONE - keep[j])
    for j in range(H):
        dn[j] = k[j] * enter[j] * (_ONE - new[j] * new[j])
    for j in range(H):
        do[j] = e[j] * state[j] * out[j] * (_ONE - out[j])
    for j in range(H):
        k[j] *= keep[j]
