"""Blocks of a dense layer in vectors: several output channels at once, which share all taps."""

from typing import Any

from numba import types

from quatgrad.kernels.numba_cpu.simd.vector import (
    LANES,
    ZERO,
    add_product,
    intrinsic,
    load_at,
    pointer,
    spread,
    store_at,
)
from quatgrad.sparse.compiled.rows import I64, Vectors, at, four_products, inputs, long, loop, n

#: T -> output channels, or quaternions, of a block: what the registers hold beside T vectors of x.
REAL_BLOCK = {1: 16, 2: 10, 3: 8, 4: 6} if LANES == 16 else {1: 8, 2: 5, 3: 3, 4: 2}
QUATERNION_BLOCK = {1: 4, 2: 2} if LANES == 16 else {1: 2, 2: 1}


def _block(R: int, T: int, quaternion: bool) -> Any:
    """f(arena, x, B, values, w, distances, d, K, sums): R outputs, T vectors of a tile at x.

    The weights of the block begin at w: for each of K taps R numbers, or 4 R of quaternions.
    """

    @intrinsic
    def f(typing_context, arena, x, B, values, w, distances, d, K, sums):
        signature = types.void(arena, n, n, values, n, distances, n, n, sums)

        def generate(target, b, signature, args):
            A, W, D, Y = (pointer(target, b, signature.args[i], args[i]) for i in (0, 3, 5, 8))
            X, W, D = at(b, A, args[1]), at(b, W, args[4]), at(b, D, args[6])

            def real(k: Any, sums: Vectors) -> Vectors:
                place = at(b, X, long(b, at(b, D, k)))
                x = [load_at(b, at(b, place, LANES * i)) for i in range(T)]
                w = [spread(b, b.load(at(b, W, b.mul(k, I64(R)), r))) for r in range(R)]
                return [
                    add_product(b, sums[r * T + i], w[r], x[i]) for r in range(R) for i in range(T)
                ]

            def quaternions(k: Any, sums: Vectors) -> Vectors:
                x = inputs(b, at(b, X, long(b, at(b, D, k))), args[2], T)
                then: Vectors = []
                for r in range(R):
                    part = sums[4 * T * r : 4 * T * (r + 1)]
                    for a in range(4):
                        w = spread(b, b.load(at(b, W, b.mul(k, I64(4 * R)), 4 * r + a)))
                        part = four_products(b, a, w, x, part, T)
                    then += part
                return then

            body, count = (quaternions, 4 * R * T) if quaternion else (real, R * T)
            _, sums = loop(b, I64(0), args[7], [ZERO] * count, body)
            for i, s in enumerate(sums):
                store_at(b, s, at(b, Y, LANES * i))
            return target.get_dummy_value()

        return signature, generate

    return f


def real_block(T: int) -> Any:
    """`REAL_BLOCK[T]` output channels, T vectors of each."""
    return _block(REAL_BLOCK[T], T, False)


def quaternion_block(T: int) -> Any:
    """`QUATERNION_BLOCK[T]` output quaternions, T vectors of each of their components."""
    return _block(QUATERNION_BLOCK[T], T, True)
