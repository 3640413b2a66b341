"""Batch norm in two passes over memory, forward and backward: one for the sums, one to write.

The rectifier after it, and a residual that is added before that, cost no pass: they are applied
while y is written. The gradient computes again from x where the rectifier was active; after a
residual it looks at y.

The rows of x are cut into chunks. Their number depends on the shape, not on the number of threads:
each chunk is summed in a fixed order, the chunks are added in order, and the bits are always the
same.
"""

import math
from functools import cache

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, serial, template
from quatgrad.kernels.numba_cpu.machine.cache import LINE
from quatgrad.kernels.numba_cpu.simd.vector import prefetch
from quatgrad.kernels.parts import Gather, mean_gradients, merged_statistics
from quatgrad.kernels.reference import norm
from quatgrad.kernels.registry import register

# A chunk is long enough to pay for a thread and short enough to share out and to sum accurately.
_NUMBERS, _ROWS = 1 << 16, 1 << 10
#: Rows that go together, one after another, while numbers of a channel are in registers. Memory
#: likes wide rows one by one.
AT_ONCE, NARROW = 4, 32

Channels = tuple[Array, Array, Array, Array]  # mean, var, scale, shift: (C,) each


def _rows(a: Array) -> Array:
    """(..., C) -> (M, C)."""
    return read_only(a).reshape(math.prod(a.shape[:-1]), a.shape[-1])


