"""3x3 convolutions of stride 1 with 36 multiplications for the 144 of the definition: F(4x4, 3x3).

    y = A^T [ (G w G^T) * (B^T x B) ] A        for each tile: 6 x 6 numbers of x, 4 x 4 of y

A convolution in one dimension multiplies polynomials. It can be done by their values at six points
(0, 1, -1, 2, -2 and infinity), multiplied point by point: 6 products for the 12 that make four
outputs of a window of three; in two dimensions 36 for 144. The sum over the input features
commutes with the tables A, B and G, so the products are 36 products of matrices, (tiles, P) times
(P, Q), four times less arithmetic in all. The gradients are a convolution with the mirrored
weight, and the same tables transposed:

    dx = conv(g, mirrored w^T)                 dw = G^T [ (B^T x B) * (A g A^T) ] G

A quaternion convolution makes its eight products (see `eight_products`) of each of the 36: eight
times less arithmetic than the real layer of the same width. They are written in the form that
treats its two factors alike, since all three convolutions are then the same: y = w x,
dx = conj(w) g, dw = g conj(x).

Errors grow by the tables' large numbers: 5e-5 of the largest entry at most, in float32, on layers
of a ResNet. F(2x2, 3x3), tiles of 2 x 2 and 16 multiplications for 36, stays below 1e-5.
Source: Lavin & Gray, arXiv:1509.09308.
"""

import numpy as np
from numba import get_num_threads, prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.conv.winograd_tiles import (
    SQUARE,
    count_tiles,
    gradient_tile,
    input_tile,
    output_tile,
    paired_plane,
    tile_origin,
    weight_block,
    weight_square,
    weight_square_adjoint,
)
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.machine.cache import L2
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply
from quatgrad.kernels.numba_cpu.simd.partial_sums import how_many, total
from quatgrad.kernels.numba_cpu.simd.vector import LANES, prefetch_share, scratch
from quatgrad.kernels.reference.conv import Shape
from quatgrad.kernels.reference.patches import Pair, out_size

#: Numbers that stay in a core's cache, also in one of half the size: the weight at all points, and
#: a block of tiles before and after the products. A block is a multiple of the rows that `multiply`
#: takes at once if Q is small; if the weight alone is too large, it is long enough to use it often.
CACHE, ROWS, LONG_BLOCK, LONGEST = 7 * L2 // 16, 8, 32, 64
#: A large weight is used column by column if it meets at most so many tiles for each of them.
FEW, COLUMNS = 1, 2 * LANES
#: Tiles of a block in the weight gradient: so many products for each number of a sum that is moved.
#: Planes of quaternions have twice as many numbers: of fewer tiles they stay in the L2 cache, too.
SUM_BLOCK, QUATERNION_SUM_BLOCK = 32, 24
# Each plane is padded by LANES numbers. Planes that start a power of 2 bytes from one another would
# compete for the same lines of the cache: a tile writes 36 or 288 rows, one in each plane.
#: The weight gradient is summed in parts if a part has at most so many numbers.
PART = L2


@leaf
def _rows_of_tiles(x, first, count, I, J, tile):
    """From where to where the rows of a map lie in which these tiles are, to be asked for in time.

    The caches look ahead by themselves, but in long runs, and a tile is a few short ones.
    """
    _, H, W, C = x
    n, i, _ = tile_origin(first, I, J, tile)
    m, k, _ = tile_origin(first + count, I, J, tile)
    return (n * H + i) * W * C, (m * H + k) * W * C


@leaf
def _in_place(P, Q):
    """Whether a row is a single block of `multiply`, which reads it before it is written."""
    return P == Q and (Q == LANES or Q == 2 * LANES)


