"""Hamilton products, and the real weights that act as quaternion ones do."""

from __future__ import annotations

import math

import numpy as np

from quatgrad.backend import Array, array_module
from quatgrad.kernels.cupy_gpu.compile import contiguous, launch_for_each


def hamilton(p: Array, q: Array) -> Array:
    """`reference.hamilton`."""
    shape = np.broadcast_shapes(p.shape, q.shape)
    p, q = contiguous(*(array_module(a).broadcast_to(a, shape) for a in (p, q)))
    y = array_module(p).empty(shape, p.dtype)
    n = y.size // 4
    launch_for_each("hamilton", "hamilton", n, y.dtype, p, q, y, np.int64(n))
    return y


def expand(w: Array) -> Array:
    """`reference.expand`."""
    _, *lead, P, Q = w.shape
    W = array_module(w).empty((*lead, 4 * P, 4 * Q), w.dtype)
    _launch("expand", w.shape, (16 * P * Q, 4 * Q, 1), *contiguous(w), W)
    return W


def fold(W: Array) -> Array:
    """`reference.fold`."""
    *lead, P, Q = W.shape
    w = array_module(W).empty((4, *lead, P // 4, Q // 4), W.dtype)
    _launch("fold", w.shape, (P * Q, Q, 1), *contiguous(W), w)
    return w


def expand_filter(w: Array) -> Array:
    """`expand` of w (4, U, V, P, Q) as cuDNN wants filters: (4Q, U, V, 4P)."""
    _, U, V, P, Q = w.shape
    W = array_module(w).empty((4 * Q, U, V, 4 * P), w.dtype)
    _launch("expand", w.shape, (4 * P, 1, U * V * 4 * P), *contiguous(w), W)
    return W


def fold_filter(W: Array) -> Array:
    """The adjoint of `expand_filter`: (4Q, U, V, 4P) -> (4, U, V, P, Q)."""
    Q, U, V, P = W.shape
    w = array_module(W).empty((4, U, V, P // 4, Q // 4), W.dtype)
    _launch("fold", w.shape, (P, 1, U * V * P), *contiguous(W), w)
    return w


def _launch(name: str, shape: tuple[int, ...], strides: tuple[int, ...], *arrays: Array) -> None:
    """A thread for each quaternion of w, of this shape; strides of W along k, rows and columns."""
    _, *lead, P, Q = shape
    sizes, dtype = (math.prod(lead), P, Q), arrays[0].dtype
    numbers = map(np.int64, sizes + strides)
    launch_for_each("hamilton", name, math.prod(sizes), dtype, *arrays, *numbers)
