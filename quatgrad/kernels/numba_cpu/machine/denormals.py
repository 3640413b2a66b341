"""Denormal numbers, which are too small to be worth their time.

A float32 below 1.2e-38 loses digits one by one down to 1.4e-45: it is denormal, and arithmetic on
it takes a hundred times as long. Networks that fit their images make many, as the gradients of a
softmax that is sure, and as the fading moments of Adam.
"""

import ctypes
import ctypes.util
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
def flush_denormals() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Denormal numbers become 0 within the `with` block, in this thread and in the kernels'.

    A thread that is started inside does as this one does, and goes on with it for ever. So what
    the block calls that is not its own belongs into a block of what it gives:

        with flush_denormals() as as_before:
            ...
            with as_before():  # this thread keeps denormal numbers, as before; the kernels' do not
                callback()

    On x86 with glibc; elsewhere nothing changes.
    """
    if not _KNOWN:
        yield nullcontext
        return
    before = np.zeros(8, np.uint32)
    _get(before.ctypes.data)
    flush = before.copy()
    flush[_MXCSR] |= _FLUSH

    @contextmanager
    def as_before() -> Iterator[None]:
        _set(before.ctypes.data)
        try:
            yield
        finally:
            _set(flush.ctypes.data)

    _set_everywhere(flush)
    try:
        yield as_before
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
