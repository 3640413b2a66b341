"""The rectifier, alone and after a bias, GELU, dropout, and sums of two maps, in one pass each."""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.exponential import normal
from quatgrad.kernels.reference import arithmetic
from quatgrad.kernels.reference.sums import BLOCK, MOST
from quatgrad.kernels.registry import register

#: Fewer numbers are added before a second thread has started.
ALONE = 1 << 16
#: Columns whose sums are the task of a thread.
COLUMNS = 256


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
def bias_relu(x: Array, b: Array) -> Array:
    """`reference.bias_relu`."""
    if not x.flags.c_contiguous or not x.size:
        return call(arithmetic.bias_relu, x, b)
    run = _bias_relu if x.size < ALONE else _bias_relu_shared
    run(x.reshape(-1, len(b)), read_only(b))
    return x


@serial
def _bias_relu(x, b):
    for m in range(len(x)):
        for c in range(len(b)):
            y = x[m, c] + b[c]
            x[m, c] = 0 if y <= 0 else y


@parallel
def _bias_relu_shared(x, b):
    for m in prange(len(x)):
        for c in range(len(b)):
            y = x[m, c] + b[c]
            x[m, c] = 0 if y <= 0 else y


@register
def bias_relu_dx(g: Array, y: Array) -> tuple[Array, Array]:
    """`reference.bias_relu_dx`; numbers are added in the order in which `sum_over` adds them."""
    L, C = _added_first(g), g.shape[-1]
    if not L:
        return call(arithmetic.bias_relu_dx, g, y)
    dx, total = empty(g.shape, g.dtype), np.empty(g.size // L, g.dtype)
    run = _masked_sums if g.size < ALONE else _masked_sums_shared
    run(read_only(g).reshape(L, -1), read_only(y).reshape(L, -1), dx.reshape(L, -1), total)
    if len(total) > C:
        total = call(_sum_rows, total.reshape(-1, C))
    return dx, total


def _sum_rows(x: Array) -> Array:
    return x.sum(axis=0, dtype=np.float64).astype(x.dtype)


def _added_first(g: Array) -> int:
    """How many numbers `sum_over` adds one by one: all rows, those of a pixel, or others (0)."""
    M = math.prod(g.shape[:-1])
    if not g.size or g.shape[-1] == 1:
        return 0
    if M <= MOST or g.size <= MOST or g.dtype != np.float32:
        return M
    return len(g) if max(g.shape[:-1]) == len(g) <= BLOCK else 0


@serial
def _columns(g, y, dx, total, first, end):
    """dx, and its sums over the rows, of some columns."""
    share = total[first:end]  # loops that count from 0 become vectors
    for m in range(len(g)):
        a, b, c = g[m, first:end], y[m, first:end], dx[m, first:end]
        if m == 0:
            for k in range(len(share)):
                share[k] = c[k] = a[k] if b[k] > 0 else 0
        else:
            for k in range(len(share)):
                c[k] = a[k] if b[k] > 0 else 0
                share[k] += c[k]


@serial
def _masked_sums(g, y, dx, total):
    _columns(g, y, dx, total, 0, len(total))


@parallel
def _masked_sums_shared(g, y, dx, total):
    for task in prange((len(total) + COLUMNS - 1) // COLUMNS):
        first = task * COLUMNS
        _columns(g, y, dx, total, first, min(first + COLUMNS, len(total)))


@register
def gelu(x: Array) -> Array:
    """`reference.gelu`, in float32."""
    if x.dtype != np.float32:
        return call(arithmetic.gelu, x)
    y = empty(x.shape, x.dtype)
    _gelu(read_only(x).reshape(-1), y.reshape(-1))
    return y


@parallel
def _gelu(x, y):
    for k in prange(len(x)):
        y[k] = x[k] * normal(x[k])[0]


@register
def gelu_dx(g: Array, x: Array) -> Array:
    """`reference.gelu_dx`, in float32."""
    if x.dtype != np.float32:
        return call(arithmetic.gelu_dx, g, x)
    dx = empty(x.shape, x.dtype)
    _gelu_dx(read_only(g).reshape(-1), read_only(x).reshape(-1), dx.reshape(-1))
    return dx


@parallel
def _gelu_dx(g, x, dx):
    for k in prange(len(x)):
        probability, density = normal(x[k])
        dx[k] = g[k] * (probability + x[k] * density)


@register
def dropout(x: Array, keep: Array, p: float) -> Array:
    """`reference.dropout`."""
    y, gain = empty(x.shape, x.dtype), x.dtype.type(1) / x.dtype.type(1 - p)
    _dropout(read_only(x).reshape(-1), read_only(keep).reshape(-1), gain, y.reshape(-1))
    return y


@parallel
def _dropout(x, keep, gain, y):
    for k in prange(len(x)):
        y[k] = x[k] * gain if keep[k] else x.dtype.type(0)


@register
def add(a: Array, b: Array) -> Array:
    """`reference.add`; of maps, and of a map and a bias, by all threads."""
    plain = a.dtype == b.dtype and a.flags.c_contiguous and b.flags.c_contiguous
    bias = b.ndim == 1 and b.shape == a.shape[-1:]
    if a.size < ALONE or not plain or not (bias or a.shape == b.shape):
        return call(np.add, a, b)
    y = empty(a.shape, a.dtype)
    if bias:
        rows = (-1, len(b))
        _add_bias(read_only(a).reshape(rows), read_only(b), y.reshape(rows))
    else:
        _add(read_only(a).reshape(-1), read_only(b).reshape(-1), y.reshape(-1))
    return y


@register
def add_to(a: Array, b: Array) -> Array:
    """`reference.add_to`: in memory that is at hand already."""
    plain = a.dtype == b.dtype and a.flags.c_contiguous and b.flags.c_contiguous
    if a.size < ALONE or not plain:
        return call(np.add, a, b)
    _add_to(a.reshape(-1), read_only(b).reshape(-1))
    return a


@parallel
def _add_to(a, b):
    for k in prange(len(a)):
        a[k] += b[k]


@parallel
def _add(a, b, y):
    for k in prange(len(y)):
        y[k] = a[k] + b[k]


@parallel
def _add_bias(a, b, y):
    for m in prange(len(a)):
        for c in range(len(b)):
            y[m, c] = a[m, c] + b[c]
