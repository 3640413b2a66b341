"""Denormal numbers, which are too small to be worth their time.

A float32 below 1.2e-38 loses digits one by one down to 1.4e-45: it is denormal, and arithmetic on
it takes a hundred times as long. Networks that fit their images make many, as the gradients of a
softmax that is sure, and as the fading moments of Adam.
"""

import ctypes
import ctypes.util
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
from numba import njit, prange

# In the x86 register MXCSR: results that are denormal become 0, operands that are count as 0.
_FLUSH = 0x8040
_MXCSR = 7  # its place in glibc's fenv_t, a structure of eight 32-bit words

_KNOWN = platform.machine() in ("x86_64", "AMD64") and platform.libc_ver()[0] == "glibc"
if _KNOWN:
    _libm = ctypes.CDLL(ctypes.util.find_library("m"))
    _get, _set = _libm.fegetenv, _libm.fesetenv
    _get.argtypes = _set.argtypes = (ctypes.c_void_p,)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Denormal numbers become 0 within the `with` block, in this thread and in the kernels'.

    On x86 with glibc; elsewhere nothing changes.
    """
    if not _KNOWN:
        yield
        return
    before = np.zeros(8, np.uint32)
    _get(before.ctypes.data)
    flush = before.copy()
    flush[_MXCSR] |= _FLUSH
    _set_everywhere(flush)
    try:
        yield
    finally:
        _set_everywhere(before)


def _set_everywhere(environment: np.ndarray) -> None:
    _set(environment.ctypes.data)
    _set_in_threads(environment.ctypes.data, numba.get_num_threads())


if _KNOWN:

    @njit(parallel=True)
    def _set_in_threads(environment, threads):
        for _ in prange(threads):  # each thread takes one of so many turns
            _set(environment)
