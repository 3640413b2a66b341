"""Attention in float32: a task has one head of one sequence, whose matrices stay in the cache.

A head's part of q, k and v is copied to one piece of memory, k and v also turned, so that heads of
whole quaternions, whose components lie apart, cost no more than real ones. Past the end of a
sequence all is 0. Its rows of scores are as long as whole vectors, whatever the length of the
others is: so its bits do not depend on that.
"""

import math

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only
from quatgrad.kernels.numba_cpu.simd.exponential import exp
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.rows import copy, dot, sum_of, zero
from quatgrad.kernels.numba_cpu.simd.vector import LANES, scratch, transpose
from quatgrad.kernels.reference.attention import attention as formula
from quatgrad.kernels.reference.attention import attention_dx as formula_dx
from quatgrad.kernels.registry import register


@register
def attention(
    q: Array, k: Array, v: Array, lengths: Array, heads: int, components: int, causal: bool
) -> tuple[Array, Array]:
    """`reference.attention`."""
    if q.dtype != np.float32 or not q.size:
        return call(formula, q, k, v, lengths, heads, components, causal)
    N, T, C = q.shape
    y, a = empty(q.shape, q.dtype), empty((N, heads, T, T), q.dtype)
    inputs = (read_only(x).reshape(-1) for x in (q, k, v))
    how = read_only(lengths, np.int64), T, C, heads, components, causal
    _attention(*inputs, *how, y.reshape(-1), a.reshape(-1))
    return y, a


@register
def attention_dx(
    g: Array, q: Array, k: Array, v: Array, a: Array, lengths: Array, components: int
) -> tuple[Array, Array, Array]:
    """`reference.attention_dx`."""
    if q.dtype != np.float32 or not q.size:
        return call(formula_dx, g, q, k, v, a, lengths, components)
    dq, dk, dv = (empty(q.shape, q.dtype) for _ in range(3))
    inputs = (read_only(x).reshape(-1) for x in (g, q, k, v, a))
    how = read_only(lengths, np.int64), q.shape[1], q.shape[2], a.shape[1], components
    _attention_dx(*inputs, *how, dq.reshape(-1), dk.reshape(-1), dv.reshape(-1))
    return dq, dk, dv


@leaf
def _rows(x, at, C, heads, components, L, D, to):
    """to[t D + d] = number d of a head in row t of x, which starts at `at`: t < L."""
    part = D // components
    for t in range(L):
        for b in range(components):
            i = t * D + b * part
            copy(to[i : i + part], x[at + t * C + b * heads * part :])


@leaf
def _turned(x, at, C, heads, components, L, D, to, row):
    """to[d row + t] = the same; zeros up to t = row. Lines after the last are written, too."""
    part = D // components
    for b in range(components):
        for d in range(0, part, LANES):
            i, width = at + b * heads * part + d, min(LANES, part - d)
            for t in range(0, L, LANES):
                transpose(x, i + t * C, C, L - t, width, to, (b * part + d) * row + t, row)


@leaf
def _back(x, L, D, y, at, C, T, heads, components):
    """The inverse of `_rows`; zeros after row L."""
    part = D // components
    for t in range(T):
        for b in range(components):
            i = at + t * C + b * heads * part
            if t < L:
                copy(y[i : i + part], x[t * D + b * part :])
            else:
                zero(y[i : i + part])


@leaf
def _softmax(a, row, length, causal, scale):
    """Rows of scores a, `row` apart, times scale, become weights; zeros after the last of each."""
    for i in range(length):
        end = i + 1 if causal else length
        x = a[i * row : i * row + (end + LANES - 1) // LANES * LANES]  # loops from 0: in vectors
        top = x[0]
        for j in range(1, end):
            top = x[j] if x[j] > top else top
        for j in range(len(x)):
            x[j] = exp((x[j] - top) * scale)
        a[i * row + end : (i + 1) * row] = 0
        share = np.float32(1) / sum_of(x)
        for j in range(end):
            x[j] *= share


@parallel
def _attention(q, k, v, lengths, T, C, heads, components, causal, y, a):
    D = C // heads
    scale = np.float32(1 / math.sqrt(D))
    for task in prange(len(lengths) * heads):
        n, head = divmod(np.int64(task), heads)
        L, at, to = lengths[n], n * T * C + head * (D // components), task * T * T
        row = (L + LANES - 1) // LANES * LANES
        X, K, S = scratch(L * D), scratch((D + LANES) * row), scratch(L * row)
        _rows(q, at, C, heads, components, L, D, X)
        _turned(k, at, C, heads, components, L, D, K, row)
        multiply(S, 0, row, X, 0, D, 1, K, 0, row, L, D, row, False)  # (L, D) (D, L)
        _softmax(S, row, L, causal, scale)
        _rows(v, at, C, heads, components, L, D, X)
        multiply(K, 0, D, S, 0, row, 1, X, 0, D, L, L, D, False)  # (L, L) (L, D)
        _back(K, L, D, y, at, C, T, heads, components)
        for i in range(L):
            copy(a[to + i * T : to + i * T + L], S[i * row :])
            zero(a[to + i * T + L : to + (i + 1) * T])
        zero(a[to + L * T : to + T * T])


@parallel
def _attention_dx(g, q, k, v, a, lengths, T, C, heads, components, dq, dk, dv):
    D = C // heads
    scale = np.float32(1 / math.sqrt(D))
    for task in prange(len(lengths) * heads):
        n, head = divmod(np.int64(task), heads)
        L, at, of = lengths[n], n * T * C + head * (D // components), task * T * T
        row = (L + LANES - 1) // LANES * LANES
        G, X, Y = scratch(L * D), scratch((D + LANES) * row), scratch(L * D)
        weights, ds = scratch(L * row), scratch(L * row)
        for i in range(L):
            copy(weights[i * row : i * row + L], a[of + i * T :])
            zero(weights[i * row + L : (i + 1) * row])
        _rows(g, at, C, heads, components, L, D, G)
        multiply(Y, 0, D, weights, 0, 1, row, G, 0, D, L, L, D, False)  # dv = a^T g
        _back(Y, L, D, dv, at, C, T, heads, components)
        _turned(v, at, C, heads, components, L, D, X, row)
        multiply(ds, 0, row, G, 0, D, 1, X, 0, row, L, D, row, False)  # da = g v^T
        for t in range(L):
            x, w = ds[t * row : (t + 1) * row], weights[t * row : (t + 1) * row]
            mean = dot(x, w)
            for j in range(len(x)):
                x[j] = w[j] * (x[j] - mean) * scale
        _rows(k, at, C, heads, components, L, D, X)
        multiply(Y, 0, D, ds, 0, row, 1, X, 0, D, L, L, D, False)  # dq = ds k
        _back(Y, L, D, dq, at, C, T, heads, components)
        _rows(q, at, C, heads, components, L, D, X)
        multiply(Y, 0, D, ds, 0, 1, row, X, 0, D, L, L, D, False)  # dk = ds^T q
        _back(Y, L, D, dk, at, C, T, heads, components)
