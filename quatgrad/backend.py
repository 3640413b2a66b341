"""The backend in force, and its precision: one choice for the whole process, threads share it.

    numpy   NumPy arrays, plain NumPy kernels
    numba   NumPy arrays, kernels compiled by Numba      (the default)
    cupy    CuPy arrays, CUDA kernels

Which kernels a backend uses is said in `quatgrad.kernels.registry`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from quatgrad.errors import BackendError, OptionError, unknown

BACKENDS = ("numpy", "numba", "cupy")

#: What convolutions and matrix products of the fast GPU rung do with float32 numbers.
PRECISIONS = {
    "float32": "multiply them as they are",
    "tf32": "round the factors to 11 bits and add in float32: several times faster",
    "bf16": "round factors, results and maps between to 8 bits, add in float32: faster still",
}

_backend = "numba"
_precision = "float32"


def get_backend() -> str:
    """Name of the backend in force: "numpy", "numba" or "cupy"."""
    return _backend


def set_backend(name: str) -> None:
    """Choose the backend for arrays made and kernels called from now on.

    Raises `BackendError` for an unknown name, and for "cupy" where there is no CUDA device.
    """
    global _backend
    if name not in BACKENDS:
        raise BackendError(unknown("backend", name, BACKENDS))
    if name == "cupy":
        _require_gpu()
    _backend = name


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """`set_backend` for the length of a `with` block."""
    global _backend
    previous = _backend
    set_backend(name)
    try:
        yield
    finally:
        _backend = previous


def _require_gpu() -> None:
    """Raise one clear line unless CuPy is installed, finds a GPU and can compile for it."""
    advice = "or choose --backend numba (fast on a CPU)"
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "backend cupy: CuPy is not installed; run pip install 'quatgrad[cuda12]' "
            f"(or [cuda13]) on a machine with an NVIDIA GPU, {advice}"
        ) from error
    runtime = cupy.cuda.runtime
    major = runtime.runtimeGetVersion() // 1000
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        reason = str(error)
        if 0 < (driver := runtime.driverGetVersion() // 1000) < major:
            reason = (
                f"this CuPy is for CUDA {major}, the driver for CUDA {driver}: update the driver, "
                f"or pip uninstall cupy-cuda{major}x and pip install 'quatgrad[cuda{driver}]'"
            )
        raise BackendError(f"backend cupy: no usable NVIDIA GPU ({reason}), {advice}") from error
    if count == 0:
        raise BackendError(f"backend cupy: this machine has no NVIDIA GPU; {advice[3:]}")
    try:
        cupy.ones(1).item()  # takes CUDA's compiler and headers, which CuPy alone does not bring
    except (RuntimeError, OSError, ImportError) as error:
        line = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"backend cupy: CuPy cannot compile for the GPU ({type(error).__name__}: {line}); "
            f"run pip install 'quatgrad[cuda{major}]', which brings what it needs, {advice}"
        ) from error


def get_precision() -> str:
    """How exact products are on the fast GPU rung: one of `PRECISIONS`."""
    return _precision


def set_precision(name: str) -> None:
    """Choose how exact products are on the fast GPU rung from now on; see `PRECISIONS`.

    CPU kernels, and float64 everywhere, compute in full precision always. Raises `OptionError`.
    """
    global _precision
    if name not in PRECISIONS:
        raise OptionError(unknown("precision", name, PRECISIONS))
    _precision = name


@contextmanager
def use_precision(name: str) -> Iterator[None]:
    """`set_precision` for the length of a `with` block."""
    previous = _precision
    set_precision(name)
    try:
        yield
    finally:
        set_precision(previous)


#: Where notices go: by default to standard error. setLevel(logging.ERROR) silences them.
logger = logging.getLogger("quatgrad")
logger.propagate = False
if logging.lastResort and not logger.handlers:
    logger.addHandler(logging.lastResort)


@cache
def notice(text: str) -> None:
    """Log a warning of the logger "quatgrad", once in a process."""
    logger.warning("quatgrad: %s", text)
