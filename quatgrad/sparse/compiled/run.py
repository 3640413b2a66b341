"""The tables of a `Program`, carried out: one call for a network and any number of images."""

import math

import numpy as np

from quatgrad.kernels.numba_cpu.jit import serial, serial_nogil
from quatgrad.kernels.numba_cpu.simd.vector import LANES, scratch
from quatgrad.sparse.compiled import dense, rows
from quatgrad.sparse.compiled.signs import SIGNS
from quatgrad.sparse.program import (
    DENSE,
    DENSE_VECTOR,
    ENTRIES,
    FUNCTION,
    LARGEST,
    LONGEST,
    MEAN,
    PRODUCT,
    SCALAR,
    SPARSE,
    WHOLE,
)

S = tuple(tuple(row) for row in SIGNS)

_r1, _r2, _r3, _r4, _r6, _r8, _r9, _r11 = (rows.real_row(T) for T in (1, 2, 3, 4, 6, 8, 9, 11))
_q1, _q2, _q3, _q4, _q6 = (rows.quaternion_row(T) for T in (1, 2, 3, 4, 6))
_w1, _w2, _w3, _w4 = (rows.whole_row(T) for T in (1, 2, 3, 4))
_m1, _m4 = (rows.largest_row(T) for T in (1, 4))
_d1, _d2, _d3, _d4 = (dense.real_block(T) for T in (1, 2, 3, 4))
_h1, _h2 = (dense.quaternion_block(T) for T in (1, 2))
_s1, _s2, _s3, _s4, _s6, _s8, _s9, _s11 = (rows.store(T) for T in (1, 2, 3, 4, 6, 8, 9, 11))
_permute = rows.permute


# ------------------------------------------------------------------------- layers, in vectors


