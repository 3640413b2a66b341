"""Products of matrices in blocks of `multiply`: float32 at the speed of the vector unit.

A BLAS that does not know the processor runs at half of its speed: OpenBLAS 0.3.31 makes 120 GFLOP/s
on one core of an AMD EPYC with AVX-512, this 220 to 250. Other dtypes and shapes go to the BLAS.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from quatgrad.backend import Array
from quatgrad.kernels import reference
from quatgrad.kernels.numba_cpu.arguments import empty, read_only
from quatgrad.kernels.numba_cpu.multiply import multiply

#: Rows of B that are multiplied before the next: so many, two vectors wide, stay in the L1 cache.
DEPTH = 256
#: Rows and columns of the block of C that is a task of its own.
BLOCK = 64, 128
#: Multiplications below which a single thread is done before a second one has started.
ALONE = 1 << 20

_compiled = njit(cache=True, error_model="numpy")
_parallel = njit(parallel=True, cache=True, error_model="numpy")


def matmul(a: Array, b: Array) -> Array:
    """`reference.matmul`; (M, K) times (K, N), or stacks of them, equally high."""
    plain = a.dtype == b.dtype == np.float32 and a.ndim == b.ndim in (2, 3)
    if not plain or a.shape[:-2] != b.shape[:-2] or 0 in (*a.shape, *b.shape):
        return reference.matmul(a, b)
    *lead, M, K = a.shape
    if b.shape[-2] != K:
        return reference.matmul(a, b)  # which says what is wrong
    N = b.shape[-1]
    c = empty((*lead, M, N), a.dtype)
    turned = a.swapaxes(-1, -2)
    # A transposed matrix is read as it lies, unless its rows fall on the same lines of the cache.
    as_it_lies = turned.flags.c_contiguous and not a.flags.c_contiguous and M % 1024
    rs, cs = (1, M) if as_it_lies else (K, 1)
    flat_a = read_only(turned if as_it_lies else a).reshape(-1)
    run = _blocks if c.size * K >= ALONE else _one
    run(c.reshape(-1), flat_a, rs, cs, read_only(b).reshape(-1), c.size // (M * N), M, K, N)
    return c


@_compiled
def _product(c, a, rs, cs, b, s, M, K, N, m, rows, n, columns):
    """Rows m and following and columns n and following of product s of the stack."""
    for k in range(0, K, DEPTH):
        multiply(
            c, (s * M + m) * N + n, N,
            a, s * M * K + m * rs + k * cs, rs, cs,
            b, (s * K + k) * N + n, N,
            rows, min(DEPTH, K - k), columns, k > 0,
        )  # fmt: skip


@_compiled
def _one(c, a, rs, cs, b, S, M, K, N):
    for s in range(S):
        _product(c, a, rs, cs, b, s, M, K, N, 0, M, 0, N)


@_parallel
def _blocks(c, a, rs, cs, b, S, M, K, N):
    high, wide = (M + BLOCK[0] - 1) // BLOCK[0], (N + BLOCK[1] - 1) // BLOCK[1]
    for task in prange(S * high * wide):
        s, place = divmod(np.int64(task), high * wide)
        i, j = divmod(place, wide)
        m, n = i * BLOCK[0], j * BLOCK[1]
        _product(c, a, rs, cs, b, s, M, K, N, m, min(BLOCK[0], M - m), n, min(BLOCK[1], N - n))
