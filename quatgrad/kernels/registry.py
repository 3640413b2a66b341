"""Which kernel computes: the one on the best rung of the ladder of the current backend.

    numpy   NumPy arrays   gemm, reference
    numba   NumPy arrays   numba_cpu, gemm, reference      (the default, if Numba is there)
    cupy    CuPy arrays    cupy_gpu, gemm, reference

If the best rung has no such kernel, the next one down is asked; `reference` has all of them.
`use_kernels("reference")` chooses a lower rung by hand, for a lesson or to find a bug.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any, TypeVar

from quatgrad import calls
from quatgrad.backend import get_backend
from quatgrad.errors import BackendError, unknown

LADDERS: dict[str, tuple[str, ...]] = {
    "numpy": ("gemm", "reference"),
    "numba": ("numba_cpu", "gemm", "reference"),
    "cupy": ("cupy_gpu", "gemm", "reference"),
}

Kernel = Callable[..., Any]
F = TypeVar("F", bound=Kernel)

_kernels: dict[str, dict[str, Kernel]] = {
    rung: {} for rung in ("reference", "gemm", "numba_cpu", "cupy_gpu")
}
_chosen: tuple[str, tuple[str, ...]] | None = None  # by use_kernels: for a backend, a ladder


def register(f: F, rung: str | None = None) -> F:
    """Decorator: f is the kernel of its name, on the rung in whose file or folder it stands."""
    _kernels[rung or f.__module__.split(".")[2]][f.__name__] = f
    return f


@cache
def kernels_of(rung: str) -> dict[str, Kernel]:
    """Name -> kernel, all of a rung. Its modules are imported when they are first needed."""
    import_module(f"quatgrad.kernels.{rung}")
    return _kernels[rung]


def ladder() -> tuple[str, ...]:
    """The rungs to look at, best first: the backend's, or what `use_kernels` chose."""
    name = get_backend()
    return _chosen[1] if _chosen and _chosen[0] == name else LADDERS[name]


def kernel(name: str) -> Kernel:
    """The kernel `name` on the best rung that has it."""
    for rung in ladder():
        if f := kernels_of(rung).get(name):
            return f if calls.recorder is None or rung == "numba_cpu" else partial(calls.call, f)
    raise BackendError(f"no kernel {name!r} on the rungs {', '.join(ladder())}")


@contextmanager
def use_kernels(rung: str) -> Iterator[None]:
    """Use the ladder from `rung` downwards for the length of a `with` block."""
    global _chosen
    if rung not in _kernels:
        raise BackendError(unknown("rung", rung, _kernels))
    lower = ("reference",) if rung == "reference" else ("gemm", "reference")
    previous, _chosen = _chosen, (get_backend(), tuple(dict.fromkeys((rung, *lower))))
    try:
        yield
    finally:
        _chosen = previous
