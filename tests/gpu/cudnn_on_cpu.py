"""Convolutions in cuDNN's place, by the reference rung: as a plan states them."""

import numpy as np

from quatgrad.kernels import reference
from quatgrad.kernels.cupy_gpu import cudnn


def solve(problem, a, b):
    """A problem as `cudnn.OPERANDS` states it, in float64; filters are (Q, U, V, P)."""
    half = problem.precision == "bf16"
    assert a.dtype == b.dtype == (np.uint16 if half else np.float32)
    a, b = (wide(v).astype(np.float64) for v in (a, b))
    how = problem.stride, problem.padding
    first, second, result = cudnn.OPERANDS[problem.kind]
    assert (a.shape, b.shape) == (getattr(problem, first), getattr(problem, second))
    if problem.kind == "forward":
        y = reference.conv2d(a, b.transpose(1, 2, 3, 0), *how)
    elif problem.kind == "dx":
        y = reference.conv2d_dx(a, b.transpose(1, 2, 3, 0), problem.x, *how)
    else:
        y = reference.conv2d_dw(a, b, (*problem.w[1:], problem.w[0]), *how).transpose(3, 0, 1, 2)
    assert y.shape == getattr(problem, result)
    y = y.astype(np.float32)
    return narrow(y) if half else y


def wide(a):
    """bfloat16 as its bits -> float32; float32 as it is."""
    return (a.astype(np.uint32) << 16).view(np.float32) if a.dtype == np.uint16 else a


def narrow(a):
    """The nearest bfloat16, as its bits, found by comparing the two neighbours."""
    low = (a.view(np.uint32) >> 16).astype(np.uint16)
    below, above = wide(low).astype(np.float64), wide(low + np.uint16(1)).astype(np.float64)
    down, up = abs(a - below), abs(above - a)
    return np.where((up < down) | ((up == down) & (low % 2 == 1)), low + 1, low).astype(np.uint16)
