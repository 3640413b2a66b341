"""The backend in force, and its precision: one choice for the whole process, threads share it.

    numpy   NumPy arrays, plain NumPy kernels
    numba   NumPy arrays, kernels compiled by Numba      (the default, where Numba is installed)
    cupy    CuPy arrays, CUDA kernels

Which kernels a backend uses is said in `quatgrad.kernels.registry`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from quatgrad.errors import BackendError, OptionError, unknown

BACKENDS = ("numpy", "numba", "cupy")

#: What convolutions and matrix products of the fast GPU rung do with float32 numbers.
PRECISIONS = {
    "float32": "multiply them as they are",
    "tf32": "round the factors to 11 bits and add in float32: several times faster",
    "bf16": "round factors, results and maps between to 8 bits, add in float32: faster still",
}

#: Raises `BackendError` unless this machine can run a backend; quatgrad.kernels attaches it.
check: Callable[[str], None] = lambda name: None  # noqa: E731

_backend = "numba" if find_spec("numba") else "numpy"
_precision = "float32"


def get_backend() -> str:
    """Name of the backend in force: "numpy", "numba" or "cupy"."""
    return _backend


def set_backend(name: str) -> None:
    """Choose the backend for arrays made and kernels called from now on.

    A CPU computes in float32: with "numpy" and "numba" that is the precision from now on. Raises
    `BackendError` for an unknown name, and for "cupy" where there is no CUDA device.
    """
    global _backend, _precision
    if name not in BACKENDS:
        raise BackendError(unknown("backend", name, BACKENDS))
    check(name)
    _backend = name
    if name != "cupy":
        _precision = "float32"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """`set_backend` for the length of a `with` block."""
    global _backend, _precision
    previous = _backend, _precision
    set_backend(name)
    try:
        yield
    finally:
        _backend, _precision = previous


def get_precision() -> str:
    """How exact products are on the fast GPU rung: one of `PRECISIONS`."""
    return _precision


def set_precision(name: str) -> None:
    """Choose how exact products are on the fast GPU rung from now on; see `PRECISIONS`.

    float64 is computed in float64 always. Raises `OptionError`, also for another precision than
    "float32" with a backend that has no other.
    """
    global _precision
    if name not in PRECISIONS:
        raise OptionError(unknown("precision", name, PRECISIONS))
    if name != "float32" and _backend != "cupy":
        raise OptionError(
            f"precision {name} is for a GPU, and the backend is {_backend}, which computes in "
            "float32: choose the backend cupy (`--backend cupy`), or the precision float32"
        )
    _precision = name


@contextmanager
def use_precision(name: str) -> Iterator[None]:
    """`set_precision` for the length of a `with` block."""
    global _precision
    previous = _precision
    set_precision(name)
    try:
        yield
    finally:
        _precision = previous


#: Where notices go: by default to standard error. setLevel(logging.ERROR) silences them.
logger = logging.getLogger("quatgrad")
logger.propagate = False
if logging.lastResort and not logger.handlers:
    logger.addHandler(logging.lastResort)


@cache
def notice(text: str) -> None:
    """Log a warning of the logger "quatgrad", once in a process."""
    logger.warning("quatgrad: %s", text)
