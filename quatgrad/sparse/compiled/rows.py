"""Rows of a layer in vectors: each function sums one output channel (or several) over all its taps.

A tap is a number and a distance: y[t] += w x[distance + t], for as many vectors t as a tile has.
The sums of a tile stay in registers until the row ends, and go to `sums`, from which `store` takes
them through scale, shift, shortcut and rectifier to the map.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from quatgrad.kernels.numba_cpu.simd.vector import (
    LANES,
    VECTOR,
    ZERO,
    add_product,
    intrinsic,
    load_at,
    pointer,
    spread,
    store_at,
)
from quatgrad.sparse.compiled.signs import SIGNS

I64 = ir.IntType(64)
CONTRACT = ("contract",)  # a b + c in one instruction, where there is one
LARGEST_NEGATIVE = ir.Constant(VECTOR, [float("-inf")] * LANES)
n = types.int64

Vectors = list[Any]


def loop(
    b: Any,
    first: Any,
    end: Any,
    sums: Vectors,
    body: Callable[[Any, Vectors], Vectors],
    step: int = 1,
) -> tuple[Any, Vectors]:
    """for k in range(first, end - step + 1, step): sums = body(k, sums); k and sums after it."""
    before = b.block
    head, inside, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    k, phis = b.phi(I64), [b.phi(VECTOR) for _ in sums]
    b.cbranch(b.icmp_signed("<=", b.add(k, I64(step)), end), inside, done)
    b.position_at_end(inside)
    then = body(k, phis)
    following, last = b.add(k, I64(step)), b.block
    b.branch(head)
    for phi, x, y in zip([k, *phis], [first, *sums], [following, *then], strict=True):
        phi.add_incoming(x, before)
        phi.add_incoming(y, last)
    b.position_at_end(done)
    return k, phis


def at(b: Any, p: Any, *indices: Any) -> Any:
    """p + the sum of indices."""
    for i in indices:
        p = b.gep(p, [I64(i) if isinstance(i, int) else i])
    return p


def long(b: Any, p: Any) -> Any:
    """The int32 at p, as an index."""
    return b.sext(b.load(p), I64)


def _row(T: int, write: Callable[..., Vectors]) -> Any:
    """f(arena, x, B, values, distances, rows, r, sums) whose sums are those that `write` computes.

    x is where the tile begins, B from a component of quaternions to the next, r the row.
    """

    @intrinsic
    def f(typing_context, arena, x, B, values, distances, rows, r, sums):
        signature = types.void(arena, n, n, values, distances, rows, n, sums)

        def generate(target, b, signature, args):
            A, W, D, R, Y = (
                pointer(target, b, signature.args[i], args[i]) for i in (0, 3, 4, 5, 7)
            )
            end = lambda i: long(b, at(b, R, args[6], i))  # noqa: E731
            for i, y in enumerate(write(b, at(b, A, args[1]), args[2], W, D, end, T)):
                store_at(b, y, at(b, Y, LANES * i))
            return target.get_dummy_value()

        return signature, generate

    return f


def _real(b: Any, X: Any, B: Any, W: Any, D: Any, end: Any, T: int) -> Vectors:
    """A real row. One vector alone is four sums, since each product waits for the sum before."""

    def body(unroll: int) -> Callable[[Any, Vectors], Vectors]:
        def f(k: Any, sums: Vectors) -> Vectors:
            sums = list(sums)
            for j in range(unroll):
                w = spread(b, b.load(at(b, W, k, j)))
                x = at(b, X, long(b, at(b, D, k, j)))
                for i in range(T):
                    s = j * T + i
                    sums[s] = add_product(b, sums[s], w, load_at(b, at(b, x, LANES * i)))
            return sums

        return f

    if T > 2:
        return loop(b, end(0), end(1), [ZERO] * T, body(1))[1]
    k, sums = loop(b, end(0), end(1), [ZERO] * (4 * T), body(4), step=4)
    _, sums[:T] = loop(b, k, end(1), sums[:T], body(1))
    pairs = [b.fadd(sums[i], sums[i + 2 * T]) for i in range(2 * T)]
    return [b.fadd(pairs[i], pairs[i + T]) for i in range(T)]


def _quaternion(b: Any, X: Any, B: Any, W: Any, D: Any, end: Any, T: int) -> Vectors:
    """A row of quaternions, its survivors by component: each is loaded once and used four times."""

    def body(a: int) -> Callable[[Any, Vectors], Vectors]:
        def f(k: Any, sums: Vectors) -> Vectors:
            x = at(b, X, long(b, at(b, D, k)))
            return four_products(b, a, spread(b, b.load(at(b, W, k))), inputs(b, x, B, T), sums, T)

        return f

    sums = [ZERO] * (4 * T)
    for a in range(4):
        _, sums = loop(b, end(a), end(a + 1), sums, body(a))
    return sums


def _whole(b: Any, X: Any, B: Any, W: Any, D: Any, end: Any, T: int) -> Vectors:
    """A row of whole quaternions: four loads of x feed sixteen products."""

    def body(k: Any, sums: Vectors) -> Vectors:
        x = inputs(b, at(b, X, long(b, at(b, D, k))), B, T)
        for a in range(4):
            w = spread(b, b.load(at(b, W, b.mul(k, I64(4)), a)))
            sums = four_products(b, a, w, x, sums, T)
        return sums

    return loop(b, end(0), end(1), [ZERO] * (4 * T), body)[1]


def inputs(b: Any, x: Any, B: Any, T: int) -> Vectors:
    """The vectors of all four components."""
    places = [at(b, x, b.mul(B, I64(c))) for c in range(4)]
    return [load_at(b, at(b, p, LANES * i)) for p in places for i in range(T)]


def four_products(b: Any, a: int, w: Any, x: Vectors, sums: Vectors, T: int) -> Vectors:
    """sums + w e_a x: the sign is the instruction, the component is where it goes, a xor c."""
    sums = list(sums)
    for c in range(4):
        for i in range(T):
            s = (a ^ c) * T + i
            product = b.fmul(w, x[c * T + i], flags=CONTRACT)
            f = b.fadd if SIGNS[a][c] > 0 else b.fsub
            sums[s] = f(sums[s], product, flags=CONTRACT)
    return sums


def _largest(b: Any, X: Any, B: Any, W: Any, D: Any, end: Any, T: int) -> Vectors:
    """The largest of all taps; NaN where one is NaN."""

    def body(k: Any, best: Vectors) -> Vectors:
        x = at(b, X, long(b, at(b, D, k)))
        new = [load_at(b, at(b, x, LANES * i)) for i in range(T)]
        wins = [b.fcmp_unordered(">", y, s) for y, s in zip(new, best, strict=True)]
        held = [b.fcmp_unordered("uno", s, s) for s in best]
        return [
            b.select(h, s, b.select(f, y, s))
            for h, f, y, s in zip(held, wins, new, best, strict=True)
        ]

    return loop(b, end(0), end(1), [LARGEST_NEGATIVE] * T, body)[1]


def real_row(T: int) -> Any:
    """One real output channel, T vectors."""
    return _row(T, _real)


def quaternion_row(T: int) -> Any:
    """One output quaternion, T vectors of each component; weights by component, rows by 4."""
    return _row(T, _quaternion)


def whole_row(T: int) -> Any:
    """One output quaternion, T vectors of each component; weights by whole quaternions."""
    return _row(T, _whole)


def largest_row(T: int) -> Any:
    """The maximum over a window, T vectors."""
    return _row(T, _largest)


def store(T: int) -> Any:
    """T vectors of a channel: y = max(scale sum + shift + other, low), 0 in lanes without pixel.

    f(arena, sums, first, scale, shift, low, y, other, has, at, holds, t): the vector t goes to
    y + at[t], and other + has at[t] is added to it (has 0: a number 0 of the arena).
    """

    @intrinsic
    def f(
        typing_context, arena, sums, first, scale, shift, low, y, residual, has, places, holds, t
    ):
        r = types.float32
        signature = types.void(arena, sums, n, r, r, r, n, n, n, places, holds, n)

        def generate(target, b, signature, args):
            A, S, P, H = (pointer(target, b, signature.args[i], args[i]) for i in (0, 1, 9, 10))
            scale, shift, low = (spread(b, x) for x in args[3:6])
            for i in range(T):
                t = b.add(args[11], I64(i))
                place = long(b, at(b, P, t))
                z = add_product(b, shift, load_at(b, at(b, S, args[2], LANES * i)), scale)
                z = b.fadd(z, load_at(b, at(b, A, args[7], b.mul(place, args[8]))))
                z = b.select(b.fcmp_ordered("<", z, low), low, z)
                z = b.select(_lanes(b, H, t), z, ZERO)
                store_at(b, z, at(b, A, args[6], place))
            return target.get_dummy_value()

        return signature, generate

    return f


def _lanes(b: Any, H: Any, t: Any) -> Any:
    """The mask of vector t from its bits."""
    bits = b.trunc(b.load(at(b, H, t)), ir.IntType(LANES))
    return b.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))


@intrinsic
def permute(typing_context, arena, x, z, y, order, which):
    """arena[y : y + LANES] = lanes of the vectors at x and z, in the order `order[which]`.

    A number below LANES is a lane of the first, up to 2 LANES of the second; less than 0 gives 0.
    """
    signature = types.void(arena, n, n, n, order, n)

    def generate(target, b, signature, args):
        A, O = (pointer(target, b, signature.args[i], args[i]) for i in (0, 4))
        kind = ir.VectorType(ir.IntType(32), LANES)
        p = b.bitcast(at(b, O, b.mul(args[5], I64(LANES))), kind.as_pointer())
        index = b.load(p, align=4)
        x, z = (load_at(b, at(b, A, a)) for a in args[1:3])
        f = b.module.globals.get(PERMUTE) or ir.Function(
            b.module, ir.FunctionType(VECTOR, [VECTOR, kind, VECTOR]), PERMUTE
        )
        y = b.call(f, [x, index, z])
        there = b.icmp_signed(">=", index, ir.Constant(kind, [0] * LANES))
        store_at(b, b.select(there, y, ZERO), at(b, A, args[3]))
        return target.get_dummy_value()

    return signature, generate


#: Two vectors by a table: one instruction of AVX-512. Elsewhere copies go number by number.
PERMUTE = "llvm.x86.avx512.vpermi2var.ps.512"
CAN_PERMUTE = LANES == 16


@intrinsic
def sum_of(typing_context, arena, x, vectors):
    """The sum of so many vectors from x on."""
    signature = types.float32(arena, n, n)

    def generate(target, b, signature, args):
        X = at(b, pointer(target, b, signature.args[0], args[0]), args[1])
        body = lambda k, s: [b.fadd(s[0], load_at(b, at(b, X, b.mul(k, I64(LANES)))))]  # noqa: E731
        _, (total,) = loop(b, I64(0), args[2], [ZERO], body)
        lanes = [b.extract_element(total, ir.IntType(32)(i)) for i in range(LANES)]
        while len(lanes) > 1:
            lanes = [b.fadd(x, y) for x, y in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    return signature, generate