@cache
def _chunk_starts(M: int, C: int) -> Array:
    """First row of every chunk of M rows of C numbers, and M at the end; not to be written."""
    return np.append(np.arange(0, M, max(1, min(_ROWS, _NUMBERS // C))), M)


@serial
def _together(first, end, C):
    """Up to which of these rows go AT_ONCE together."""
    return end - (end - first) % AT_ONCE if C <= NARROW else first


@template
def _ask(a, m):
    """Ask for row m in time: where several rows are read at once, the caches do not look ahead."""
    C = a.shape[1]
    for c in range(0, C, LINE // 4):
        prefetch(a, m * C + c)


# ------------------------------------------------------------------------------ forward


@register
def batch_norm(
    x: Array, scale: Array, shift: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """`reference.batch_norm`."""
    return batch_norm_act(x, scale, shift, eps, False, gather=gather)


def batch_norm_act(
    x: Array,
    scale: Array,
    shift: Array,
    eps: float,
    relu: bool,
    residual: Array | None = None,
    gather: Gather = None,
) -> tuple[Array, Array, Array]:
    """`batch_norm`, + residual, and perhaps a rectifier; statistics are merged from chunks.

    Source: Chan et al. 1979.
    """
    rows = _rows(x)
    starts = _chunk_starts(*rows.shape)
    means, squares = np.empty((2, len(starts) - 1, rows.shape[1]))
    _chunk_statistics(rows, starts, means, squares)
    mean, var = np.empty((2, rows.shape[1]), np.float64 if gather else x.dtype)
    _merge(starts, means, squares, mean, var)
    if gather:
        merged = merged_statistics(mean, var, len(rows), gather)
        mean, var = (a.astype(x.dtype) for a in merged)
    return normalized(x, (mean, var, scale, shift), eps, relu, residual), mean, var


@parallel
def _chunk_statistics(x, starts, means, squares):
    """Mean and sum of squared deviations of every chunk, each in one pass.

    The sums are of d = x - (first row of the chunk), so a large mean costs no digits. Nor does a
    freak first row cost many: it is one of the n rows, so it deviates from their mean too, and
    sum d^2 is at most n times the result, of float64's 53 bits some ten.
    """
    C = x.shape[1]
    for k in prange(len(starts) - 1):
        first, end = starts[k], starts[k + 1]
        total, square, n = np.zeros(C), np.zeros(C), end - first
        single = _together(first, end, C)
        for m in range(first, single, AT_ONCE):
            _add_squares(x, first, m, AT_ONCE, total, square)
        for m in range(single, end):
            _add_squares(x, first, m, 1, total, square)
        for c in range(C):
            means[k, c] = x[first, c] + total[c] / n
            squares[k, c] = square[c] - total[c] * total[c] / n


@template
def _add_squares(x, first, m, count, total, square):
    """Add d = x - x[first] and d^2 of so many rows from m on."""
    for c in range(len(total)):
        t, s = total[c], square[c]
        for i in range(count):
            d = np.float64(x[m + i, c]) - np.float64(x[first, c])
            t, s = t + d, s + d * d
        total[c], square[c] = t, s


@serial
def _merge(starts, means, squares, mean, var):
    """Mean and variance of all rows from those of the chunks.

    Squared deviations: inside the chunks, and of the chunks' means from the mean of all.
    """
    K, C = means.shape
    center, square = np.zeros(C), np.zeros(C)
    for k in range(K):
        for c in range(C):
            center[c] += (starts[k + 1] - starts[k]) * means[k, c]
    center /= starts[K]
    for k in range(K):
        for c in range(C):
            d = means[k, c] - center[c]
            square[c] += squares[k, c] + (starts[k + 1] - starts[k]) * (d * d)
    for c in range(C):
        mean[c], var[c] = center[c], square[c] / starts[K]


@serial
def _factor(scale, var, eps, factor):
    factor[:] = scale / np.sqrt(var + eps)


@register
def batch_norm_eval(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float
) -> Array:
    """`reference.batch_norm_eval` in one pass."""
    return normalized(x, (mean, var, scale, shift), eps, False)


def normalized(
    x: Array, channels: Channels, eps: float, relu: bool, residual: Array | None = None
) -> Array:
    """(x - mean) scale / sqrt(var + eps) + shift, + residual, and perhaps a rectifier."""
    y, (mean, var, scale, shift) = empty(x.shape, x.dtype), channels
    factor = np.empty_like(var)
    _factor(read_only(scale), read_only(var), x.dtype.type(eps), factor)
    numbers, rows = (_rows(x), read_only(mean), factor, read_only(shift)), y.reshape(-1, len(scale))
    if residual is None:
        _normalize(*numbers, relu, rows)
    else:
        _normalize_and_add(*numbers, _rows(residual), relu, rows)
    return y


@parallel
def _normalize(x, mean, factor, shift, relu, y):
    (M, C), zero = x.shape, x.dtype.type(0)
    for m in prange(M):
        for c in range(C):
            z = (x[m, c] - mean[c]) * factor[c] + shift[c]
            y[m, c] = zero if relu and z <= 0 else z  # NaN is not <= 0


@parallel
def _normalize_and_add(x, mean, factor, shift, residual, relu, y):
    (M, C), zero = x.shape, x.dtype.type(0)
    for m in prange(M):
        for c in range(C):
            z = (x[m, c] - mean[c]) * factor[c] + shift[c] + residual[m, c]
            y[m, c] = zero if relu and z <= 0 else z


@register
def update_running_stats(r: Array, b: Array, momentum: float, correction: float = 1.0) -> None:
    """`reference.update_running_stats`, with the same bits."""
    if r.dtype == b.dtype and r.flags.carray:
        numbers = map(r.dtype.type, (1 - momentum, momentum, correction))
        _mix(r.reshape(-1), read_only(b).reshape(-1), *numbers)
    else:
        call(norm.update_running_stats, r, b, momentum, correction)


@serial
def _mix(r, b, keep, momentum, correction):
    for c in range(len(r)):
        r[c] = keep * r[c] + momentum * (correction * b[c])


# ----------------------------------------------------------------------------- backward


@register
def batch_norm_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """`reference.batch_norm_dx`; each pass computes z again, which is never stored."""
    return batch_norm_act_dx(g, x, None, (mean, var, scale, scale), eps, False, gather)[:3]


def batch_norm_act_dx(
    g: Array,
    x: Array,
    y: Array | None,
    channels: Channels,
    eps: float,
    relu: bool,
    gather: Gather = None,
    overwrite: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """dx, dscale, dshift, and dresidual where y is given; over x and g if those may go.

    g is taken as 0 where the rectifier gave 0: that is dresidual.
    """
    mean, var, scale, shift = channels
    rows_g, rows_x, mean, shift = _rows(g), _rows(x), read_only(mean), read_only(shift)
    M, C = rows_x.shape
    starts, var = _chunk_starts(M, C), read_only(var)
    sums, eps = np.empty((2, len(starts) - 1, C)), x.dtype.type(eps)
    factor = np.empty_like(var)
    _factor(read_only(scale), var, eps, factor)
    passed = None
    if y is None:
        _chunk_gradients(rows_g, rows_x, mean, factor, shift, relu, starts, sums)
    else:
        over, relu = overwrite and g.flags.carray, False
        passed = g if over else empty(x.shape, g.dtype)
        read_g, rows_passed = None if over else rows_g, passed.reshape(M, C)
        _chunk_gradients_passed(read_g, rows_x, _rows(y), mean, starts, rows_passed, sums)
        rows_g = read_only(rows_passed)
    dscale, dshift, mean_g, slope = np.empty((4, C), g.dtype)
    _slopes(sums, var, eps, M, dscale, dshift, mean_g, slope)
    if gather:
        inv = 1 / np.sqrt(var.astype(np.float64) + eps)
        sum_g, sum_gd = sums.sum(axis=1)
        mean_g, mean_gz = mean_gradients(sum_g, sum_gd * inv, M, gather)
        mean_g, slope = mean_g.astype(g.dtype), (mean_gz * inv).astype(g.dtype)
    over = overwrite and x.flags.carray
    dx, read_x = (x, None) if over else (empty(x.shape, g.dtype), rows_x)
    _normalize_dx(rows_g, read_x, mean, factor, shift, relu, mean_g, slope, dx.reshape(M, C))
    return dx, dscale, dshift, passed


@parallel
def _chunk_gradients(g, x, mean, factor, shift, relu, starts, sums):
    """Of every chunk: sum g and sum g (x - mean), in float64."""
    C = len(mean)
    for k in prange(len(starts) - 1):
        end, sum_g, sum_gx = starts[k + 1], np.zeros(C), np.zeros(C)
        single = _together(starts[k], end, C)
        for m in range(starts[k], single, AT_ONCE):
            _add_gradients(g, x, mean, factor, shift, relu, m, AT_ONCE, sum_g, sum_gx)
        for m in range(single, end):
            _ask(g, m + 1)
            _ask(x, m + 1)
            _add_gradients(g, x, mean, factor, shift, relu, m, 1, sum_g, sum_gx)
        sums[0, k], sums[1, k] = sum_g, sum_gx


@template
def _add_gradients(g, x, mean, factor, shift, relu, m, count, sum_g, sum_gx):
    """Add g and g (x - mean) of so many rows from m on, where the rectifier was active."""
    for c in range(len(mean)):
        s, t = sum_g[c], sum_gx[c]
        for i in range(count):
            d = x[m + i, c] - mean[c]
            share = g[m + i, c] if not relu or d * factor[c] + shift[c] > 0 else mean.dtype.type(0)
            s, t = s + share, t + np.float64(share) * np.float64(d)
        sum_g[c], sum_gx[c] = s, t


@parallel
def _chunk_gradients_passed(g, x, y, mean, starts, passed, sums):
    """The same for g where y > 0, else 0; `passed` takes it, and holds g if g is None."""
    g = passed if g is None else g
    C, zero = x.shape[1], g.dtype.type(0)
    for k in prange(len(starts) - 1):
        sum_g, sum_gx = np.zeros(C), np.zeros(C)
        for m in range(starts[k], starts[k + 1]):
            if C > NARROW:
                _ask(g, m + 1)
                _ask(x, m + 1)
                _ask(y, m + 1)
            for c in range(C):  # alone, it becomes vectors
                passed[m, c] = g[m, c] if y[m, c] > 0 else zero
            for c in range(C):
                share = passed[m, c]
                sum_g[c] += share
                sum_gx[c] += np.float64(share) * np.float64(x[m, c] - mean[c])
        for c in range(C):
            sums[0, k, c], sums[1, k, c] = sum_g[c], sum_gx[c]


@serial
def _slopes(sums, var, eps, M, dscale, dshift, mean_g, slope):
    """The gradients of scale and shift, and what `_normalize_dx` needs of them."""
    _, K, C = sums.shape
    total, product = np.zeros(C), np.zeros(C)
    for k in range(K):
        for c in range(C):
            total[c] += sums[0, k, c]
            product[c] += sums[1, k, c]
    for c in range(C):
        inv = var.dtype.type(1) / np.sqrt(var[c] + eps)
        dshift[c], mean_g[c] = total[c], total[c] / M
        dscale[c], slope[c] = product[c] * inv, product[c] * inv * inv / M


@parallel
def _normalize_dx(g, x, mean, factor, shift, relu, mean_g, slope, dx):
    """dx = factor (g - mean_g - slope (x - mean)): `slope` is mean(g z) / sqrt(var + eps).

    If x is None, dx holds it.
    """
    x = dx if x is None else x
    M, C = dx.shape
    for block in prange((M + AT_ONCE - 1) // AT_ONCE):
        m, end = block * AT_ONCE, min(M, (block + 1) * AT_ONCE)
        if _together(m, end, C) == m + AT_ONCE:
            _gradients(g, x, mean, factor, shift, relu, mean_g, slope, m, AT_ONCE, dx)
        else:
            for k in range(m, end):
                _ask(g, k + 1)
                _ask(x, k + 1)
                _gradients(g, x, mean, factor, shift, relu, mean_g, slope, k, 1, dx)


@template
def _gradients(g, x, mean, factor, shift, relu, mean_g, slope, m, count, dx):
    """dx of so many rows from m on."""
    for c in range(len(mean)):
        for i in range(count):
            d = x[m + i, c] - mean[c]
            share = g[m + i, c] if not relu or d * factor[c] + shift[c] > 0 else mean.dtype.type(0)
            dx[m + i, c] = factor[c] * (share - mean_g[c] - slope[c] * d)
