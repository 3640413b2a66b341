"""The CUDA sources beside this file, compiled when they are first used, once for each dtype."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.arrays import BFLOAT16_BITS, Array, array_module
from quatgrad.kernels.reference.quaternion import HAMILTON

HERE = Path(__file__).parent
THREADS = 256  # in a block; enough to hide the latency of memory, few enough to share out

Size = tuple[int, ...]

PACK = 16  # bytes: where arrays start, and what a thread reads at once

#: What the sources share: T is the number, U an integer of its size, X what a map holds, numbers or
#: the bits of bfloat16, the upper half of float32. By FOR every thread takes the numbers i below n
#: that are its own, i, i + (threads in the grid), ... VECTOR neighbours are read or written as one.
PRELUDE = """
typedef NUMBER T;
typedef INTEGER U;
typedef ELEMENT X;

__device__ T number(T x) { return x; }
__device__ float number(unsigned short bits) {
    union {
        unsigned bits;
        float number;
    } y = {unsigned(bits) << 16};
    return y.number;
}

// To the nearest, of two bfloat16 the even one. NaN stays NaN.
__device__ void store(T x, T* to) { *to = x; }
__device__ void store(float x, unsigned short* to) {
    union {
        float number;
        unsigned bits;
    } y = {x};
    *to = x == x ? (y.bits + 0x7fffu + (y.bits >> 16 & 1u)) >> 16 : 0x7fffu;
}

struct alignas(VECTOR * sizeof(X)) Pack {
    X at[VECTOR];
};
__device__ void load(const X* from, T* to) {
    Pack p = *(const Pack*)from;
    for (int v = 0; v < VECTOR; v++) to[v] = number(p.at[v]);
}
__device__ void save(const T* from, X* to) {
    Pack p;
    for (int v = 0; v < VECTOR; v++) store(from[v], &p.at[v]);
    *(Pack*)to = p;
}

#define FOR(i, n) \\
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \\
         i += (long long)gridDim.x * blockDim.x)
"""


def source(name: str) -> str:
    """The CUDA source `name`.cu, with what all of them share."""
    return PRELUDE + (HERE / f"{name}.cu").read_text("utf-8")


def options(dtype: Any, vector: int = 1) -> tuple[str, ...]:
    """For the compiler, of maps of this dtype: the types; bit 4a + b where e_a e_b is negative.

    And how many numbers a thread takes as one, of kernels that do.
    """
    number, integer, element = {
        "float32": ("float", "unsigned", "float"),
        "float64": ("double", "unsigned long long", "double"),
        BFLOAT16_BITS.name: ("float", "unsigned", "unsigned short"),
    }[np.dtype(dtype).name]
    units = [(a, b) for a in range(4) for b in range(4) if HAMILTON[a, b].sum() < 0]
    negative = sum(1 << 4 * a + b for a, b in units)
    types = f"-DNUMBER={number}", f"-DINTEGER={integer}", f"-DELEMENT={element}"
    return *types, f"-DNEGATIVE={negative}", f"-DVECTOR={vector}"


@cache
def _function(file: str, name: str, dtype: Any, vector: int) -> Any:
    import cupy  # here, so that what does not compute can be imported anywhere

    return cupy.RawModule(code=source(file), options=options(dtype, vector)).get_function(name)


def launch(
    file: str, name: str, dtype: Any, grid: Size, block: Size, *args: Any, vector: int = 1
) -> None:
    """Run a kernel on contiguous arrays and NumPy numbers; their types are those it declares."""
    _function(file, name, np.dtype(dtype), vector)(grid, block, args)


def launch_for_each(file: str, name: str, n: int, dtype: Any, *args: Any, vector: int = 1) -> None:
    """`launch` with a thread for each of n numbers, which the kernel takes by FOR; n = 0: none."""
    if n:
        blocks = min(-(-n // THREADS), 1 << 20)
        launch(file, name, dtype, (blocks,), (THREADS,), *args, vector=vector)


def launch_for_packs(file: str, name: str, n: int, dtype: Any, *arrays: Any) -> None:
    """`launch_for_each` with a thread for each `pack` of neighbours among n numbers."""
    V = pack(dtype, n)
    launch_for_each(file, name, n // V, dtype, *arrays, np.int64(n // V), vector=V)


def pack(dtype: Any, n: int) -> int:
    """How many neighbours a thread takes as one, if that divides the n in a row; else 1."""
    V = 2 if np.dtype(dtype) == np.float64 else 4
    return 1 if n % V else V


def contiguous(*arrays: Array) -> list[Array]:
    """The arrays in row-major order, starting at a multiple of `PACK`; copied if they are not."""
    rows = (array_module(a).ascontiguousarray(a) for a in arrays)
    return [a.copy() if a.data.ptr % PACK else a for a in rows]
