"""Blocks of a dense layer in vectors: several output channels at once, which share all taps.

A layer of quaternions is eight real ones, as in `kernels.numba_cpu.conv.eight_products`: of the
four components of the input, and of their four sums, `sums_of_components`. The weights are split
when a plan is made, with the factors of the scheme in them, so that `merge` only adds.
"""

from typing import Any

import numpy as np
from numba import types

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.conv.eight_products import PAIRS
from quatgrad.kernels.numba_cpu.conv.winograd_tiles import hadamard
from quatgrad.kernels.numba_cpu.simd.vector import (
    LANES,
    ZERO,
    add_product,
    intrinsic,
    load_at,
    spread,
    store_at,
)
from quatgrad.sparse.compiled.rows import I64, Vectors, at, long, loop, n
from quatgrad.sparse.compiled.table import BLOCK


def split_weights(w: Array) -> Array:
    """The eight real weights (8, ...) of w (4, ...), in the order of the planes of the input."""
    planes = [*w, *hadamard.py_func(*w)]
    factors = [2, -2, -2, -2, 0.25, 0.25, 0.25, 0.25]
    return np.stack([np.float32(f) * planes[k] for f, (_, k) in zip(factors, PAIRS, strict=True)])


@intrinsic(prefer_literal=True)
def block(typing_context, T, arena, x, floats, w, ints, d, K, sums, first):
    """sums[first :] = BLOCK[T] outputs for T vectors of a tile at x, the sums over K taps.

    Their weights begin at w, BLOCK[T] for each tap; their distances at d.
    """
    signature = types.void(T, arena, n, floats, n, ints, n, n, sums, n)

    def generate(target, b, signature, args):
        _, arena, x, floats, w, ints, d, K, sums, first = args
        X, W, D, Y = (at(b, *a) for a in ((arena, x), (floats, w), (ints, d), (sums, first)))
        vectors, R = T.literal_value, BLOCK[T.literal_value]

        def body(k: Any, sums: Vectors) -> Vectors:
            place = at(b, X, long(b, at(b, D, k)))
            x = [load_at(b, at(b, place, LANES * i)) for i in range(vectors)]
            w = [spread(b, b.load(at(b, W, b.mul(k, I64(R)), r))) for r in range(R)]
            pairs = [(r, i) for r in range(R) for i in range(vectors)]
            return [add_product(b, s, w[r], x[i]) for s, (r, i) in zip(sums, pairs, strict=True)]

        _, found = loop(b, I64(0), K, [ZERO] * (R * vectors), body)
        for i, s in enumerate(found):
            store_at(b, s, at(b, Y, LANES * i))
        return target.get_dummy_value()

    return signature, generate


def _sums(b: Any, x: Vectors) -> Vectors:
    """`hadamard` of four vectors."""
    s, t, u, v = b.fadd(*x[:2]), b.fsub(*x[:2]), b.fadd(*x[2:]), b.fsub(*x[2:])
    return [b.fadd(s, u), b.fadd(t, v), b.fsub(s, u), b.fsub(t, v)]


@intrinsic
def sums_of_components(typing_context, arena, x, B, y):
    """The four sums of the components of a map at x, B numbers each, to y."""
    signature = types.void(arena, n, n, n)

    def generate(target, b, signature, args):
        arena, x, B, y = args

        def body(k: Any, _: Vectors) -> Vectors:
            places = [b.add(k, b.mul(B, I64(c))) for c in range(4)]
            parts = [load_at(b, at(b, arena, x, p)) for p in places]
            for s, p in zip(_sums(b, parts), places, strict=True):
                store_at(b, s, at(b, arena, y, p))
            return []

        loop(b, I64(0), B, [], body, step=LANES)
        return target.get_dummy_value()

    return signature, generate


@intrinsic
def merge(typing_context, sums, far):
    """The components, one after the other, of eight products of `far` numbers, in their place.

    With h the sums of the last four: (p0 - h0, h1 + p2, h2 + p3, h3 + p1); see `merged`.
    """
    signature = types.void(sums, n)

    def generate(target, b, signature, args):
        sums, far = args

        def body(k: Any, _: Vectors) -> Vectors:
            places = [at(b, sums, k, b.mul(far, I64(m))) for m in range(8)]
            p = [load_at(b, place) for place in places]
            h = _sums(b, p[4:])
            y = [b.fsub(p[0], h[0]), b.fadd(h[1], p[2]), b.fadd(h[2], p[3]), b.fadd(h[3], p[1])]
            for component, place in zip(y, places, strict=False):
                store_at(b, component, place)
            return []

        loop(b, I64(0), far, [], body, step=LANES)
        return target.get_dummy_value()

    return signature, generate
