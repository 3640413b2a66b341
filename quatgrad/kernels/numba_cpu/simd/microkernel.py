"""C = A B, or C += A B, by one thread: the product of matrices inside the convolutions.

A block of C stays in vector registers while k runs, and each step is a load of a row of B, a
number of A for every row of the block, and as many multiplications as the block has vectors:

    C[m, :] += A[m, k] B[k, :]

Matrices are flat arrays with a start and the distance of rows (of A also of columns). So A may be
transposed, or be the overlapping windows of a map, at no cost. For the small products of a
convolution this is 1.1 to 2.2 times as fast as OpenBLAS, which packs its operands first; and it
runs in the thread that calls it, so the threads of a BLAS never wait for ours.

It is compiled once, and called by its address. Numba would compile it again for each function that
calls it, four times where that is parallel.
"""

from functools import reduce
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from quatgrad.kernels.numba_cpu.jit import serial, template
from quatgrad.kernels.numba_cpu.simd.vector import (
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

#: Rows of a block of C that is four vectors wide, and of one that is two; one vector wide, twice as
#: many as with two. C takes half to three quarters of the 32 registers, or of 16 with 8 lanes each.
#: The wider a block, the more is done with each number of A that is read: four vectors are a fifth
#: faster than two where something else runs on the core too, and as fast where nothing does.
BROAD, ROWS = (2, 4) if LANES == 8 else (6, 8)

_I64 = ir.IntType(64)
_FLOATS, _N = types.CPointer(types.float32), types.int64
#: (C, c0, ldc, A, a0, rs, cs, B, b0, ldb), as in `multiply`.
_OPERANDS = (_FLOATS, _N, _N, _FLOATS, _N, _N, _N, _FLOATS, _N, _N)
_SIGNATURE = types.void(*_OPERANDS, _N, _N, _N, types.boolean)


def _block(rows: int, vectors: int, masked: bool) -> Any:
    """The function for blocks of C of so many rows and vectors, whole or masked ones."""

    @intrinsic
    def block(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, K, width, add):
        def generate(target, builder, signature, arguments):
            _write_block(builder, arguments, rows, vectors, masked)
            return target.get_dummy_value()

        return types.void(*_OPERANDS, _N, _N, types.boolean), generate

    return block


def _write_block(builder: Any, arguments: Any, rows: int, vectors: int, masked: bool) -> None:
    """The instructions for a block of C: start, loop over k, store."""
    ldc, (rs, cs), (ldb, K, width, add) = arguments[2], arguments[5:7], arguments[9:]
    C, A, B = (builder.gep(arguments[i], [arguments[i + 1]]) for i in (0, 3, 7))
    lanes = mask(builder, width) if masked else None

    def at(p: Any, *indices: Any) -> Any:
        """p + the product of the indices."""
        index = reduce(builder.mul, (_I64(i) if isinstance(i, int) else i for i in indices))
        return builder.gep(p, [index])

    # Start: the sums are 0, or (in the block `old`) what C holds.
    rows_of_A = [at(A, m, rs) for m in range(rows)]
    places = [at(at(C, m, ldc), v * LANES) for m in range(rows) for v in range(vectors)]
    start, old, loop = builder.block, *map(builder.append_basic_block, ("old", "k"))
    builder.cbranch(add, old, loop)
    builder.position_at_end(old)
    first = [load_at(builder, p, lanes) for p in places]
    builder.branch(loop)

    # Loop: C[m, :] += A[m, k] B[k, :].
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
        phi.add_incoming(_I64(0) if phi is k else ZERO, start)
        phi.add_incoming(x, old)
        phi.add_incoming(y, loop)
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", next_k, K), loop, done)

    # Store.
    builder.position_at_end(done)
    for x, p in zip(then, places, strict=True):
        store_at(builder, x, p, lanes)


def _columns(rows: int, vectors: int, masked: bool = False) -> Any:
    """The function for all rows of A times as many columns of B as a block is wide."""
    half = rows // 2
    block, half_block, row = (_block(m, vectors, masked) for m in (rows, half, 1))

    @template
    def columns(C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, width, add):
        m = 0
        while m + rows <= M:
            block(C, c + m * ldc, ldc, A, a + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += rows
        while m + half <= M:
            half_block(C, c + m * ldc, ldc, A, a + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += half
        while m < M:
            row(C, c + m * ldc, ldc, A, a + m * rs, rs, cs, B, b, ldb, K, width, add)
            m += 1

    return columns


_four, _two, _one = _columns(BROAD, 4), _columns(ROWS, 2), _columns(2 * ROWS, 1)
_rest = _columns(2 * ROWS, 1, masked=True)


@serial
def _multiply(C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, N, add):
    n, width = 0, LANES
    while n + 4 * LANES <= N:
        _four(C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add)
        n += 4 * LANES
    if n + 2 * LANES <= N:
        _two(C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add)
        n += 2 * LANES
    if n + LANES <= N:
        _one(C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add)
        n += LANES
    if n < N:
        _rest(C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, N - n, add)


_multiply.compile(_SIGNATURE)

#: What its address is called in compiled functions, also in those in the cache on the disk.
_NAME = "quatgrad_multiply"
_compiled: Any = _multiply.overloads[_SIGNATURE.args]
binding.add_symbol(
    _NAME, _compiled.library.get_pointer_to_function(_compiled.fndesc.llvm_func_name)
)


@intrinsic
def multiply(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, M, K, N, add):
    """C[m, n] (+)= sum_k A[m, k] B[k, n] for m < M, n < N, K >= 1; flat float32 arrays.

    C[m, n] is at c0 + m ldc + n, A[m, k] at a0 + m rs + k cs, B[k, n] at b0 + k ldb + n. The sum
    runs in the order of k. Nothing is checked.
    """
    n = types.int64
    signature = types.void(C, n, n, A, n, n, n, B, n, n, n, n, n, types.boolean)

    def generate(target, builder, signature, arguments):
        operands = list(arguments)
        for i in (0, 3, 7):
            operands[i] = pointer(target, builder, signature.args[i], arguments[i])
        convention = target.call_conv
        kind = convention.get_function_type(types.none, _SIGNATURE.args)
        f = cgutils.get_or_insert_function(builder.module, kind, _NAME)
        convention.call_function(builder, f, types.none, _SIGNATURE.args, operands)
        return target.get_dummy_value()

    return signature, generate
