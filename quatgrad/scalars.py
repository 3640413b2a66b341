"""Numbers that are options: Python's or NumPy's come in, Python's go on.

So a `np.float64` does not widen float32 arrays, a `np.int64` is a size or an axis, and None, a text
or a tensor, whose gradient would be lost, is an error before anything is computed.
"""

import operator
from numbers import Real
from reprlib import repr as shown
from typing import Any

import numpy as np

from quatgrad.errors import OptionError


def number(x: Any, what: str) -> float:
    """The real number x as a float; `OptionError` for anything else."""
    x = x[()] if isinstance(x, np.ndarray) else x  # of no axes: the number in it
    if not isinstance(x, Real):
        raise OptionError(f"{what} is a number; got {shown(x)}")
    return float(x)


def integer(x: Any, what: str) -> int:
    """The whole number x as an int; `OptionError` for anything else, 3.0 too."""
    try:
        return operator.index(x)
    except TypeError:
        raise OptionError(f"{what} is a whole number; got {shown(x)}") from None
