"""Arrays of either library: NumPy on the host, CuPy on a GPU."""

import sys
from importlib import import_module
from reprlib import repr as shown
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from quatgrad.backend import get_backend
from quatgrad.calls import call
from quatgrad.errors import DTypeError

Array: TypeAlias = npt.NDArray[Any]  # or cupy.ndarray, which has the same methods

#: The dtype of arrays of bfloat16 numbers: NumPy has no bfloat16, so they hold the bits.
BFLOAT16_BITS = np.dtype("uint16")


def array_module(*arrays: Any) -> Any:
    """The library, numpy or cupy, that the arrays belong to."""
    for a in arrays:
        if type(a) is not np.ndarray and type(a).__module__.partition(".")[0] == "cupy":
            return sys.modules["cupy"]
    return np


def special(a: Array) -> Any:
    """The special functions (erf, ...) for arrays like `a`: SciPy's or CuPy's."""
    return import_module("cupyx.scipy.special" if array_module(a) is not np else "scipy.special")


def asarray(a: Array) -> Array:
    """The array `a` on the backend in force; copied only if it must move."""
    return sys.modules["cupy"].asarray(a) if get_backend() == "cupy" else to_numpy(a)


def new_array(data: Any, dtype: Any = None, copy: bool = True) -> Array:
    """A fresh array on the backend in force, of an array of float32 or float64, or of numbers.

    Not `copy`: an array that is there already stays itself. Numbers, NumPy's too, and lists of
    them become `dtype`, or else float32. Raises `DTypeError` for an array of another dtype, and for
    what is no number, as None and texts.
    """
    if hasattr(data, "dtype") and not isinstance(data, np.generic):
        if array_module(data) is np and not isinstance(data, np.ndarray):
            raise DTypeError(f"got a {type(data).__name__}: give the array that it holds")
        check_dtype(data.dtype, "the array")
        a = asarray(data)
        moved = array_module(a) is not array_module(data)
        return a if not copy or (moved and a.flags.c_contiguous) else _copy(a)
    own = np.float64 if isinstance(data, np.float64) else np.float32
    return asarray(real_array(data, dtype or own).copy())


def _copy(a: Array) -> Array:
    copy = array_module(a).empty(a.shape, a.dtype)
    call(_assign, copy, a)
    return copy


def _assign(to: Array, a: Array) -> None:
    to[...] = a


def real_array(x: Any, dtype: Any, xp: Any = np) -> Array:
    """The real numbers x, however they are given, as an array of the library `xp`.

    NumPy would make NaN of None, and 2 of "2": they, and complex numbers, are a `DTypeError`.
    """
    try:
        a = np.asarray(x) if array_module(x) is np else x
    except ValueError as error:
        raise DTypeError(f"a list that is no array: {error}") from error
    if a.dtype.kind not in "fiub":
        raise DTypeError(f"an array holds numbers; got {shown(x)}")
    return xp.asarray(a, dtype=dtype)


def to_numpy(a: Any) -> np.ndarray:
    """The array `a` as a NumPy array on the host; copied only if it must move."""
    return a.get() if array_module(a) is not np else np.asarray(a)


def writeable(a: Array) -> Array:
    """a, or a copy where it is read-only: as of a file whose memory several processes share."""
    return np.array(a) if isinstance(a, np.ndarray) and not a.flags.writeable else a


def dtype_of(a: Array) -> Any:
    """float32 or float64: the dtype that a stands for. bfloat16 numbers stand for float32 ones."""
    return np.dtype(np.float32) if a.dtype == BFLOAT16_BITS else a.dtype


def check_dtype(dtype: Any, what: str) -> None:
    """Raise `DTypeError` unless `dtype` is float32 or float64."""
    if dtype != np.float32 and dtype != np.float64:
        raise DTypeError(
            f"{what} has dtype {dtype}; quatgrad computes in float32 or float64 only: "
            "convert it with .astype(np.float32)"
        )
