"""How arguments are handed to compiled code."""

from __future__ import annotations

import numpy as np

from quatgrad.backend import Array


def read_only(a: Array, dtype: type | None = None) -> Array:
    """The argument as the compiled code takes it: contiguous, and not to be written.

    Numba compiles one version for each type, and read-only is part of the type. Passing every
    argument read-only, writeable or not, halves the compiling, and proves none is written to.
    """
    a = np.ascontiguousarray(a, dtype).view()
    a.flags.writeable = False
    return a
