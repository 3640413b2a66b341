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


@intrinsic(prefer_literal=True)
def sum_row(typing_context, kind, T, arena, x, B, floats, w, ints, d, row, sums):
    """sums = what ROWS[kind] adds up for T vectors, of the taps from ints[row] to ints[row + 1].

    x is where the tile begins, B from a component of quaternions to the next; the weight of a tap
    is at w, its distance at d.
    """
    signature = types.void(kind, T, arena, n, n, floats, n, ints, n, n, sums)

    def generate(target, b, signature, args):
        _, _, arena, x, B, floats, w, ints, d, row, sums = args
        end = lambda i: long(b, at(b, ints, row, i))  # noqa: E731
        write = ROWS[kind.literal_value]
        found = write(b, at(b, arena, x), B, at(b, floats, w), at(b, ints, d), end, T.literal_value)
        for i, y in enumerate(found):
            store_at(b, y, at(b, sums, LANES * i))
        return target.get_dummy_value()

    return signature, generate


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


#: How a row is added up.
ROWS: dict[str, Callable[..., Vectors]] = {
    "real": _real,
    "quaternion": _quaternion,
    "whole": _whole,
    "largest": _largest,
}


@intrinsic(prefer_literal=True)
def store(
    typing_context, T, arena, sums, first, scale, shift, low, y, residual, has, ints, places, holds
):
    """T vectors of a channel: y = max(scale sum + shift + other, low), 0 in lanes without pixel.

    Their sums are at `first`. Vector t goes to y + ints[places + t], and what is at residual +
    has ints[places + t] is added (for has = residual = 0 a number 0 of the arena). The bits of
    ints[holds + t] are its lanes.
    """
    r = types.float32
    signature = types.void(T, arena, sums, n, r, r, r, n, n, n, ints, n, n)

    def generate(target, b, signature, args):
        _, arena, sums, first, *numbers, y, residual, has, ints, places, holds = args
        scale, shift, low = (spread(b, x) for x in numbers)
        for i in range(T.literal_value):
            place = long(b, at(b, ints, places, i))
            z = add_product(b, shift, load_at(b, at(b, sums, first, LANES * i)), scale)
            z = b.fadd(z, load_at(b, at(b, arena, residual, b.mul(place, has))))
            z = b.select(b.fcmp_ordered("<", z, low), low, z)
            z = b.select(_lanes(b, at(b, ints, holds, i)), z, ZERO)
            store_at(b, z, at(b, arena, y, place))
        return target.get_dummy_value()

    return signature, generate


def _lanes(b: Any, p: Any) -> Any:
    """The mask whose bits are the int32 at p."""
    bits = b.trunc(b.load(p), ir.IntType(LANES))
    return b.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))


@intrinsic
def permute(typing_context, arena, x, z, y, ints, order):
    """arena[y : y + LANES] = lanes of the vectors at x and z, in the order at ints[order].

    A number below LANES is a lane of the first, up to 2 LANES of the second; less than 0 gives 0.
    """
    signature = types.void(arena, n, n, n, ints, n)

    def generate(target, b, signature, args):
        arena, x, z, y, ints, order = args
        kind = ir.VectorType(ir.IntType(32), LANES)
        index = b.load(b.bitcast(at(b, ints, order), kind.as_pointer()), align=4)
        x, z = (load_at(b, at(b, arena, a)) for a in (x, z))
        f = b.module.globals.get(PERMUTE) or ir.Function(
            b.module, ir.FunctionType(VECTOR, [VECTOR, kind, VECTOR]), PERMUTE
        )
        there = b.icmp_signed(">=", index, ir.Constant(kind, [0] * LANES))
        store_at(b, b.select(there, b.call(f, [x, index, z]), ZERO), at(b, arena, y))
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
        x = at(b, *args[:2])
        body = lambda k, s: [b.fadd(s[0], load_at(b, at(b, x, b.mul(k, I64(LANES)))))]  # noqa: E731
        _, (total,) = loop(b, I64(0), args[2], [ZERO], body)
        lanes = [b.extract_element(total, ir.IntType(32)(i)) for i in range(LANES)]
        while len(lanes) > 1:
            lanes = [b.fadd(x, y) for x, y in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    return signature, generate
