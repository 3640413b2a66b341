"""Layer norm, forward and backward: a row stays in the cache until all is done with it."""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, summing
from quatgrad.kernels.registry import register

#: Rows that a task adds up into sums of its own, for the gradients of gain and shift.
_ROWS = 64


@register
def layer_norm(
    x: Array, gain: Array, shift: Array, components: int, eps: float
) -> tuple[Array, Array, Array]:
    """`reference.layer_norm`."""
    y, z = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    inv = np.empty(len(x), x.dtype)
    _layer_norm(read_only(x), read_only(gain), read_only(shift), components, eps, y, z, inv)
    return y, z, inv


@summing
def _total(x, m, first, last):
    total = x[m, first] - x[m, first]
    for c in range(first, last):
        total += x[m, c]
    return total


@summing
def _product(x, y, m, first, last):
    total = x[m, first] - x[m, first]
    for c in range(first, last):
        total += x[m, c] * y[m, c]
    return total


@parallel
def _layer_norm(x, gain, shift, components, eps, y, z, inv):
    M, C = x.shape
    Q = C // components
    for m in prange(M):
        for b in range(components):
            mean = x.dtype.type(_total(x, m, b * Q, b * Q + Q) / Q)
            for c in range(b * Q, b * Q + Q):
                z[m, c] = x[m, c] - mean
        inv[m] = 1 / math.sqrt(_product(z, z, m, 0, C) / C + eps)
        scale = inv[m]
        for b in range(components):
            for c in range(Q):
                d = z[m, b * Q + c] * scale
                z[m, b * Q + c] = d
                y[m, b * Q + c] = gain[c] * d + shift[b * Q + c]


@register
def layer_norm_dx(
    g: Array, z: Array, inv: Array, gain: Array, components: int
) -> tuple[Array, Array, Array]:
    """`reference.layer_norm_dx`; the sums are of float64, in tasks of a fixed size."""
    M, C = g.shape
    dx = empty(g.shape, g.dtype)
    sums = np.zeros((2, (M + _ROWS - 1) // _ROWS, C))
    _layer_norm_dx(
        read_only(g), read_only(z), read_only(inv), read_only(gain), components, dx, sums
    )
    dgain, dshift = sums.sum(axis=1)
    dgain = dgain.reshape(components, C // components).sum(axis=0)
    return dx, dgain.astype(g.dtype), dshift.astype(g.dtype)


@parallel
def _layer_norm_dx(g, z, inv, gain, components, dx, sums):
    M, C = g.shape
    Q = C // components
    for task in prange(sums.shape[1]):
        for m in range(task * _ROWS, min(task * _ROWS + _ROWS, M)):
            for b in range(components):
                for c in range(Q):
                    at = b * Q + c
                    sums[0, task, at] += g[m, at] * z[m, at]
                    sums[1, task, at] += g[m, at]
                    dx[m, at] = gain[c] * g[m, at]
            slope, scale = g.dtype.type(_product(dx, z, m, 0, C) / C), inv[m]
            for b in range(components):
                mean = g.dtype.type(_total(dx, m, b * Q, b * Q + Q) / Q)
                for c in range(b * Q, b * Q + Q):
                    dx[m, c] = scale * (dx[m, c] - mean - z[m, c] * slope)
