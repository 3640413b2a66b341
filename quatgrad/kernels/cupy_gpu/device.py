"""Is there a GPU that CuPy can use?"""

from quatgrad.errors import BackendError


def require_gpu() -> None:
    """Raise one clear line unless CuPy is installed, finds a GPU and can compile for it."""
    advice = "or choose `backend` numba (fast on a CPU)"
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
