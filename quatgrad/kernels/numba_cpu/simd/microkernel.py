"""C = A B, or C += A B, by one thread: the product of matrices inside the convolutions.

A block of C stays in vector registers while k runs, and each step is a load of a row of B, a
number of A for every row of the block, and as many multiplications as the block has vectors:

    C[m, :] += A[m, k] B[k, :]

Matrices are flat arrays with a start and the distance of rows (of A also of columns). So A may be
transposed, or be the overlapping windows of a map, at no cost. The columns of A may also come in
runs, some distance apart, as the pixels of a window do, that lie in some rows of a map. For the
small products of a convolution this is 1.1 to 2.2 times as fast as OpenBLAS, which packs its
operands first; and it runs in the thread that calls it, so the threads of a BLAS never wait for
ours.

It is compiled once, and called by its address. Numba would compile it again for each function that
calls it, four times where that is parallel.
"""

from functools import partial, reduce
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

Heights = tuple[int, ...]
#: Rows of blocks of C that are four vectors wide, two, and one: the highest that fits is taken. C
#: takes half to three quarters of the 32 registers, or of 16 with 8 lanes each. The wider a block,
#: the more is done with each number of A that is read: four vectors are a fifth faster than two
#: where something else runs on the core too, and as fast where nothing does.
BROAD: Heights = (2, 1) if LANES == 8 else (6, 4, 2, 1)
ROWS: Heights = (4, 2, 1) if LANES == 8 else (8, 4, 2, 1)
HIGH: Heights = (8, 4, 2, 1) if LANES == 8 else (16, 8, 4, 2, 1)

_I64 = ir.IntType(64)
_FLOATS, _N = types.CPointer(types.float32), types.int64
#: (C, c0, ldc, A, a0, rs, cs, B, b0, ldb), as in `multiply`.
_OPERANDS = (_FLOATS, _N, _N, _FLOATS, _N, _N, _N, _FLOATS, _N, _N)
_SIGNATURE = types.void(*_OPERANDS, _N, _N, _N, types.boolean, _N, _N)


def _block(rows: int, vectors: int, masked: bool) -> Any:
    """The function for blocks of C of so many rows and vectors, whole or masked ones."""

    @intrinsic
    def block(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, K, width, add, runs, far):
        def generate(target, builder, signature, arguments):
            _write_block(builder, arguments, rows, vectors, masked)
            return target.get_dummy_value()

        return types.void(*_OPERANDS, _N, _N, types.boolean, _N, _N), generate

    return block


def _at(builder: Any, p: Any, *indices: Any) -> Any:
    """p + the product of the indices."""
    index = reduce(builder.mul, (_I64(i) if isinstance(i, int) else i for i in indices))
    return builder.gep(p, [index])


def _join(phis: list[Any], values: dict[Any, list[Any]]) -> None:
    """The values that these take where the program comes from each of the blocks."""
    for block, incoming in values.items():
        for phi, x in zip(phis, incoming, strict=True):
            phi.add_incoming(x, block)


def _write_block(builder: Any, arguments: Any, rows: int, vectors: int, masked: bool) -> None:
    """The instructions for a block of C: start, loop over runs and over k in each, store."""
    ldc, (rs, cs), (ldb, K, width, add, runs, far) = arguments[2], arguments[5:7], arguments[9:]
    C, A, B = (builder.gep(arguments[i], [arguments[i + 1]]) for i in (0, 3, 7))
    lanes = mask(builder, width) if masked else None

    at = partial(_at, builder)

    # Start: the sums are 0, or (in the block `old`) what C holds.
    places = [at(at(C, m, ldc), v * LANES) for m in range(rows) for v in range(vectors)]
    start, names = builder.block, ("old", "run", "k", "next", "done")
    old, run, loop, after, done = map(builder.append_basic_block, names)
    builder.cbranch(add, old, run)
    builder.position_at_end(old)
    first = [load_at(builder, p, lanes) for p in places]
    builder.branch(run)

    # A run of columns of A, and as many rows of B.
    builder.position_at_end(run)
    r, before = builder.phi(_I64), [builder.phi(VECTOR) for _ in places]
    run_of_A, run_of_B = at(A, r, far), at(B, r, K, ldb)
    rows_of_A = [at(run_of_A, m, rs) for m in range(rows)]
    builder.branch(loop)

    # Loop: C[m, :] += A[m, k] B[k, :].
    builder.position_at_end(loop)
    k, sums = builder.phi(_I64), [builder.phi(VECTOR) for _ in places]
    row_of_B = at(run_of_B, k, ldb)
    b = [load_at(builder, at(row_of_B, v * LANES), lanes) for v in range(vectors)]
    a = [spread(builder, builder.load(at(p, k, cs))) for p in rows_of_A]
    pairs = [(x, y) for x in a for y in b]
    then = [add_product(builder, c, x, y) for c, (x, y) in zip(sums, pairs, strict=True)]
    next_k = builder.add(k, _I64(1))
    builder.cbranch(builder.icmp_signed("<", next_k, K), loop, after)
    builder.position_at_end(after)
    next_r = builder.add(r, _I64(1))
    builder.cbranch(builder.icmp_signed("<", next_r, runs), run, done)
    _join([r, *before], {start: [_I64(0), *(ZERO for _ in places)], old: [_I64(0), *first]})
    _join([r, *before], {after: [next_r, *then]})
    _join([k, *sums], {run: [_I64(0), *before], loop: [next_k, *then]})

    # Store.
    builder.position_at_end(done)
    for x, p in zip(then, places, strict=True):
        store_at(builder, x, p, lanes)


