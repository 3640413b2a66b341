"""The rungs of the kernel ladder: plain functions on arrays, same names and signatures on each.

    reference   each kernel as the formula it is, on any array module: the specification
    gemm        the same through matrix products, on any array module
    numba_cpu   fast CPU kernels (Numba)
    cupy_gpu    fast GPU kernels (CuPy)

Letters: n i j batch, row, column of the output; u v kernel offsets; p q input and output
feature; a b c quaternion components; g = dL/dy; dx, dw gradients; a capital is a size.
Feature maps are channels-last, (N, H, W, C); a quaternion map has C = 4Q channels in component
blocks [1 | i | j | k]. Strides, paddings and window sizes are pairs (rows, columns).
"""

from importlib import import_module
from importlib.util import find_spec

from quatgrad import backend
from quatgrad.errors import BackendError
from quatgrad.kernels.registry import LADDERS, kernel, use_kernels

__all__ = ["kernel", "use_kernels"]


def _check(name: str) -> None:
    """Raise `BackendError` unless this machine can run a backend: for a GPU, its rung knows."""
    if name == "numba" and not find_spec("numba"):
        raise BackendError("backend numba: Numba is not installed; numpy needs nothing else")
    if name == "cupy":
        import_module(f"quatgrad.kernels.{LADDERS[name][0]}").require_gpu()


backend.check = _check
