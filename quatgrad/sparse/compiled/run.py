"""The tables of a `Program`, carried out: one call for a network and any number of images."""

import math

import numpy as np

from quatgrad.kernels.numba_cpu.jit import serial, serial_nogil, template
from quatgrad.kernels.numba_cpu.simd.vector import LANES, scratch
from quatgrad.sparse.compiled import dense, rows
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

# ------------------------------------------------------------------------- layers, in vectors


def _tiles(row, T, A, rows_of_output):
    """A layer in tiles of T vectors: A components of an output have so many rows of survivors.

    Tile by tile, row by row; the last tile overlaps the one before where they do not fit.
    """
    store = rows.store(T)

    @template
    def layer(arena, o, w, d, p, sums, scales, shifts, places, holds):
        Q, B, first_row = o.outputs, o.input_step, o.row
        low, has = np.float32(0 if o.low else -np.inf), o.has_residual
        for first in range(0, o.vectors, T):
            t = min(first, o.vectors - T)
            for q in range(Q):
                r = first_row + rows_of_output * q
                row(arena, o.x + LANES * t, B, w, d, p, r, sums)
                for a in range(A):
                    c, s = a * Q + q, LANES * T * a
                    scale, shift = scales[o.channel + c], shifts[o.channel + c]
                    y, z = o.y + c * o.y_step, has * (o.residual + c * o.residual_step)
                    k = o.place + t
                    store(arena, sums, s, scale, shift, low, y, z, has, places, holds, k)

    return layer


_r1, _r2, _r3, _r4 = (_tiles(rows.real_row(T), T, 1, 1) for T in (1, 2, 3, 4))
_r6, _r8, _r9, _r11 = (_tiles(rows.real_row(T), T, 1, 1) for T in (6, 8, 9, 11))
_q1, _q2, _q3, _q4, _q6 = (_tiles(rows.quaternion_row(T), T, 4, 4) for T in (1, 2, 3, 4, 6))
_w1, _w2, _w3, _w4 = (_tiles(rows.whole_row(T), T, 4, 1) for T in (1, 2, 3, 4))
_m1, _m4 = (_tiles(rows.largest_row(T), T, 1, 1) for T in (1, 4))


@serial
def _real(arena, o, w, d, p, sums, scales, shifts, places, holds):
    if o.tile == 11:
        _r11(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 9:
        _r9(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 8:
        _r8(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 6:
        _r6(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 4:
        _r4(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 3:
        _r3(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 2:
        _r2(arena, o, w, d, p, sums, scales, shifts, places, holds)
    else:
        _r1(arena, o, w, d, p, sums, scales, shifts, places, holds)


@serial
def _quaternion(arena, o, w, d, p, sums, scales, shifts, places, holds):
    if o.tile == 6:
        _q6(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 4:
        _q4(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 3:
        _q3(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 2:
        _q2(arena, o, w, d, p, sums, scales, shifts, places, holds)
    else:
        _q1(arena, o, w, d, p, sums, scales, shifts, places, holds)


@serial
def _whole(arena, o, w, d, p, sums, scales, shifts, places, holds):
    if o.tile == 4:
        _w4(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 3:
        _w3(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.tile == 2:
        _w2(arena, o, w, d, p, sums, scales, shifts, places, holds)
    else:
        _w1(arena, o, w, d, p, sums, scales, shifts, places, holds)


@serial
def _largest(arena, o, w, d, p, sums, scales, shifts, places, holds):
    if o.tile == 4:
        _m4(arena, o, w, d, p, sums, scales, shifts, places, holds)
    else:
        _m1(arena, o, w, d, p, sums, scales, shifts, places, holds)


@serial
def _sparse(arena, o, tables, sums):
    """A layer of rows, by their kind."""
    w, d, p = tables.values, tables.distances, tables.rows
    scales, shifts, places, holds = tables.scales, tables.shifts, tables.places, tables.holds
    if o.kind == LARGEST:
        _largest(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.kind == WHOLE:
        w, d = tables.wholes, tables.whole_distances
        _whole(arena, o, w, d, p, sums, scales, shifts, places, holds)
    elif o.components == 1:
        _real(arena, o, w, d, p, sums, scales, shifts, places, holds)
    else:
        _quaternion(arena, o, w, d, p, sums, scales, shifts, places, holds)


def _blocks(block, T, A, R):
    """A dense layer in tiles of T vectors and blocks of R outputs of A components."""
    store = rows.store(T)

    @template
    def layer(arena, o, w, d, sums, scales, shifts, places, holds):
        Q, B, K = o.outputs, o.input_step, o.taps
        low, has = np.float32(0 if o.low else -np.inf), o.has_residual
        for first in range(0, o.vectors, T):
            t = min(first, o.vectors - T)
            for q in range(0, Q, R):
                block(arena, o.x + LANES * t, B, w, o.value + q * K * A, d, o.row, K, sums)
                for r in range(A * min(R, Q - q)):
                    c, s, k = r % A * Q + q + r // A, LANES * T * r, o.place + t
                    scale, shift = scales[o.channel + c], shifts[o.channel + c]
                    y, z = o.y + c * o.y_step, has * (o.residual + c * o.residual_step)
                    store(arena, sums, s, scale, shift, low, y, z, has, places, holds, k)

    return layer


_d1, _d2, _d3, _d4 = (_blocks(dense.real_block(T), T, 1, dense.REAL_BLOCK[T]) for T in (1, 2, 3, 4))
_h1, _h2 = (_blocks(dense.quaternion_block(T), T, 4, dense.QUATERNION_BLOCK[T]) for T in (1, 2))


@serial
def _dense(arena, o, tables, sums):
    """A dense layer, by its kind."""
    w, d = tables.numbers, tables.indices
    scales, shifts, places, holds = tables.scales, tables.shifts, tables.places, tables.holds
    if o.components == 4 and o.tile == 2:
        _h2(arena, o, w, d, sums, scales, shifts, places, holds)
    elif o.components == 4:
        _h1(arena, o, w, d, sums, scales, shifts, places, holds)
    elif o.tile == 4:
        _d4(arena, o, w, d, sums, scales, shifts, places, holds)
    elif o.tile == 3:
        _d3(arena, o, w, d, sums, scales, shifts, places, holds)
    elif o.tile == 2:
        _d2(arena, o, w, d, sums, scales, shifts, places, holds)
    else:
        _d1(arena, o, w, d, sums, scales, shifts, places, holds)


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
            rows.permute(arena, y + a, y + b, y + to, tables.orders, order)
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
