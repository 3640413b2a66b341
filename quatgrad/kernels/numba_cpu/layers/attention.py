"""Attention in float32: a task has one head of one sequence, whose matrices stay in the cache.

A head's part of q, k and v is copied to one piece of memory, k and v also turned, so that heads of
whole quaternions, whose components lie apart, cost no more than real ones. Nothing is computed
past the end of a sequence: there, all is 0.
"""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only, serial, summing
from quatgrad.kernels.numba_cpu.simd.exponential import exp
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.vector import scratch
from quatgrad.kernels.reference.attention import attention as formula
from quatgrad.kernels.reference.attention import attention_dx as formula_dx
from quatgrad.kernels.registry import register


@register
def attention(
    q: Array, k: Array, v: Array, lengths: Array, heads: int, components: int, causal: bool
) -> tuple[Array, Array]:
    """`reference.attention`."""
    if q.dtype != np.float32 or not q.size:
        return formula(q, k, v, lengths, heads, components, causal)
    N, T, _ = q.shape
    y, a = empty(q.shape, q.dtype), empty((N, heads, T, T), q.dtype)
    inputs = read_only(q), read_only(k), read_only(v), read_only(lengths, np.int64)
    _attention(*inputs, components, causal, y, a.reshape(N, heads, -1))
    return y, a


@register
def attention_dx(
    g: Array, q: Array, k: Array, v: Array, a: Array, lengths: Array, components: int
) -> tuple[Array, Array, Array]:
    """`reference.attention_dx`."""
    if q.dtype != np.float32 or not q.size:
        return formula_dx(g, q, k, v, a, lengths, components)
    dq, dk, dv = (empty(q.shape, q.dtype) for _ in range(3))
    N, heads, T, _ = a.shape
    inputs = read_only(g), read_only(q), read_only(k), read_only(v)
    made = read_only(a).reshape(N, heads, T * T), read_only(lengths, np.int64)
    _attention_dx(*inputs, *made, components, dq, dk, dv)
    return dq, dk, dv


@serial
def _load(x, n, head, heads, components, to, L, step, row):
    """to[t row + d step] = what head `head` has of x[n, t], t < L."""
    part = x.shape[2] // (components * heads)
    for t in range(L):
        for b in range(components):
            first = (b * heads + head) * part
            for j in range(part):
                to[t * row + (b * part + j) * step] = x[n, t, first + j]


@serial
def _store(x, n, head, heads, components, y, L, D):
    """The inverse of `_load` of rows x (L, D); zeros after them."""
    part = D // components
    for t in range(y.shape[1]):
        for b in range(components):
            first = (b * heads + head) * part
            for j in range(part):
                y[n, t, first + j] = x[t * D + b * part + j] if t < L else np.float32(0)


@summing
def _total(x, first, last):
    total = np.float32(0)
    for j in range(first, last):
        total += x[j]
    return total


@summing
def _product(x, y, first, last):
    total = np.float32(0)
    for j in range(first, last):
        total += x[j] * y[j]
    return total


@serial
def _softmax(a, T, length, causal, scale):
    """Rows of scores a (T, T), times scale, become weights; zeros after the last row."""
    a[length * T :] = 0
    for i in range(length):
        end = i + 1 if causal else length
        first, top = i * T, a[i * T]
        for j in range(first, first + end):
            top = a[j] if a[j] > top else top
        for j in range(first, first + end):
            a[j] = exp((a[j] - top) * scale)
        share = np.float32(1) / _total(a, first, first + end)
        for j in range(first, first + end):
            a[j] *= share
        for j in range(first + end, first + T):
            a[j] = 0


@parallel
def _attention(q, k, v, lengths, components, causal, y, a):
    N, T, C = q.shape
    heads = a.shape[1]
    D = C // heads
    scale = np.float32(1 / math.sqrt(D))
    for task in prange(N * heads):
        n, head = divmod(np.int64(task), heads)
        L, scores = lengths[n], a[n, head]
        Q, K, V, Y = scratch(L * D), scratch(L * D), scratch(L * D), scratch(L * D)
        _load(q, n, head, heads, components, Q, L, 1, D)
        _load(k, n, head, heads, components, K, L, L, 1)
        _load(v, n, head, heads, components, V, L, 1, D)
        multiply(scores, 0, T, Q, 0, D, 1, K, 0, L, L, D, L, False)  # (L, D) (D, L)
        _softmax(scores, T, L, causal, scale)
        multiply(Y, 0, D, scores, 0, T, 1, V, 0, D, L, L, D, False)  # (L, L) (L, D)
        _store(Y, n, head, heads, components, y, L, D)


@parallel
def _attention_dx(g, q, k, v, a, lengths, components, dq, dk, dv):
    N, T, C = q.shape
    heads = a.shape[1]
    D = C // heads
    scale = np.float32(1 / math.sqrt(D))
    for task in prange(N * heads):
        n, head = divmod(np.int64(task), heads)
        L, weights = lengths[n], a[n, head]
        G, X, Y, ds = scratch(L * D), scratch(L * D), scratch(L * D), scratch(L * T)
        _load(g, n, head, heads, components, G, L, 1, D)
        multiply(Y, 0, D, weights, 0, 1, T, G, 0, D, L, L, D, False)  # dv = a^T g
        _store(Y, n, head, heads, components, dv, L, D)
        _load(v, n, head, heads, components, X, L, L, 1)
        if L < T:
            ds[:] = 0  # a row's mean is of all T: its bits may depend on how many are summed
        multiply(ds, 0, T, G, 0, D, 1, X, 0, L, L, D, L, False)  # da = g v^T
        for i in range(0, L * T, T):
            mean = _product(weights, ds, i, i + T)
            for j in range(i, i + L):
                ds[j] = weights[j] * (ds[j] - mean) * scale
        _load(k, n, head, heads, components, X, L, 1, D)
        multiply(Y, 0, D, ds, 0, T, 1, X, 0, D, L, L, D, False)  # dq = ds k
        _store(Y, n, head, heads, components, dq, L, D)
        _load(q, n, head, heads, components, X, L, 1, D)
        multiply(Y, 0, D, ds, 0, 1, T, X, 0, D, L, L, D, False)  # dk = ds^T q
        _store(Y, n, head, heads, components, dk, L, D)
