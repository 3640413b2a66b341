"""Convolutions by cuDNN. A plan is made once for each problem: shapes, window and precision.

cuDNN's graph interface (the package nvidia-cudnn-frontend) describes a convolution by a graph of
one operation, offers engines that can run it, and executes the chosen one on plain pointers. Where
the library is missing, or has no engine, there is no plan, and one notice says why.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from quatgrad.arrays import BFLOAT16_BITS, Array, array_module
from quatgrad.backend import get_precision, notice
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_packs
from quatgrad.kernels.reference.patches import Pair
from quatgrad.kernels.registry import register

Shape = tuple[int, ...]

#: kind -> its two operands and its result; "y" stands for g = dL/dy too.
OPERANDS = {"forward": ("x", "w", "y"), "dx": ("y", "w", "x"), "dw": ("x", "y", "w")}
NUMBER = {"x": 1, "w": 2, "y": 3}  # of a tensor in its graph
WORKSPACE = 1 << 30  # bytes that an engine may ask for
SLOW = "convolutions take matrix products, several times slower"


class Problem(NamedTuple):
    """What a plan depends on: x (N, H, W, P), w (Q, U, V, P), y (N, I, J, Q), float32."""

    kind: str
    x: Shape
    w: Shape
    y: Shape
    stride: Pair
    padding: Pair
    precision: str


def plan(
    kind: str, like: Array, x: Shape, w: Shape, y: Shape, stride: Pair, padding: Pair
) -> Problem | None:
    """The problem, for arrays of the kind of `like`, if cuDNN solves it; else None."""
    if like.dtype not in (np.float32, BFLOAT16_BITS) or not all((*x, *w, *y)):
        return None
    shapes = tuple(x), tuple(w), tuple(y)
    problem = Problem(kind, *shapes, stride, padding, get_precision())
    return problem if _find(problem) else None


def run(problem: Problem, a: Array, b: Array, keep: bool = False) -> Array:
    """The result of a problem that has a plan, for its operands in the order of `OPERANDS`.

    It is float32; with `keep` it stays the bits of bfloat16, if it is.
    """
    change = to_bf16 if problem.precision == "bf16" else upcast
    a, b = map(change, contiguous(a, b))
    out = array_module(a).empty(getattr(problem, OPERANDS[problem.kind][2]), a.dtype)
    _execute(problem, a, b, out)
    return out if keep else upcast(out)


def _execute(problem: Problem, *arrays: Any) -> None:
    import cudnn

    xp, handle = array_module(*arrays), _handle()
    graph, size = _find(problem)
    workspace = xp.empty((max(size, 1),), "uint8")
    names = OPERANDS[problem.kind]
    pointers = {NUMBER[n]: int(a.data.ptr) for n, a in zip(names, arrays, strict=True)}
    cudnn.set_stream(handle=handle, stream=xp.cuda.get_current_stream().ptr)
    graph.execute(pointers, int(workspace.data.ptr), handle=handle)


def rounds(x: Array) -> bool:
    """Whether all products round x to bfloat16."""
    return get_precision() == "bf16" and x.dtype == "float32" and _handle() is not None


def to_bf16(x: Array) -> Array:
    """x rounded to bfloat16: its bits as uint16, since NumPy has no such type."""
    if x.dtype == BFLOAT16_BITS:
        return x
    (x,) = contiguous(x)
    y = array_module(x).empty(x.shape, BFLOAT16_BITS)
    launch_for_packs("precision", "to_bf16", x.size, BFLOAT16_BITS, x, y)
    return y


def from_bf16(y: Array) -> Array:
    """The numbers whose bits `to_bf16` gave, as float32."""
    (y,) = contiguous(y)
    x = array_module(y).empty(y.shape, np.float32)
    launch_for_packs("precision", "from_bf16", x.size, BFLOAT16_BITS, y, x)
    return x


@register
def upcast(x: Array) -> Array:
    """x, as float32 if it is the bits of bfloat16."""
    return from_bf16(x) if x.dtype == BFLOAT16_BITS else x


def build(problem: Problem, **device: Any) -> Any:
    """The graph of a problem, with the engine that cuDNN thinks the fastest.

    `device` is `handle=` of a device, or `device_property=` and `sm_version=` of one described.
    Engines that do not give the same bits every time are left out, and for precision "float32"
    those that round the factors to TF32. For the others tensor cores are preferred: cuDNN's first
    thought can be ten times slower. Errors: cuDNN's, if no engine is left.
    """
    import cudnn

    if problem.precision != "float32":
        try:
            return _build(problem, ["TENSOR_CORE"], ["NONDETERMINISTIC"], **device)
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError):  # odd channels, perhaps
            graph = _build(problem, [], ["NONDETERMINISTIC"], **device)
            notice("some convolutions do without tensor cores, which is slower: odd channels?")
            return graph
    unfit = ["NONDETERMINISTIC", "TENSOR_CORE", "DOWN_CONVERT_INPUTS"]
    return _build(problem, [], unfit, **device)


def _build(problem: Problem, must: list[str], must_not: list[str], **device: Any) -> Any:
    """`build`, of engines with and without these numerical notes."""
    import cudnn

    kinds, note = cudnn.data_type, cudnn.numerical_note
    number = kinds.BFLOAT16 if problem.precision == "bf16" else kinds.FLOAT
    sums = {"intermediate_data_type": kinds.FLOAT, "compute_data_type": kinds.FLOAT}
    graph = cudnn.pygraph(io_data_type=number, **sums, **device)
    *operands, result = OPERANDS[problem.kind]
    a, b = (graph.tensor(*_layout(getattr(problem, n)), name=n, uid=NUMBER[n]) for n in operands)
    how = {"stride": [*problem.stride], "padding": [*problem.padding], "dilation": [1, 1]}
    if problem.kind == "forward":
        out = graph.conv_fprop(image=a, weight=b, **how)
    elif problem.kind == "dx":
        out = graph.conv_dgrad(loss=a, filter=b, **how)
    else:
        out = graph.conv_wgrad(image=a, loss=b, **how)
    sizes, strides = _layout(getattr(problem, result))
    out.set_dim(sizes).set_stride(strides).set_output(True).set_data_type(number)
    out.set_uid(NUMBER[result])
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.select_numeric_notes([getattr(note, name) for name in must])
    graph.deselect_numeric_notes([getattr(note, name) for name in must_not])
    graph.deselect_workspace_greater_than(WORKSPACE)
    graph.check_support()
    graph.build_plans()
    return graph


@cache
def _find(problem: Problem) -> Any:
    """(graph, bytes of workspace), or None."""
    handle = _handle()
    if handle is None:
        return None
    import cudnn

    try:
        graph = build(problem, handle=handle)
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError) as error:
        what = f"some convolutions ({problem.kind}, {problem.precision})"
        reason = str(error).strip().partition("\n")[0]
        notice(f"cuDNN has no engine for {what}: such {SLOW} ({reason})")
        return None
    return graph, int(graph.get_workspace_size())


@cache
def _handle() -> Any:
    """cuDNN's handle for this device; None, and a notice, where the library cannot be used."""
    import cupy

    cuda = cupy.cuda.runtime.runtimeGetVersion() // 1000
    install = f"pip install 'quatgrad[cudnn{cuda}]'"
    if wrong := [v for v in (11, 12, 13) if _installed(v) and not _installed(cuda)]:
        notice(f"the installed cuDNN is for CUDA {wrong[0]}, CuPy for {cuda}: {SLOW}; {install}")
        return None
    try:
        with _without_torch():
            import cudnn
        from cuda.pathfinder import load_nvidia_dynamic_lib

        # Where pip has put them, cuDNN and its frontend do not look; CuPy has its own runtime
        # inside. Without cuBLAS, cuDNN ends the process.
        for library in ("cudart", "nvrtc", "cublasLt"):
            load_nvidia_dynamic_lib(library)
        os.environ.setdefault("CUDNN_FRONTEND_CUDART_LIB_NAME", f"libcudart.so.{cuda}")
        return cudnn.create_handle()
    except ImportError as error:
        notice(f"cuDNN is not installed ({error}): {SLOW}; {install}")
    except RuntimeError as error:  # of the frontend, or DynamicLibNotFoundError
        reason = str(error).partition("\n")[0]
        notice(f"cuDNN, or what it needs of CUDA, is not found ({reason}): {SLOW}; {install}")
    return None


@contextmanager
def _without_torch() -> Iterator[None]:
    """The frontend imports PyTorch where it is installed: seconds and memory, for nothing here."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        yield
    finally:
        del sys.modules["torch"]


def _installed(cuda: int) -> bool:
    """Is the package of cuDNN for this CUDA there? One for another would end the process."""
    try:
        return bool(version(f"nvidia-cudnn-cu{cuda}"))
    except PackageNotFoundError:
        return False


def _layout(shape: Shape) -> tuple[list[int], list[int]]:
    """Sizes and strides of channels-last memory in cuDNN's order: N, C, H, W."""
    N, H, W, C = shape
    return [N, C, H, W], [H * W * C, 1, W * C, C]
