"""How kernels are compiled, how arrays are handed to them, and a notice while they compile."""

import math
import sys
from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any, cast

import numpy as np
from numba import njit
from numba.core import event

from quatgrad import calls
from quatgrad.arrays import Array
from quatgrad.backend import notice
from quatgrad.kernels.numba_cpu.machine.cache import LINE
from quatgrad.kernels.numba_cpu.machine.disk_cache import KernelCache


def _kept(**options: Any) -> Any:
    """Numba's `njit` with these options, and with what it compiles in our cache on the disk.

    Division by zero gives inf or NaN, as in NumPy: a check would keep loops from vectorising.
    """

    def decorate(f: Callable[..., Any]) -> Any:
        function = njit(error_model="numpy", **options)(f)
        function._cache = KernelCache(f)
        return function

    return decorate


parallel = _kept(parallel=True)  # prange shares a loop
serial = _kept()  # in the thread that calls it
leaf = _kept(_nrt=False)  # makes and returns no array: counts no references, which takes turns
serial_nogil = _kept(nogil=True)  # threads of Python may share it
by_address = _kept(no_cpython_wrapper=True)  # compiled code calls it, not Python
formula = _kept(forceinline=True)  # part of the caller's loop
summing = _kept(forceinline=True, fastmath={"reassoc", "nsz"})  # the same, a sum in vectors
template = njit(inline="always")  # takes functions as arguments: if not inlined, never cached


def read_only(a: Array, dtype: type | None = None) -> Array:
    """The array as compiled code takes it: contiguous, and not to be written.

    Numba compiles one version for each type, and read-only is part of the type. Passing every
    argument read-only, writeable or not, halves the compiling, and proves none is written to.
    """
    if not a.flags.c_contiguous or (dtype and a.dtype != dtype):
        a = calls.call(np.ascontiguousarray, a, dtype)
    a = a.view() if a.ndim else a.reshape(1)
    a.setflags(write=False)
    return a


def empty(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """`numpy.empty` that starts with a line of the cache: vectors across two take twice as long."""
    size = math.prod(shape) * dtype.itemsize + LINE
    a = np.empty(size, np.uint8) if calls.memory is None else calls.memory(size)
    return np.ndarray(shape, dtype, a, -address(a) % LINE)


def address(a: Array) -> int:
    """Where the numbers of a contiguous array start; `a.ctypes.data` takes four times as long."""
    plain = a.size and a.flags.writeable
    return addressof(c_char.from_buffer(cast(Any, a))) if plain else a.ctypes.data


class _Listener(event.Listener):
    """Numba calls it for each function that it compiles. It writes one notice, for our kernels."""

    def on_start(self, event: Any) -> None:
        """Numba found no compiled kernel in its cache on the disk."""
        ours = event.data["dispatcher"].py_func.__module__.startswith("quatgrad.")
        if ours and sys.stderr.isatty():
            notice("compiling kernels for this processor: at most a minute, and cached on the disk")

    def on_end(self, event: Any) -> None:
        """Nothing more to say."""


def announce_compiling() -> None:
    """Write a notice when the first kernel is compiled, if standard error is a terminal."""
    event.register("numba:compile", _Listener())
