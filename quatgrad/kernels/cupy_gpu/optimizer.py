"""Optimizer steps in one pass over memory; twins of `reference.optimizer`."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_each
from quatgrad.kernels.reference.optimizer import AdamRule
from quatgrad.kernels.registry import register


@register
def sgd(
    w: Array, g: Array, v: Array, lr: float | Array, momentum: float, nesterov: bool, decay: float
) -> None:
    """`reference.sgd`; w and v are contiguous. lr may be an array that holds the number."""
    f, (g,) = w.dtype.type, contiguous(g)
    numbers = f(momentum), np.int32(nesterov), f(decay), np.int64(w.size)
    name, rate = ("sgd", f(lr)) if array_module(lr) is np else ("sgd_at_rate", lr)
    launch_for_each("optimizer", name, w.size, w.dtype, w, g, v, rate, *numbers)


@register
def sgd_masked(
    w: Array, g: Array, v: Array, alive: Array, lr: Array,
    momentum: float, nesterov: bool, decay: float,
) -> None:  # fmt: skip
    """`reference.sgd_masked`; all arrays are contiguous."""
    f = w.dtype.type
    numbers = f(momentum), np.int32(nesterov), f(decay), np.int64(w.size)
    launch_for_each("optimizer", "sgd_masked", w.size, w.dtype, w, g, v, alive, lr, *numbers)


@register
def adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, rule: AdamRule) -> None:
    """`reference.adam`; w, m and v are contiguous."""
    ((b1, b2), eps, decay, decoupled), (g,) = rule, contiguous(g)
    added, keep = (0.0, 1 - lr * decay) if decoupled else (decay, 1.0)
    numbers = (lr / (1 - b1**t), 1 - b2**t, b1, 1 - b1, b2, 1 - b2, eps, added, keep)
    values = *map(w.dtype.type, numbers), np.int64(w.size)
    launch_for_each("optimizer", "adam", w.size, w.dtype, w, g, m, v, *values)
