"""Which algorithm computes a convolution: by its shape alone, so that runs can be repeated.

    patches    the patches of the map times the weight, as `gemm`: any shape, any dtype
    direct     windows where they lie in the map, for weights that stay in cache
    winograd   3x3 windows of stride 1, tiles of 4x4: a quarter of the multiplications
    winograd2  the same with tiles of 2x2: 4 / 9 of them, and a tenth of the rounding errors

A quaternion convolution makes `eight` products of its components, or is the real one of its
expanded weight. Nothing is timed during a run. `explain` shows what is selected.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from quatgrad.kernels.numba_cpu.conv.eight_products import is_profitable
from quatgrad.kernels.numba_cpu.machine.cache import L2
from quatgrad.kernels.reference.conv import Shape, window_size
from quatgrad.kernels.reference.patches import Pair, out_size

#: Algorithm -> rows of a tile. Tiles of 2x2 serve maps with a side of 2 alone.
TILES = {"winograd": 4, "winograd2": 2}

#: Numbers of a weight that stays in a core's cache while maps go by.
CACHED = 5 * L2 // 4
#: Numbers of a weight of single pixels from which on y and dx are plain products of matrices. With
#: a stride of 1, which copies no map, they always are.
WIDE = L2 // 16
#: Fewest channels for Winograd: below, its transforms cost more than the products they save.
MIN_CHANNELS = 16
#: Fewest quaternions for eight products at Winograd's points: fewer do not fill the vectors.
MIN_QUATERNIONS = 16


class Algorithm(NamedTuple):
    """How a convolution is computed."""

    name: str
    eight: bool = False  # of quaternions: by eight products, not by the expanded weight


@cache
def select_algorithm(
    dtype: np.dtype, weight: Shape, stride: Pair, padding: Pair, out: Pair, dw: bool = False
) -> Algorithm:
    """The algorithm for a weight of this shape, (U, V, P, Q), or (4, U, V, P, Q) of quaternions.

    `out` is the map that Winograd cuts into tiles: y, dx, or g for `dw`. Tiles of 4 x 4 were the
    faster ones on all measured maps that they fill, up to 2.3 times. float64 is for checking
    gradients: it takes the plain way.
    """
    *four, U, V, P, Q = weight
    real = (4 * P, 4 * Q) if four else (P, Q)
    if dtype != np.float32:
        return Algorithm("patches")
    if tiled := _tiled((U, V), stride, padding, out, min(real)):
        return Algorithm(tiled, bool(four) and min(P, Q) >= MIN_QUATERNIONS)
    numbers, pixels = U * V * real[0] * real[1], (U, V) == (1, 1) and not dw
    plain = pixels and (stride == (1, 1) or numbers >= WIDE)
    name = "direct" if numbers <= CACHED and not plain else "patches"
    return Algorithm(name, bool(four) and is_profitable(P, Q, U, V, dw=dw))


def _tiled(size: Pair, stride: Pair, padding: Pair, out: Pair, channels: int) -> str | None:
    """The kind of Winograd's algorithm that is fast here, if one is."""
    if size != (3, 3) or stride != (1, 1) or max(padding) > 2 or channels < MIN_CHANNELS:
        return None
    best = min(TILES, key=lambda name: _multiplications(out, TILES[name]))
    # Tiles that reach far beyond the map save too little: at least half must be saved.
    return best if 2 * _multiplications(out, TILES[best]) <= 9 * out[0] * out[1] else None


def _multiplications(out: Pair, tile: int) -> int:
    """For each pair of channels of a map: by tiles. By the definition there are 9 I J."""
    return -(-out[0] // tile) * -(-out[1] // tile) * (tile + 2) ** 2


def explain(
    maps: Pair, weight: Shape, stride: Pair, padding: Pair, dtype: type = np.float32
) -> dict[str, str]:
    """What computes y, dx and dw of a convolution of `maps` (H, W) with a weight of this shape."""
    out = out_size(maps, window_size(weight), stride, padding)
    answer = {}
    for result, tiled in (("y", out), ("dx", maps), ("dw", out)):
        asked = np.dtype(dtype), tuple(weight), stride, padding, tiled, result == "dw"
        name, eight = select_algorithm(*asked)
        products = "eight products" if eight else "expanded weight"
        answer[result] = f"{name}, {products}" if len(weight) == 5 else name
    return answer