@parallel
def _convolve(x, U, y, padding, block, components, tile):
    """y = A^T [U * (B^T x B)] A, block by block of tiles, from and to cache; U (planes, P Q)."""
    (_, H, W, C), (N, I, J, D) = x.shape, y.shape
    (planes, step_U), P, Q = U.shape, C // components, D // components
    tiles = count_tiles(N, I, J, tile)
    X, Y, flat_U = (x.reshape(-1), H, W, C), (y.reshape(-1), I, J, D), U.reshape(-1)
    for b in prange((tiles + block - 1) // block):
        first = np.int64(b) * block
        count = min(block, tiles - first)
        step_V, step_M = block * P + LANES, block * Q + LANES
        V = scratch(planes * step_V)
        M = V if _in_place(P, Q) else scratch(planes * step_M)
        E = scratch(components * SQUARE)
        for t in range(count):
            n, i, j = tile_origin(first + t, I, J, tile)
            top, left = i - padding[0], j - padding[1]
            input_tile(X, n, top, left, E, V, t * P, step_V, components, 1, tile)
        ahead = _rows_of_tiles(X, first + count, block, I, J, tile)
        own = _rows_of_tiles(Y, first, count, I, J, tile)
        for z in range(planes):
            prefetch_share(X[0], *ahead, z, planes)
            prefetch_share(Y[0], *own, z, planes)
            w = paired_plane(z, components) * step_U
            multiply(M, z * step_M, Q, V, z * step_V, P, 1, flat_U, w, Q, count, P, Q, False)
        for t in range(count):
            n, i, j = tile_origin(first + t, I, J, tile)
            output_tile(M, t * Q, step_M, E, Y, n, i, j, 0, Q, components, tile)


@parallel
def _convolve_by_columns(V, w, shape, flipped, y, width, tile):
    """y = A^T [(G w G^T) * V] A for few tiles, `width` columns of all of them at a time.

    So the weight at all points, four times as large as itself, is never in memory.
    """
    (planes, step_V), (components, _, _, P, Q), (N, I, J, D) = V.shape, shape, y.shape
    tiles, flat_V, Y = count_tiles(N, I, J, tile), V.reshape(-1), (y.reshape(-1), I, J, D)
    for task in prange((Q + width - 1) // width):
        first = np.int64(task) * width
        end = min(Q, first + width)
        columns = end - first
        step_U, step_M = P * columns + LANES, tiles * columns + LANES
        U, M = scratch(planes * step_U), scratch(planes * step_M)
        for p in range(0, P, LANES):
            rows = U[p * columns :]
            _weight_to_points(w, shape, flipped, p, first, end, rows, step_U, tile)
        for z in range(planes):
            m, v, u = z * step_M, z * step_V, paired_plane(z, components) * step_U
            multiply(M, m, columns, flat_V, v, P, 1, U, u, columns, tiles, P, columns, False)
        E = scratch(components * SQUARE)
        for t in range(tiles):
            n, i, j = tile_origin(t, I, J, tile)
            output_tile(M, t * columns, step_M, E, Y, n, i, j, first, end, components, tile)


@parallel
def _sum_in_parts(x, g, U, padding, block, components, tile):
    """U[part] = V^T Z, V = B^T conj(x) B and Z = A g A^T, of a share of all tiles."""
    (_, H, W, C), (N, I, J, D) = x.shape, g.shape
    (parts, planes, step_U), P, Q = U.shape, C // components, D // components
    tiles = count_tiles(N, I, J, tile)
    X, G, flat_U = (x.reshape(-1), H, W, C), (g.reshape(-1), I, J, D), U.reshape(-1)
    for k in prange(parts):
        part = np.int64(k)
        start, end = part * tiles // parts, (part + 1) * tiles // parts
        step_V, step_Z = block * P + LANES, block * Q + LANES
        V, Z = scratch(planes * step_V), scratch(planes * step_Z)
        E = scratch(components * SQUARE)
        for first in range(start, end, block):
            count = min(block, end - first)
            for t in range(count):
                n, i, j = tile_origin(first + t, I, J, tile)
                top, left = i - padding[0], j - padding[1]
                input_tile(X, n, top, left, E, V, t * P, step_V, components, -1, tile)
                gradient_tile(G, n, i, j, E, Z, t * Q, step_Z, components, tile)
            ahead_x = _rows_of_tiles(X, first + count, block, I, J, tile)
            ahead_g = _rows_of_tiles(G, first + count, block, I, J, tile)
            for z in range(planes):
                prefetch_share(X[0], *ahead_x, z, planes)
                prefetch_share(G[0], *ahead_g, z, planes)
                u, right = (part * planes + z) * step_U, paired_plane(z, components) * step_Z
                add = first > start
                multiply(flat_U, u, Q, V, z * step_V, 1, P, Z, right, Q, P, count, Q, add)


@parallel
def _maps_to_points(x, V, I, J, first, count, padding, components, sign, tile):
    """V = B^T x B (planes, tiles P) of `count` tiles; a `sign` of -1 conjugates x."""
    H, W, C = x.shape[1:]
    P, X, flat_V = C // components, (x.reshape(-1), H, W, C), V.reshape(-1)
    for number in prange(count):
        t = np.int64(number)
        E = scratch(components * SQUARE)
        n, i, j = tile_origin(first + t, I, J, tile)
        top, left = i - padding[0], j - padding[1]
        input_tile(X, n, top, left, E, flat_V, t * P, V.shape[1], components, sign, tile)


@parallel
def _gradients_to_points(g, Z, first, count, components, tile):
    """Z = A g A^T (planes, tiles Q) of `count` tiles."""
    I, J, D = g.shape[1:]
    Q, G, flat_Z = D // components, (g.reshape(-1), I, J, D), Z.reshape(-1)
    for number in prange(count):
        t = np.int64(number)
        E = scratch(components * SQUARE)
        n, i, j = tile_origin(first + t, I, J, tile)
        gradient_tile(G, n, i, j, E, flat_Z, t * Q, Z.shape[1], components, tile)


@parallel
def _sum_by_planes(V, Z, U, P, Q, count, components, add):
    """U (planes, P Q) (+)= V^T Z, summed over `count` tiles."""
    flat_V, flat_Z, flat_U = V.reshape(-1), Z.reshape(-1), U.reshape(-1)
    for plane in prange(len(U)):
        z = np.int64(plane)
        left, right = z * V.shape[1], paired_plane(z, components) * Z.shape[1]
        multiply(flat_U, z * U.shape[1], Q, flat_V, left, 1, P, flat_Z, right, Q, P, count, Q, add)


# ------------------------------------------------------------------------------- weights


@serial
def _weight_to_points(w, shape, flipped, p, first, end, U, step, tile):
    """LANES rows of the weight from p on, columns `first` to `end`, at all points."""
    components, _, _, P, _ = shape
    T, E = scratch(9 * components * LANES * LANES), scratch(components * SQUARE)
    for q in range(first, end, LANES):
        weight_block(w, shape, flipped, p, q, T)
        width, sign = min(LANES, end - q), -1 if flipped else 1
        for i in range(min(LANES, P - p)):
            at = i * (end - first) + q - first
            weight_square(T, i, components, sign, width, E, U, at, step, tile)


@parallel
def _weights_to_points(w, shape, flipped, U, tile):
    """G w G^T for w (components, 3, 3, P, Q), flat -> U (planes, P Q); see `weight_square`."""
    planes, (_, _, _, P, Q) = len(U), shape
    for block in prange((P + LANES - 1) // LANES):
        first = np.int64(block) * LANES
        end = min(first + LANES, P)
        step = LANES * Q + LANES
        rows = scratch(planes * step)  # in cache; memory is quicker in long runs
        _weight_to_points(w, shape, flipped, first, 0, Q, rows, step, tile)
        for z in range(planes):
            U[z, first * Q : end * Q] = rows[z * step : z * step + (end - first) * Q]


@parallel
def _points_to_weights(U, w, tile):
    """G^T U G: U (planes, P Q) -> w (components, 3, 3, P, Q)."""
    P, Q = w.shape[3:]
    flat_U, flat_w = U.reshape(-1), w.reshape(-1)
    for row in prange(P):
        p, E = np.int64(row), scratch(len(w) * SQUARE)
        for q in range(0, Q, LANES):
            weight_square_adjoint(flat_U, U.shape[1], p, q, E, flat_w, w.shape, tile)


# --------------------------------------------------------------------- the three convolutions


def conv2d(x: Array, w: Array, padding: Pair, tile: int) -> Array:
    """`reference.conv2d` with stride 1."""
    out = out_size(x.shape[1:3], (3, 3), (1, 1), padding)
    return _convolved(x, w, (len(x), *out), padding, False, tile)


def conv2d_dx(g: Array, w: Array, shape: Shape, padding: Pair, tile: int) -> Array:
    """Its dx, padding at most 2: the convolution of g with the mirrored w^T, conjugated."""
    return _convolved(g, w, shape[:3], (2 - padding[0], 2 - padding[1]), True, tile)


def _convolved(x: Array, w: Array, out: Shape, padding: Pair, flipped: bool, tile: int) -> Array:
    """The convolution of x with w, or `flipped`, as in `weight_block`."""
    components, (P, Q) = 4 if w.ndim == 5 else 1, w.shape[:-3:-1] if flipped else w.shape[-2:]
    planes, tiles = _planes(components, tile), count_tiles(out[0], out[1], out[2], tile)
    y, shape = empty((*out, components * Q), x.dtype), (components, 3, 3, P, Q)
    x, w = read_only(x), read_only(w).reshape(-1)
    if planes * P * Q > PART and tiles <= FEW * Q:
        V = empty((planes, tiles * P + LANES), x.dtype)
        _maps_to_points(x, V, out[1], out[2], 0, tiles, padding, components, 1, tile)
        _convolve_by_columns(V, w, shape, flipped, y, COLUMNS, tile)
        return y
    U = empty((planes, P * Q + LANES), x.dtype)
    _weights_to_points(w, shape, flipped, U, tile)
    share = -(-tiles // get_num_threads())
    block = max(1, min(_block(planes, P, Q), share))
    _convolve(x, U, y, padding, block, components, tile)
    return y


def conv2d_dw(x: Array, g: Array, shape: Shape, padding: Pair, tile: int) -> Array:
    """Its dw, of this shape; for quaternions the sum of g conj(x).

    Threads share the tiles, each with a sum of its own, or where that is large, the planes.
    """
    components, (P, Q) = 4 if len(shape) == 5 else 1, shape[-2:]
    planes = _planes(components, tile)
    x, g, tiles = read_only(x), read_only(g), count_tiles(g.shape[0], g.shape[1], g.shape[2], tile)
    if not tiles:
        return np.zeros(shape, x.dtype)
    if planes * P * Q <= PART:
        parts = empty((min(how_many(planes * P * Q), tiles), planes, P * Q + LANES), x.dtype)
        block = min(tiles, SUM_BLOCK if components == 1 else QUATERNION_SUM_BLOCK)
        _sum_in_parts(x, g, parts, padding, block, components, tile)
        U = total(parts)
    else:
        U = _by_planes(x, g, tiles, padding, components, tile)
    dw = empty((components, 3, 3, P, Q), x.dtype)
    _points_to_weights(U, dw, tile)
    return dw.reshape(shape)


def _by_planes(x: Array, g: Array, tiles: int, padding: Pair, components: int, tile: int) -> Array:
    """The sum over tiles, many at a time so that it is not moved more often than its factors."""
    P, Q, planes = x.shape[3] // components, g.shape[3] // components, _planes(components, tile)
    block = min(tiles, max(P, Q) // 2)
    V = empty((planes, block * P + LANES), x.dtype)
    Z = empty((planes, block * Q + LANES), x.dtype)
    U = empty((planes, P * Q + LANES), x.dtype)
    for first in range(0, tiles, block):
        count = min(block, tiles - first)
        _maps_to_points(x, V, *g.shape[1:3], first, count, padding, components, -1, tile)
        _gradients_to_points(g, Z, first, count, components, tile)
        _sum_by_planes(V, Z, U, P, Q, count, components, first > 0)
    return U


def _block(planes: int, P: int, Q: int) -> int:
    """How many tiles go together."""
    if planes * P * Q > CACHE:
        return LONG_BLOCK
    tile = planes * (P if _in_place.py_func(P, Q) else P + Q)
    return min(LONGEST, max(2 * ROWS, (CACHE - planes * P * Q) // tile // ROWS * ROWS))


def _planes(components: int, tile: int) -> int:
    return (tile + 2) ** 2 * (1 if components == 1 else 8)
