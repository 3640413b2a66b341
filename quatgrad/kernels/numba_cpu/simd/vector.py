"""Vectors of float32 as values of compiled code: `load`, `store`, + - and *.

    a, b = load(x, i, LANES), load(x, j, LANES)
    store(2 * a - b, y, k, width)

Numba leaves it to the compiler to find the vectors in a loop. Where a value is used too often for
that, in the transforms of Winograd and the products of matrices, they are written as what they
are: each is one register, and each of these operations one instruction.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

from quatgrad.kernels.numba_cpu.jit import leaf, serial
from quatgrad.kernels.numba_cpu.machine.cache import LANES, LINE

intrinsic: Any = extending.intrinsic  # a function that writes its own instructions

_I32, _I64 = ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)
_MULTIPLY_ADD = ("contract",)  # a b + c in one instruction, where there is one


class VectorType(types.Type):
    """The type of a vector, to Numba."""

    def __init__(self) -> None:
        super().__init__("Vector")


vector = VectorType()


@register_model(VectorType)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any):
        super().__init__(manager, kind, VECTOR)


# ------------------------------------------------------------------- in the compiler's terms


def spread(builder: Any, x: Any) -> Any:
    """A vector with x in every lane."""
    kind = ir.VectorType(x.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), x, _I32(0))
    lanes = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes)


def _lanes(order: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_I32, LANES), order)


def add_product(builder: Any, c: Any, a: Any, b: Any) -> Any:
    """c + a b."""
    return builder.fadd(c, builder.fmul(a, b, flags=_MULTIPLY_ADD), flags=_MULTIPLY_ADD)


def mask(builder: Any, width: Any) -> Any:
    """True in the first `width` lanes."""
    lanes = ir.Constant(ir.VectorType(_I32, LANES), list(range(LANES)))
    return builder.icmp_signed("<", lanes, spread(builder, builder.trunc(width, _I32)))


def load_at(builder: Any, p: Any, lanes: Any = None) -> Any:
    """The vector at p; with a mask, 0 in the other lanes, which are not read."""
    p = builder.bitcast(p, VECTOR.as_pointer())
    if lanes is None:
        return builder.load(p, align=4)
    kind = ir.FunctionType(VECTOR, [p.type, _I32, lanes.type, VECTOR])
    name = f"llvm.masked.load.v{LANES}f32.p0"
    f = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(f, [p, _I32(4), lanes, ZERO])


def store_at(builder: Any, x: Any, p: Any, lanes: Any = None) -> None:
    """Write x to p; with a mask, those lanes only."""
    p = builder.bitcast(p, VECTOR.as_pointer())
    if lanes is None:
        builder.store(x, p, align=4)
        return
    kind = ir.FunctionType(ir.VoidType(), [VECTOR, p.type, _I32, lanes.type])
    name = f"llvm.masked.store.v{LANES}f32.p0"
    f = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(f, [x, p, _I32(4), lanes])


def pointer(target: Any, builder: Any, kind: Any, array: Any, index: Any = None) -> Any:
    """Where array[index] lies, for a flat array."""
    p = target.make_array(kind)(target, builder, array).data
    return p if index is None else builder.gep(p, [index])


# ------------------------------------------------------------------- in compiled functions


@serial
def scratch(n):
    """n numbers of float32, not set, that start with a line of the cache.

    A vector across two lines takes two accesses; with that, Winograd takes 1.6 times as long.
    """
    a = np.empty(n + LINE // 4, np.float32)
    first = (-a.ctypes.data % LINE) // 4
    return a[first : first + n]


@intrinsic
def load(typing_context, a, i, width):
    """a[i : i + width] of a flat array, width <= LANES; 0 in the other lanes."""
    signature = vector(a, types.int64, types.int64)

    def generate(target, builder, signature, arguments):
        p = pointer(target, builder, signature.args[0], *arguments[:2])
        return load_at(builder, p, mask(builder, arguments[2]))

    return signature, generate


@intrinsic
def store(typing_context, x, a, i, width):
    """a[i : i + width] = x[:width]."""
    signature = types.void(vector, a, types.int64, types.int64)

    def generate(target, builder, signature, arguments):
        p = pointer(target, builder, signature.args[1], *arguments[1:3])
        store_at(builder, arguments[0], p, mask(builder, arguments[3]))
        return target.get_dummy_value()

    return signature, generate


@intrinsic
def prefetch(typing_context, a, i):
    """Ask for the line of memory with a[i], and do not wait for it."""
    signature = types.void(a, types.int64)

    def generate(target, builder, signature, arguments):
        p = pointer(target, builder, signature.args[0], *arguments)
        p = builder.bitcast(p, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [p.type, _I32, _I32, _I32])
        f = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(f, [p, _I32(0), _I32(2), _I32(1)])
        return target.get_dummy_value()

    return signature, generate


@leaf
def prefetch_share(a, start, end, share, shares):
    """Ask for share number `share` of a[start:end], while what is at hand is computed."""
    length = max(0, min(end, len(a)) - start)
    for i in range(share * length // shares, (share + 1) * length // shares, LINE // 4):
        prefetch(a, start + i)


@intrinsic
def transpose(typing_context, a, i, step, rows, width, b, j, row):
    """b[j + row q + p] = a[i + step p + q] for p, q < LANES; 0 for p >= rows or q >= width.

    In log2(LANES) rounds: in each, two vectors swap what lies on the wrong side of the diagonal,
    of squares twice as large as before.
    """
    n = types.int64
    signature = types.void(a, n, n, n, n, b, n, n)

    def generate(target, builder, signature, arguments):
        i, step, rows, width, _, j, row = arguments[1:]
        lanes, none = mask(builder, width), ir.Constant(ir.VectorType(ir.IntType(1), LANES), None)
        v = []
        for p in range(LANES):
            index = builder.add(i, builder.mul(step, _I64(p)))
            inside = builder.icmp_signed("<", _I64(p), rows)
            at = pointer(target, builder, signature.args[0], arguments[0], index)
            v.append(load_at(builder, at, builder.select(inside, lanes, none)))
        half = 1
        while half < LANES:
            near = [q if q & half == 0 else q - half + LANES for q in range(LANES)]
            far = [q + half if q & half == 0 else q + LANES for q in range(LANES)]
            for p in range(LANES):
                if p & half == 0:
                    x, y = v[p], v[p + half]
                    v[p] = builder.shuffle_vector(x, y, _lanes(near))
                    v[p + half] = builder.shuffle_vector(x, y, _lanes(far))
            half *= 2
        for q in range(LANES):
            index = builder.add(j, builder.mul(row, _I64(q)))
            at = pointer(target, builder, signature.args[5], arguments[5], index)
            store_at(builder, v[q], at)
        return target.get_dummy_value()

    return signature, generate


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def f(typing_context, a, b):
        def generate(target, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments, flags=_MULTIPLY_ADD)

        return vector(vector, vector), generate

    return f


_add, _sub, _mul = (_arithmetic(name) for name in ("fadd", "fsub", "fmul"))


@intrinsic
def _spread(typing_context, s):
    def generate(target, builder, signature, arguments):
        return spread(builder, arguments[0])

    return vector(types.float32), generate


@overload(operator.add)
def _(a, b):
    if a is b is vector:
        return lambda a, b: _add(a, b)


@overload(operator.sub)
def _(a, b):
    if a is b is vector:
        return lambda a, b: _sub(a, b)


@overload(operator.mul)
def _(a, b):
    if isinstance(a, types.Number) and b is vector:
        return lambda a, b: _mul(_spread(types.float32(a)), b)
