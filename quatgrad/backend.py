"""Where arrays live and which kernels compute on them.

A *backend* is an array library and a ladder of kernel rungs, best first:

    numpy   NumPy arrays   gemm, reference
    numba   NumPy arrays   numba_cpu, gemm, reference      (the default)
    cupy    CuPy arrays    cupy_gpu, gemm, reference

A kernel that the best rung lacks is looked up one rung down; `reference` has them all. The choice
holds for the whole process: threads share it.
`use_kernels("reference")` steps down by hand, for a lesson or to bisect a bug.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from quatgrad.errors import BackendError, DTypeError, OptionError

Array = Any  # numpy.ndarray or cupy.ndarray: the type checker knows only the first

LADDERS: dict[str, tuple[str, ...]] = {
    "numpy": ("gemm", "reference"),
    "numba": ("numba_cpu", "gemm", "reference"),
    "cupy": ("cupy_gpu", "gemm", "reference"),
}

#: What convolutions and matrix products of the fast GPU rung do with float32 numbers.
PRECISIONS = {
    "float32": "multiply them as they are",
    "tf32": "round the factors to 11 bits and add in float32: several times faster",
    "bf16": "round factors, results and maps between to 8 bits, add in float32: faster still",
}

#: The dtype of maps of bfloat16 numbers, for which NumPy and CuPy have no type: that of their bits.
BITS = np.dtype("uint16")

_backend = "numba"
_ladder = LADDERS[_backend]
_precision = "float32"
_rungs: dict[str, Callable[[], ModuleType]] = {}  # filled by quatgrad.kernels


# ------------------------------------------------------------------------------- backend


def get_backend() -> str:
    """Name of the backend in force: "numpy", "numba" or "cupy"."""
    return _backend


def set_backend(name: str) -> None:
    """Choose the backend for arrays made and kernels called from now on.

    Raises `BackendError` for an unknown name, and for "cupy" where there is no CUDA device.
    """
    global _backend, _ladder
    if name not in LADDERS:
        raise BackendError(f"unknown backend {name!r}: choose one of {', '.join(LADDERS)}")
    if name == "cupy":
        _require_gpu()
    _backend, _ladder = name, LADDERS[name]


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """`set_backend` for the length of a `with` block."""
    previous = _backend, _ladder
    set_backend(name)
    try:
        yield
    finally:
        globals().update(_backend=previous[0], _ladder=previous[1])


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
        raise OptionError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
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


@cache
def notice(text: str) -> None:
    """Say something on standard error, once in a process."""
    print(f"quatgrad: {text}", file=sys.stderr)


# -------------------------------------------------------------------------------- arrays


def array_module(*arrays: Array) -> Any:
    """The library, numpy or cupy, that the arrays belong to."""
    for a in arrays:
        if type(a).__module__.partition(".")[0] == "cupy":
            return sys.modules["cupy"]
    return np


def special(a: Array) -> Any:
    """The special functions (erf, ...) for arrays like `a`: SciPy's or CuPy's."""
    return import_module("cupyx.scipy.special" if array_module(a) is not np else "scipy.special")


def asarray(a: Array) -> Array:
    """The array `a` on the backend in force; copied only if it must move."""
    return sys.modules["cupy"].asarray(a) if _backend == "cupy" else to_numpy(a)


def new_array(data: Any) -> Array:
    """A fresh array on the backend in force; `data` is lists of numbers (then float32) or floats.

    Raises `DTypeError` for an array that is neither float32 nor float64, and for other things.
    """
    if hasattr(data, "dtype"):
        if array_module(data) is np and not isinstance(data, np.ndarray | np.generic):
            raise DTypeError(f"got a {type(data).__name__}: give the array that it holds")
        check_dtype(data.dtype, "the array")
        a = asarray(data)
        moved = array_module(a) is not array_module(data)
        return a if moved and a.flags.c_contiguous else a.copy(order="C")
    try:
        a = np.asarray(data)
    except ValueError as error:
        raise DTypeError(f"a list that is no array: {error}") from error
    if a.dtype.kind not in "fiub":
        raise DTypeError(f"an array holds numbers; got {type(data).__name__} of {a.dtype}")
    return asarray(a.astype(np.float32))


def to_numpy(a: Array) -> np.ndarray:
    """The array `a` as a NumPy array on the host; copied only if it must move."""
    return a.get() if array_module(a) is not np else np.asarray(a)


def numbers(a: Array) -> Array:
    """a, or the float32 numbers that it stands for if it holds the `BITS` of bfloat16."""
    return kernel("wide")(a) if a.dtype == BITS else a


def check_dtype(dtype: Any, what: str) -> None:
    """Raise `DTypeError` unless `dtype` is float32 or float64."""
    if dtype != np.float32 and dtype != np.float64:
        raise DTypeError(
            f"{what} has dtype {dtype}; quatgrad computes in float32 or float64 only: "
            "convert it with .astype(np.float32)"
        )


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A random generator for one purpose: Philox keyed by SHA-256 of (seed, *purpose).

    Two purposes never share a stream, and the draws depend neither on the backend nor on what
    was drawn before: `generator(seed, "augment", epoch)` replays any epoch by itself.
    """
    text = "|".join(map(str, (seed, *purpose)))
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


# ------------------------------------------------------------------------------- kernels


def add_rung(name: str, load: Callable[[], ModuleType]) -> None:
    """Register a rung of the ladder; `load()` imports its module when it is first needed."""
    _rungs[name] = cache(load)


def kernel(name: str) -> Callable[..., Any]:
    """The kernel `name` on the best rung in force that has it."""
    for rung in _ladder:
        f = getattr(_rungs[rung](), name, None)
        if callable(f):
            return f
    raise BackendError(f"no kernel {name!r} on the rungs {', '.join(_ladder)}")


def add(a: Array, b: Array) -> Array:
    """a + b on the best rung in force: the sum of gradients, for an engine that knows no kernel."""
    return kernel("add")(a, b)


@contextmanager
def use_kernels(rung: str) -> Iterator[None]:
    """Use the ladder from `rung` downwards for the length of a `with` block."""
    global _ladder
    if rung not in _rungs:
        raise BackendError(f"unknown rung {rung!r}: choose one of {', '.join(_rungs)}")
    previous = _ladder
    _ladder = (rung,) if rung == "reference" else tuple(dict.fromkeys((rung, "gemm", "reference")))
    try:
        yield
    finally:
        _ladder = previous
