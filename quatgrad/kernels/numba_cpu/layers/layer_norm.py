"""Layer norm, forward and backward: a row stays in the cache until all is done with it.

Loops are as in `rows`.
"""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only
from quatgrad.kernels.numba_cpu.simd.rows import add, dot, sum_of
from quatgrad.kernels.registry import register

#: Rows that a task adds up into sums of its own, for the gradients of gain and shift.
_ROWS = 64


@register
def layer_norm(
    x: Array, gain: Array, shift: Array, components: int, eps: float
) -> tuple[Array, Array, Array]:
    """`reference.layer_norm`."""
    y, z, rows = empty(x.shape, x.dtype), empty(x.shape, x.dtype), _rows(x)
    inv, of = empty((len(rows),), x.dtype), (read_only(gain), read_only(shift), components, eps)
    _layer_norm(rows, *of, y.reshape(rows.shape), z.reshape(rows.shape), inv)
    return y, z, inv


def _rows(x: Array) -> Array:
    """(..., C) -> (M, C)."""
    return read_only(x).reshape(-1, x.shape[-1])


@parallel
def _layer_norm(x, gain, shift, components, eps, y, z, inv):
    for m in prange(len(x)):
        inv[m] = _row(x[m], gain, shift, components, eps, y[m], z[m])


@leaf
def _row(x, gain, shift, components, eps, y, z):
    """y and z of a row; returns 1 / sqrt(var + eps)."""
    C = len(x)
    Q = C // components
    for b in range(0, C, Q):
        part, d = x[b : b + Q], z[b : b + Q]
        mean = x.dtype.type(sum_of(part) / Q)
        for c in range(Q):
            d[c] = part[c] - mean
    inv = x.dtype.type(1 / math.sqrt(dot(z, z) / C + eps))
    for c in range(C):
        z[c] *= inv
    for b in range(0, C, Q):
        d, offset, result = z[b : b + Q], shift[b : b + Q], y[b : b + Q]
        for c in range(Q):
            result[c] = gain[c] * d[c] + offset[c]
    return inv


@register
def layer_norm_dx(
    g: Array, z: Array, inv: Array, gain: Array, components: int
) -> tuple[Array, Array, Array]:
    """`reference.layer_norm_dx`; the sums are of float64, in tasks of a fixed size."""
    rows, dx = _rows(g), empty(g.shape, g.dtype)
    M, C = rows.shape
    sums = empty((2, (M + _ROWS - 1) // _ROWS, C), np.dtype(np.float64))
    saved = _rows(z), read_only(inv), read_only(gain)
    _layer_norm_dx(rows, *saved, components, dx.reshape(M, C), sums)
    return dx, *call(_added, sums, components, g.dtype)


def _added(sums: Array, components: int, dtype: np.dtype) -> tuple[Array, Array]:
    dgain, dshift = sums.sum(axis=1)
    dgain = dgain.reshape(components, -1).sum(axis=0)
    return dgain.astype(dtype), dshift.astype(dtype)


@parallel
def _layer_norm_dx(g, z, inv, gain, components, dx, sums):
    for task in prange(sums.shape[1]):
        sums[:, task] = 0
        for m in range(task * _ROWS, min(task * _ROWS + _ROWS, len(g))):
            _add_row(g[m], z[m], sums[0, task], sums[1, task])
            _row_dx(g[m], z[m], inv[m], gain, components, dx[m])


@leaf
def _add_row(g, z, dgain, dshift):
    for c in range(len(g)):
        dgain[c] += g[c] * z[c]
    add(dshift, g)


@leaf
def _row_dx(g, z, inv, gain, components, dx):
    C = len(g)
    Q = C // components
    for b in range(0, C, Q):
        h, part = dx[b : b + Q], g[b : b + Q]
        for c in range(Q):
            h[c] = gain[c] * part[c]
    slope = g.dtype.type(dot(dx, z) / C)
    for b in range(0, C, Q):
        h, d = dx[b : b + Q], z[b : b + Q]
        mean = g.dtype.type(sum_of(h) / Q)
        for c in range(Q):
            h[c] = inv * (h[c] - mean - d[c] * slope)