@serial
def _store(arena, o, sums, first, c, t, scales, shifts, at, holds):
    """A tile of channel c, from sums[first:]."""
    T, low, k = o.tile, np.float32(0 if o.low else -np.inf), o.place + t
    scale, shift = scales[o.channel + c], shifts[o.channel + c]
    y, has = o.y + c * o.y_step, o.has_residual
    z = has * (o.residual + c * o.residual_step)
    if T == 11:
        _s11(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 9:
        _s9(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 8:
        _s8(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 6:
        _s6(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 4:
        _s4(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 3:
        _s3(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    elif T == 2:
        _s2(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)
    else:
        _s1(arena, sums, first, scale, shift, low, y, z, has, at, holds, k)


@serial
def _real_row(arena, T, x, B, w, d, p, r, sums):
    if T == 11:
        _r11(arena, x, B, w, d, p, r, sums)
    elif T == 9:
        _r9(arena, x, B, w, d, p, r, sums)
    elif T == 8:
        _r8(arena, x, B, w, d, p, r, sums)
    elif T == 6:
        _r6(arena, x, B, w, d, p, r, sums)
    elif T == 4:
        _r4(arena, x, B, w, d, p, r, sums)
    elif T == 3:
        _r3(arena, x, B, w, d, p, r, sums)
    elif T == 2:
        _r2(arena, x, B, w, d, p, r, sums)
    else:
        _r1(arena, x, B, w, d, p, r, sums)


@serial
def _quaternion_row(arena, T, x, B, w, d, p, r, sums):
    if T == 6:
        _q6(arena, x, B, w, d, p, r, sums)
    elif T == 4:
        _q4(arena, x, B, w, d, p, r, sums)
    elif T == 3:
        _q3(arena, x, B, w, d, p, r, sums)
    elif T == 2:
        _q2(arena, x, B, w, d, p, r, sums)
    else:
        _q1(arena, x, B, w, d, p, r, sums)


@serial
def _whole_row(arena, T, x, B, w, d, p, r, sums):
    if T == 4:
        _w4(arena, x, B, w, d, p, r, sums)
    elif T == 3:
        _w3(arena, x, B, w, d, p, r, sums)
    elif T == 2:
        _w2(arena, x, B, w, d, p, r, sums)
    else:
        _w1(arena, x, B, w, d, p, r, sums)


@serial
def _sparse(arena, o, tables, sums):
    """Row by row, tile by tile; the last tile overlaps the one before where they do not fit."""
    Q, T, A = o.outputs, o.tile, o.components
    w, d, p = tables.values, tables.distances, tables.rows
    w4, d4 = tables.wholes, tables.whole_distances
    scales, shifts, places, holds = tables.scales, tables.shifts, tables.places, tables.holds
    for first in range(0, o.vectors, T):
        t = min(first, o.vectors - T)
        x = o.x + LANES * t
        for q in range(Q):
            if o.kind == LARGEST:
                z = x + q * o.input_step
                if T == 4:
                    _m4(arena, z, 0, w, d, p, o.row, sums)
                else:
                    _m1(arena, z, 0, w, d, p, o.row, sums)
            elif A == 1:
                _real_row(arena, T, x, 0, w, d, p, o.row + q, sums)
            elif o.kind == WHOLE:
                _whole_row(arena, T, x, o.input_step, w4, d4, p, o.row + q, sums)
            else:
                _quaternion_row(arena, T, x, o.input_step, w, d, p, o.row + 4 * q, sums)
            for c in range(A):
                _store(arena, o, sums, LANES * T * c, c * Q + q, t, scales, shifts, places, holds)


@serial
def _dense(arena, o, tables, sums):
    """Blocks of outputs, tile by tile."""
    Q, T, A, R, K = o.outputs, o.tile, o.components, o.block, o.taps
    w, d = tables.numbers, tables.indices
    scales, shifts, places, holds = tables.scales, tables.shifts, tables.places, tables.holds
    for first in range(0, o.vectors, T):
        t = min(first, o.vectors - T)
        x = o.x + LANES * t
        for q in range(0, Q, R):
            v = o.value + q * K * A
            if A == 4:
                if T == 2:
                    _h2(arena, x, o.input_step, w, v, d, o.row, K, sums)
                else:
                    _h1(arena, x, o.input_step, w, v, d, o.row, K, sums)
            elif T == 4:
                _d4(arena, x, 0, w, v, d, o.row, K, sums)
            elif T == 3:
                _d3(arena, x, 0, w, v, d, o.row, K, sums)
            elif T == 2:
                _d2(arena, x, 0, w, v, d, o.row, K, sums)
            else:
                _d1(arena, x, 0, w, v, d, o.row, K, sums)
            for r in range(min(R, Q - q)):
                for c in range(A):
                    s = LANES * T * (A * r + c)
                    _store(arena, o, sums, s, c * Q + q + r, t, scales, shifts, places, holds)


# -------------------------------------------------------------------------- layers, one pixel


@serial
def _store_number(arena, o, s, c, tables):
    y = s * tables.scales[o.channel + c] + tables.shifts[o.channel + c]
    at = tables.places[o.place]
    if o.has_residual:
        y += arena[o.residual + c * o.residual_step + at]
    if o.low and y < 0:
        y = np.float32(0)
    arena[o.y + c * o.y_step + at] = y


@serial
def _scalar(arena, o, tables):
    """Sparse rows of a layer whose output is one pixel."""
    Q, A, B, x = o.outputs, o.components, o.input_step, o.x
    w, d, p = tables.values, tables.distances, tables.rows
    for q in range(Q):
        if A == 1:
            s = np.float32(0)
            for k in range(p[o.row + q], p[o.row + q + 1]):
                s += w[k] * arena[x + d[k]]
            _store_number(arena, o, s, q, tables)
            continue
        s0 = s1 = s2 = s3 = np.float32(0)
        for a in range(4):
            r = o.row + 4 * q + a
            t0 = t1 = t2 = t3 = np.float32(0)
            for k in range(p[r], p[r + 1]):
                i = x + d[k]
                t0 += w[k] * arena[i]
                t1 += w[k] * arena[i + B]
                t2 += w[k] * arena[i + 2 * B]
                t3 += w[k] * arena[i + 3 * B]
            if a == 0:
                s0, s1, s2, s3 = s0 + t0, s1 + t1, s2 + t2, s3 + t3
            elif a == 1:
                s1, s0, s3, s2 = s1 + t0, s0 - t1, s3 + t2, s2 - t3
            elif a == 2:
                s2, s3, s0, s1 = s2 + t0, s3 - t1, s0 - t2, s1 + t3
            else:
                s3, s2, s1, s0 = s3 + t0, s2 + t1, s1 - t2, s0 - t3
        _store_number(arena, o, s0, q, tables)
        _store_number(arena, o, s1, Q + q, tables)
        _store_number(arena, o, s2, 2 * Q + q, tables)
        _store_number(arena, o, s3, 3 * Q + q, tables)


@serial
def _dense_vector(arena, o, tables, sums):
    """All outputs of a layer of one pixel side by side: sums += x_k w_k, k by k."""
    Q, A, B, K = o.outputs, o.components, o.input_step, o.taps
    w, d = tables.numbers, tables.indices
    for i in range(A * Q):
        sums[i] = 0
    for k in range(K):
        i, v = o.x + d[o.row + k], o.value + k * A * Q
        x0 = arena[i]
        if A == 1:
            for q in range(Q):
                sums[q] += x0 * w[v + q]
            continue
        x1, x2, x3 = arena[i + B], arena[i + 2 * B], arena[i + 3 * B]
        for q in range(Q):
            w0, w1, w2, w3 = w[v + q], w[v + Q + q], w[v + 2 * Q + q], w[v + 3 * Q + q]
            sums[q] += w0 * x0 - w1 * x1 - w2 * x2 - w3 * x3
            sums[Q + q] += w0 * x1 + w1 * x0 + w2 * x3 - w3 * x2
            sums[2 * Q + q] += w0 * x2 - w1 * x3 + w2 * x0 + w3 * x1
            sums[3 * Q + q] += w0 * x3 + w1 * x2 - w2 * x1 + w3 * x0
    for c in range(A * Q):
        _store_number(arena, o, sums[c], c, tables)


@serial
def _mean(arena, o, tables):
    """The sum of each plane, times a number."""
    for c in range(o.outputs):
        s = rows.sum_of(arena, o.x + c * o.input_step, o.vectors)
        _store_number(arena, o, s * tables.numbers[o.value], c, tables)


# -------------------------------------------------------------------------- all other steps


@serial
def _function(arena, o, tables):
    """A function of each entry; which one is its number in `program.FUNCTIONS`."""
    f, a = o.width, o.value
    for c in range(o.map_channels):
        for k in range(o.pixels, o.pixels + o.taps):
            x = arena[o.x + c * o.input_step + tables.indices[k]]
            if f == 0:
                y = x if x > 0 else tables.numbers[a] * x
            elif f == 1:
                y = min(max(x, tables.numbers[a]), tables.numbers[a + 1])
            elif f == 2:
                y = abs(x)
            elif f == 3:
                y = math.exp(x)
            elif f == 4:
                y = math.log(x)
            elif f == 5:
                y = math.sqrt(x)
            elif f == 6:
                y = 1 / x
            elif f == 7:
                y = 1 / (1 + math.exp(-x))
            elif f == 8:
                y = math.tanh(x)
            else:
                y = 0.5 * x * (1 + math.erf(x * 0.7071067811865476))
            arena[o.y + c * o.y_step + tables.indices[k + o.taps]] = y


@serial
def _modrelu(arena, o, tables):
    Q = o.map_channels // 4
    for q in range(Q):
        bias = tables.numbers[o.value + q]
        for k in range(o.pixels, o.pixels + o.taps):
            i = o.x + q * o.input_step + tables.indices[k]
            j = o.y + q * o.y_step + tables.indices[k + o.taps]
            s = np.float32(0)
            for c in range(4):
                x = arena[i + c * Q * o.input_step]
                s += x * x
            length = math.sqrt(s)
            gain = max(length + bias, 0) / (length if length > 0 else 1)
            for c in range(4):
                arena[j + c * Q * o.y_step] = gain * arena[i + c * Q * o.input_step]


@serial
def _product(arena, o, tables):
    for c in range(o.map_channels):
        for k in range(o.pixels, o.pixels + o.taps):
            x = arena[o.x + c * o.input_step + tables.indices[k]]
            z = arena[o.residual + c * o.residual_step + tables.indices[k + o.taps]]
            arena[o.y + c * o.y_step + tables.indices[k + 2 * o.taps]] = x * z


@serial
def _longest(arena, o, tables):
    """The longest quaternion, or largest number, of each window: pixels, then the output's."""
    A, n = o.components, o.width
    Q = o.map_channels // A
    for q in range(Q):
        for p in range(o.taps):
            longest, winner = np.float32(-np.inf), 0
            for k in range(n):
                i = o.x + q * o.input_step + tables.indices[o.pixels + p * (n + 1) + k]
                s = np.float32(0)
                for c in range(A):
                    x = arena[i + c * Q * o.input_step]
                    s += x * x if A == 4 else x
                if s > longest or k == 0 or s != s:
                    longest, winner = s, i
            j = o.y + q * o.y_step + tables.indices[o.pixels + p * (n + 1) + n]
            for c in range(A):
                arena[j + c * Q * o.y_step] = arena[winner + c * Q * o.input_step]


@serial
def _copies(arena, o, tables):
    """What windows cannot read in the home: vectors, and numbers that no two vectors have."""
    for c in range(o.map_channels if o.copies_end + o.singles_end else 0):
        y = o.y + c * o.y_step
        for k in range(o.copies, o.copies_end):
            a, b, to, order = tables.copies[k]
            _permute(arena, y + a, y + b, y + to, tables.orders, order)
        for k in range(o.singles, o.singles_end):
            arena[y + tables.singles[k, 1]] = arena[y + tables.singles[k, 0]]


@serial
def _step(arena, o, tables, sums):
    kind = o.kind
    if kind in (SPARSE, WHOLE, LARGEST):
        _sparse(arena, o, tables, sums)
    elif kind == DENSE:
        _dense(arena, o, tables, sums)
    elif kind == SCALAR:
        _scalar(arena, o, tables)
    elif kind == DENSE_VECTOR:
        _dense_vector(arena, o, tables, sums)
    elif kind == MEAN:
        _mean(arena, o, tables)
    elif kind == ENTRIES:
        for k in range(o.pixels, o.pixels + o.taps):
            arena[tables.indices[k + o.taps]] = arena[tables.indices[k]]
    elif kind == FUNCTION and o.width < 10:
        _function(arena, o, tables)
    elif kind == FUNCTION:
        _modrelu(arena, o, tables)
    elif kind == PRODUCT:
        _product(arena, o, tables)
    elif kind == LONGEST:
        _longest(arena, o, tables)
    _copies(arena, o, tables)


@serial
def one_image(arena, table, tables, image, sums, logits):
    """Steps of an image (H W, C); the first row of the table is the input, the last the output."""
    o = table[0]
    for p in range(len(image)):
        for c in range(image.shape[1]):
            arena[o.y + c * o.y_step + tables.indices[o.pixels + p]] = image[p, c]
    _copies(arena, o, tables)
    for k in range(1, len(table) - 1):
        _step(arena, table[k], tables, sums)
    o = table[len(table) - 1]
    for p in range(o.taps):
        for c in range(o.map_channels):
            i = o.x + c * o.input_step + tables.indices[o.pixels + p]
            logits[p * o.map_channels + c] = arena[i]


@serial_nogil
def run(arena, table, tables, images, logits, size):
    """All images (N, H W, C) in this thread."""
    sums = scratch(size)
    for n in range(len(images)):
        one_image(arena, table, tables, images[n], sums, logits[n])
