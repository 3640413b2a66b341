"""Hamilton products, and the real weights that act as quaternion ones do."""

import math
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, dtype_of
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_each
from quatgrad.kernels.registry import register


@register
def hamilton(p: Array, q: Array) -> Array:
    """`reference.hamilton`."""
    shape = np.broadcast_shapes(p.shape, q.shape)
    p, q = contiguous(*(array_module(a).broadcast_to(a, shape) for a in (p, q)))
    y = array_module(p).empty(shape, p.dtype)
    n = y.size // 4
    launch_for_each("quaternion", "hamilton", n, y.dtype, p, q, y, np.int64(n))
    return y


@register
def expand(w: Array) -> Array:
    """`reference.expand`."""
    _, *lead, P, Q = w.shape
    W = array_module(w).empty((*lead, 4 * P, 4 * Q), w.dtype)
    _launch("expand", W.dtype, w.shape, (16 * P * Q, 4 * Q, 1), *contiguous(w), W)
    return W


@register
def fold(W: Array) -> Array:
    """`reference.fold`."""
    *lead, P, Q = W.shape
    w = array_module(W).empty((4, *lead, P // 4, Q // 4), W.dtype)
    _launch("fold", W.dtype, w.shape, (P * Q, Q, 1), *contiguous(W), w)
    return w


def expand_filter(w: Array, dtype: Any) -> Array:
    """`expand` of w (4, U, V, P, Q) as cuDNN wants filters: (4Q, U, V, 4P), numbers or bits."""
    _, U, V, P, Q = w.shape
    W = array_module(w).empty((4 * Q, U, V, 4 * P), dtype)
    _launch("expand", dtype, w.shape, (4 * P, 1, U * V * 4 * P), *contiguous(w), W)
    return W


def fold_filter(W: Array) -> Array:
    """The adjoint of `expand_filter`: (4Q, U, V, 4P), numbers or bits -> (4, U, V, P, Q)."""
    Q, U, V, P = W.shape
    w = array_module(W).empty((4, U, V, P // 4, Q // 4), dtype_of(W))
    _launch("fold", W.dtype, w.shape, (P, 1, U * V * P), *contiguous(W), w)
    return w


def _launch(
    name: str, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], *arrays: Array
) -> None:
    """A thread for each quaternion of w, of this shape; W: strides along k, rows and columns."""
    _, *lead, P, Q = shape
    sizes = math.prod(lead), P, Q
    numbers = map(np.int64, sizes + strides)
    launch_for_each("quaternion", name, math.prod(sizes), dtype, *arrays, *numbers)
