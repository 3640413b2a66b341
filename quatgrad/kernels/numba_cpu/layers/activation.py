"""The rectifier, GELU and the sum of two maps, each in one pass over memory."""

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only
from quatgrad.kernels.numba_cpu.simd.exponential import normal_cdf, normal_density
from quatgrad.kernels.reference import arithmetic
from quatgrad.kernels.registry import register

#: Fewer numbers are added before a second thread has started.
ALONE = 1 << 16


@register
def relu(x: Array) -> Array:
    """`reference.relu`."""
    y = empty(x.shape, x.dtype)
    _relu(read_only(x).reshape(-1), y.reshape(-1))
    return y


@parallel
def _relu(x, y):
    for k in prange(len(x)):
        y[k] = 0 if x[k] <= 0 else x[k]  # NaN is not <= 0


@register
def relu_dx(g: Array, y: Array) -> Array:
    """`reference.relu_dx`."""
    dx = empty(g.shape, g.dtype)
    _relu_dx(read_only(g).reshape(-1), read_only(y).reshape(-1), dx.reshape(-1))
    return dx


@parallel
def _relu_dx(g, y, dx):
    for k in prange(len(g)):
        dx[k] = g[k] if y[k] > 0 else 0


@register
def gelu(x: Array) -> Array:
    """`reference.gelu`, in float32."""
    if x.dtype != np.float32:
        return arithmetic.gelu(x)
    y = empty(x.shape, x.dtype)
    _gelu(read_only(x).reshape(-1), y.reshape(-1))
    return y


@parallel
def _gelu(x, y):
    for k in prange(len(x)):
        y[k] = x[k] * normal_cdf(x[k])


@register
def gelu_dx(g: Array, x: Array) -> Array:
    """`reference.gelu_dx`, in float32."""
    if x.dtype != np.float32:
        return arithmetic.gelu_dx(g, x)
    dx = empty(x.shape, x.dtype)
    _gelu_dx(read_only(g).reshape(-1), read_only(x).reshape(-1), dx.reshape(-1))
    return dx


@parallel
def _gelu_dx(g, x, dx):
    for k in prange(len(x)):
        dx[k] = g[k] * (normal_cdf(x[k]) + x[k] * normal_density(x[k]))


@register
def add(a: Array, b: Array) -> Array:
    """`reference.add`; of maps, and of a map and a bias, by all threads."""
    plain = a.dtype == b.dtype and a.flags.c_contiguous and b.flags.c_contiguous
    bias = b.ndim == 1 and b.shape == a.shape[-1:]
    if a.size < ALONE or not plain or not (bias or a.shape == b.shape):
        return np.add(a, b)
    y = empty(a.shape, a.dtype)
    if bias:
        rows = (-1, len(b))
        _add_bias(read_only(a).reshape(rows), read_only(b), y.reshape(rows))
    else:
        _add(read_only(a).reshape(-1), read_only(b).reshape(-1), y.reshape(-1))
    return y


@parallel
def _add(a, b, y):
    for k in prange(len(y)):
        y[k] = a[k] + b[k]


@parallel
def _add_bias(a, b, y):
    for m in prange(len(a)):
        for c in range(len(b)):
            y[m, c] = a[m, c] + b[c]