@template
def _no_more_rows(m, C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, width, add, runs, far):
    pass


def _columns(heights: Heights, vectors: int, masked: bool = False) -> Any:
    """The function for rows m to M of A times as many columns of B as a block is wide."""
    if not heights:
        return _no_more_rows
    rows, lower = heights[0], _columns(heights[1:], vectors, masked)
    block = _block(rows, vectors, masked)

    @template
    def columns(m, C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, width, add, runs, far):
        while m + rows <= M:
            to, of = c + m * ldc, a + m * rs
            block(C, to, ldc, A, of, rs, cs, B, b, ldb, K, width, add, runs, far)
            m += rows
        lower(m, C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, width, add, runs, far)

    return columns


_four, _two, _one = _columns(BROAD, 4), _columns(ROWS, 2), _columns(HIGH, 1)
_rest = _columns(HIGH, 1, masked=True)


@serial
def _multiply(C, c, ldc, A, a, rs, cs, B, b, ldb, M, K, N, add, runs, far):
    n, width = 0, LANES
    while n + 4 * LANES <= N:
        _four(0, C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add, runs, far)
        n += 4 * LANES
    if n + 2 * LANES <= N:
        _two(0, C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add, runs, far)
        n += 2 * LANES
    if n + LANES <= N:
        _one(0, C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, width, add, runs, far)
        n += LANES
    if n < N:
        _rest(0, C, c + n, ldc, A, a, rs, cs, B, b + n, ldb, M, K, N - n, add, runs, far)


_multiply.compile(_SIGNATURE)

#: What its address is called in compiled functions, also in those in the cache on the disk.
_NAME = "quatgrad_multiply"
_compiled: Any = _multiply.overloads[_SIGNATURE.args]
binding.add_symbol(
    _NAME, _compiled.library.get_pointer_to_function(_compiled.fndesc.llvm_func_name)
)


def _call(target: Any, builder: Any, signature: Any, arguments: list[Any]) -> Any:
    """The call of `_multiply` by its address."""
    operands = list(arguments)
    for i in (0, 3, 7):
        operands[i] = pointer(target, builder, signature.args[i], arguments[i])
    convention = target.call_conv
    kind = convention.get_function_type(types.none, _SIGNATURE.args)
    f = cgutils.get_or_insert_function(builder.module, kind, _NAME)
    convention.call_function(builder, f, types.none, _SIGNATURE.args, operands)
    return target.get_dummy_value()


@intrinsic
def multiply(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, M, K, N, add):
    """C[m, n] (+)= sum_k A[m, k] B[k, n] for m < M, n < N, K >= 1; flat float32 arrays.

    C[m, n] is at c0 + m ldc + n, A[m, k] at a0 + m rs + k cs, B[k, n] at b0 + k ldb + n. The sum
    runs in the order of k. Nothing is checked.
    """
    n = types.int64
    signature = types.void(C, n, n, A, n, n, n, B, n, n, n, n, n, types.boolean)

    def generate(target, builder, signature, arguments):
        return _call(target, builder, signature, [*arguments, _I64(1), _I64(0)])

    return signature, generate


@intrinsic
def multiply_runs(typing_context, C, c0, ldc, A, a0, rs, cs, B, b0, ldb, M, K, N, add, runs, far):
    """C[m, n] (+)= sum_rk A[m, r, k] B[r K + k, n], r < runs >= 1: runs of K columns of A, `far`.

    A[m, r, k] is at a0 + m rs + r far + k cs, the rest as in `multiply`.
    """
    n = types.int64
    signature = types.void(C, n, n, A, n, n, n, B, n, n, n, n, n, types.boolean, n, n)
    return signature, _call
