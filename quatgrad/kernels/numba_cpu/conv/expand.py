"""The expanded weight of a quaternion layer, and back, in one pass over memory.

One thread: in float32 only layers of few channels multiply by their expanded weight.
"""

import math

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, read_only, serial
from quatgrad.kernels.reference.quaternion import HAMILTON
from quatgrad.kernels.registry import register

#: In block (b, c) of the expanded weight stands component COMPONENT[b, c], times SIGN[b, c].
COMPONENT = abs(HAMILTON).argmax(axis=0).astype(np.int64)
SIGN = HAMILTON.sum(axis=0).astype(np.int64)


@register
def expand(w: Array) -> Array:
    """`reference.expand`."""
    _, *lead, P, Q = w.shape
    W = empty((*lead, 4 * P, 4 * Q), w.dtype)
    _expand(read_only(w).reshape(4, -1, P, Q), W.reshape(-1, 4, P, 4, Q))
    return W


@serial
def _expand(w, W):
    L, _, P, _, Q = W.shape
    for row in range(L * P):
        s, p = divmod(row, P)
        for b in range(4):
            for c in range(4):
                to, sign, a = W[s, b, p, c], w.dtype.type(SIGN[b, c]), w[COMPONENT[b, c], s, p]
                for q in range(Q):
                    to[q] = sign * a[q]


@register
def fold(W: Array) -> Array:
    """`reference.fold`."""
    *lead, P4, Q4 = W.shape
    P, Q = P4 // 4, Q4 // 4
    w = empty((4, *lead, P, Q), W.dtype)
    _fold(read_only(W).reshape(math.prod(lead), 4, P, 4, Q), w.reshape(4, -1, P, Q))
    return w


@serial
def _fold(W, w):
    L, _, P, _, Q = W.shape
    for row in range(L * P):
        s, p = divmod(row, P)
        for b in range(4):
            for c in range(4):
                sign, a, to = W.dtype.type(SIGN[b, c]), W[s, b, p, c], w[COMPONENT[b, c], s, p]
                if b == 0:  # row 0 has each component once, and comes first
                    for q in range(Q):
                        to[q] = sign * a[q]
                else:
                    for q in range(Q):
                        to[q] += sign * a[q]
