"""How arguments are handed to compiled code, and results made for it."""

from __future__ import annotations

import math

import numpy as np

from quatgrad.arrays import Array


def read_only(a: Array, dtype: type | None = None) -> Array:
    """The argument as the compiled code takes it: contiguous, and not to be written.

    Numba compiles one version for each type, and read-only is part of the type. Passing every
    argument read-only, writeable or not, halves the compiling, and proves none is written to.
    """
    a = np.ascontiguousarray(a, dtype).view()
    a.flags.writeable = False
    return a


def empty(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """`numpy.empty` that starts with a line of the cache: vectors across two take twice as long."""
    line, size = 64, math.prod(shape) * dtype.itemsize
    a = np.empty(size + line, np.uint8)
    first = -a.__array_interface__["data"][0] % line
    return a[first : first + size].view(dtype).reshape(shape)
