"""C = A B, or C += A B, by one thread: the product of matrices inside the convolutions.

A block of C stays in vector registers while k runs, and each step is a load of a row of B, a
number of A for every row of the block, and as many multiplications as the block has vectors:

    C[m, :] += A[m, k] B[k, :]

Matrices are flat arrays with a start and the distance of rows (of A also of columns). So A may be
transposed, or be the overlapping windows of a map, at no cost. For the small products of a
convolution this is 1.1 to 2.2 times as fast as OpenBLAS, which packs its operands first; and it
runs in the thread that calls it, so the threads of a BLAS never wait for ours.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import njit, types

from quatgrad.kernels.numba_cpu.vector import (
    LANES,
    VECTOR,
    ZERO,
    add_product,
    intrinsic,
    load_at,
    mask,
    pointer,
    spread,
    store_at,
)

#: Rows of a block of C, two vectors wide: half of the 32 registers, or of 16 with 8 lanes each.
ROWS = 4 if LANES == 8 else 8

_I64 = ir.IntType(64)


def _block(rows: int, vectors: int) -> Any:
    """The function for blocks of C of so many rows and vectors; a single vector is masked.

    (C, c0, ldc, A, a0, rs, cs, B, b0, ldb, K, width, add), as in `multiply`.
    """

    @intrinsic
    def block(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, K, width, add):
        n = types.int64
        signature = types.void(C, n, n, A, n, n, n, B, n, n, n, n, types.boolean)

        def generate(target, builder, signature, arguments):
            ldc, (rs, cs), (ldb, K, width, add) = arguments[2], arguments[5:7], arguments[9:]
            C, A, B = (
                pointer(target, builder, signature.args[i], arguments[i], arguments[i + 1])
                for i in (0, 3, 7)
            )
            lanes = None if vectors > 1 else mask(builder, width)

            def at(p, *indices):
                """p + the product of the indices."""
                index = reduce(builder.mul, (_I64(i) if isinstance(i, int) else i for i in indices))
                return builder.gep(p, [index])

            rows_of_A = [at(A, m, rs) for m in range(rows)]
            places = [at(at(C, m, ldc), v * LANES) for m in range(rows) for v in range(vectors)]
            first = [builder.select(add, load_at(builder, p, lanes), ZERO) for p in places]

            before, loop = builder.block, builder.append_basic_block("k")
            builder.branch(loop)
            builder.position_at_end(loop)
            k, sums = builder.phi(_I64), [builder.phi(VECTOR) for _ in places]
            row_of_B = at(B, k, ldb)
            b = [load_at(builder, at(row_of_B, v * LANES), lanes) for v in range(vectors)]
            a = [spread(builder, builder.load(at(p, k, cs))) for p in rows_of_A]
            then = [
                add_product(builder, sums[m * vectors + v], a[m], b[v])
                for m in range(rows)
                for v in range(vectors)
            ]
            next_k = builder.add(k, _I64(1))
            for phi, x, y in zip([k, *sums], [_I64(0), *first], [next_k, *then], strict=True):
                phi.add_incoming(x, before)
                phi.add_incoming(y, loop)
            done = builder.append_basic_block("done")
            builder.cbranch(builder.icmp_signed("<", next_k, K), loop, done)
            builder.position_at_end(done)
            for x, p in zip(then, places, strict=True):
                store_at(builder, x, p, lanes)
            return target.get_dummy_value()

        return signature, generate

    return block


_wide, _wide_half, _wide_one = (_block(m, 2) for m in (ROWS, ROWS // 2, 1))
_narrow, _narrow_half, _narrow_one = (_block(m, 1) for m in (ROWS, ROWS // 2, 1))


@njit(cache=True, error_model="numpy")
def multiply(C, c0, ldc, A, a0, rs, cs, B, b0, ldb, M, K, N, add):
    """C[m, n] (+)= sum_k A[m, k] B[k, n] for m < M, n < N, K >= 1; flat float32 arrays.

    C[m, n] is at c0 + m ldc + n, A[m, k] at a0 + m rs + k cs, B[k, n] at b0 + k ldb + n. The sum
    runs in the order of k. Nothing is checked.
    """
    n = 0
    while n + 2 * LANES <= N:
        m, c, b = 0, c0 + n, b0 + n
        while m + ROWS <= M:
            _wide(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, LANES, add)
            m += ROWS
        if m + ROWS // 2 <= M:
            _wide_half(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, LANES, add)
            m += ROWS // 2
        while m < M:
            _wide_one(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, LANES, add)
            m += 1
        n += 2 * LANES
    while n < N:
        m, c, b, width = 0, c0 + n, b0 + n, min(N - n, LANES)
        while m + ROWS <= M:
            _narrow(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += ROWS
        if m + ROWS // 2 <= M:
            _narrow_half(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += ROWS // 2
        while m < M:
            _narrow_one(C, c + m * ldc, ldc, A, a0 + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += 1
        n += LANES
