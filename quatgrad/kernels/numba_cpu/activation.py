"""ReLU in one pass over memory, forward and backward."""

from __future__ import annotations

from numba import njit, prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.arguments import empty, read_only

_parallel = njit(parallel=True, cache=True, error_model="numpy")


def relu(x: Array) -> Array:
    """`reference.relu`."""
    y = empty(x.shape, x.dtype)
    _relu(read_only(x).reshape(-1), y.reshape(-1))
    return y


@_parallel
def _relu(x, y):
    for k in prange(len(x)):
        y[k] = 0 if x[k] <= 0 else x[k]  # NaN is not <= 0


def relu_dx(g: Array, y: Array) -> Array:
    """`reference.relu_dx`."""
    dx = empty(g.shape, g.dtype)
    _relu_dx(read_only(g).reshape(-1), read_only(y).reshape(-1), dx.reshape(-1))
    return dx


@_parallel
def _relu_dx(g, y, dx):
    for k in prange(len(g)):
        dx[k] = g[k] if y[k] > 0 else 0
