"""Which algorithm computes a convolution: by its shape alone, so that runs can be repeated.

    patches    the patches of the map times the weight, as `gemm`: any shape, any dtype
    direct     windows where they lie in the map, for weights that stay in cache
    winograd   3x3 windows of stride 1, tiles of 4x4: a quarter of the multiplications
    winograd2  the same with tiles of 2x2: 4 / 9 of them, and a tenth of the rounding errors

A quaternion convolution makes `eight` products of its components, or is the real one of its
expanded weight. Nothing is timed during a run. `use_algorithm` overrules the table, and `explain`
shows what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from quatgrad.errors import OptionError, unknown
from quatgrad.kernels.numba_cpu.hamilton8 import pays
from quatgrad.kernels.reference import Pair, out_size

ALGORITHMS = ("patches", "direct", "winograd", "winograd2")

#: Algorithm -> rows of a tile.
TILES = {"winograd": 4, "winograd2": 2}

#: Numbers of a weight that stays in a core's cache while maps go by.
CACHED = 1 << 19
#: Fewest channels for Winograd: below, its transforms cost more than the products they save.
CHANNELS = 16
#: Fewest quaternions for eight products at Winograd's points: fewer do not fill the vectors.
QUATERNIONS = 16

_wanted: str | None = None


@contextmanager
def use_algorithm(name: str) -> Iterator[None]:
    """Compute the convolutions that it is able to do by one algorithm, for a `with` block.

    Raises `OptionError` for an unknown name.
    """
    global _wanted
    if name not in ALGORITHMS:
        raise OptionError(unknown("algorithm", name, ALGORITHMS))
    previous, _wanted = _wanted, name
    try:
        yield
    finally:
        _wanted = previous


def choose(
    dtype: np.dtype, size: Pair, stride: Pair, padding: Pair, P: int, Q: int, out: Pair
) -> str:
    """The algorithm from P to Q real channels.

    `out` is the map that Winograd cuts into tiles: y, dx, or g for dw. Tiles of 4 x 4 were the
    faster ones on all measured maps that they fill, up to 2.3 times.
    """
    possible = _able(dtype, size, stride, padding)
    if _wanted in possible:
        return _wanted
    best = min(TILES, key=lambda how: _products(out, TILES[how]))
    half = 2 * _products(out, TILES[best]) <= 9 * out[0] * out[1]  # tiles reach beyond the map
    if best in possible and half and min(P, Q) >= CHANNELS:
        return best
    cached = size[0] * size[1] * P * Q <= CACHED
    return "direct" if "direct" in possible and cached else "patches"


def _products(out: Pair, tile: int) -> int:
    """Multiplications for each pair of channels of a map, of which the definition makes 9 I J."""
    return -(-out[0] // tile) * -(-out[1] // tile) * (tile + 2) ** 2


def _able(dtype: np.dtype, size: Pair, stride: Pair, padding: Pair) -> set[str]:
    """The algorithms that can do it. float64 is for checking gradients: it takes the plain way."""
    if dtype != np.float32:
        return {"patches"}
    fits = size == (3, 3) and stride == (1, 1) and max(padding) <= 2
    return set(ALGORITHMS) if fits else {"patches", "direct"}


def eight(dtype: np.dtype, how: str, size: Pair, P: int, Q: int) -> bool:
    """Whether a convolution from P to Q quaternions makes eight products of its components."""
    if how in TILES:
        return min(P, Q) >= QUATERNIONS
    return dtype == np.float32 and pays(P, Q, *size)


def explain(
    maps: Pair, w: tuple[int, ...], stride: Pair, padding: Pair, dtype: type = np.float32
) -> dict[str, str]:
    """What computes y, dx and dw of a convolution of `maps` (H, W) with a weight of shape w.

    w (U, V, P, Q), or (4, U, V, P, Q) for quaternions.
    """
    *four, U, V, P, Q = w
    components = 4 if four else 1
    out = out_size(maps, (U, V), stride, padding)
    answer = {}
    for of, tiled in (("y", out), ("dx", maps), ("dw", out)):
        channels = components * P, components * Q
        how = choose(np.dtype(dtype), (U, V), stride, padding, *channels, tiled)
        fewer = eight(np.dtype(dtype), how, (U, V), P, Q)
        products = "eight products" if fewer else "expanded weight"
        answer[of] = f"{how}, {products}" if four else how
    return answer
