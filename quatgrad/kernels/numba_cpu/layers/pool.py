"""Pooling and its gradients. Rows have one owner each, as in `conv.patches`."""

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.conv.patches import inside, output_row, split_row
from quatgrad.kernels.numba_cpu.jit import empty, parallel, read_only
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.reference.sums import MOST
from quatgrad.kernels.registry import register

# -------------------------------------------------------------------------- max pooling


@register
def max_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """`reference.max_pool`: one look at each window, all channels side by side."""
    N, H, W, C = x.shape
    shape = (N, *out_size((H, W), size, stride, padding), C)
    y, winner = empty(shape, x.dtype), empty(shape, np.dtype(np.int32))
    _max_pool(read_only(x), y, winner, size, stride, padding)
    return y, winner


@parallel
def _max_pool(x, y, winner, size, stride, padding):
    _, H, W, C = x.shape
    N, I, J, _ = y.shape
    for row in prange(N * I):
        n, i = split_row(row, I)
        top = i * stride[0] - padding[0]
        u0, u1 = inside(top, size[0], H)
        for j in range(J):
            left = j * stride[1] - padding[1]
            v0, v1 = inside(left, size[1], W)
            first = u0 * size[1] + v0 if u0 < u1 and v0 < v1 else 0  # no border wins over a pixel
            for c in range(C):
                y[n, i, j, c] = -np.inf
                winner[n, i, j, c] = first
            for u in range(u0, u1):
                for v in range(v0, v1):
                    offset = np.int32(u * size[1] + v)
                    for c in range(C):
                        new, best = x[n, top + u, left + v, c], y[n, i, j, c]
                        # The first NaN wins, as in numpy.max; & because `and` would branch.
                        wins = ((new > best) | (new != new)) & (best == best)
                        y[n, i, j, c] = new if wins else best
                        winner[n, i, j, c] = offset if wins else winner[n, i, j, c]


@register
def max_pool_dx(
    g: Array, winner: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """`reference.max_pool_dx`: each pixel collects g from the windows over it that it won."""
    dx = empty(shape, g.dtype)
    _max_pool_dx(read_only(g), read_only(winner, np.int32), dx, size, stride, padding)
    return dx


@parallel
def _max_pool_dx(g, winner, dx, size, stride, padding):
    N, H, W, C = dx.shape
    _, I, J, _ = g.shape
    for row in prange(N * H):
        n, h = split_row(row, H)
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for u in range(size[0]):
            i = output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                v0, v1 = inside(left, size[1], W)
                for v in range(v0, v1):
                    offset = np.int32(u * size[1] + v)
                    for c in range(C):
                        old = dx[n, h, left + v, c]
                        won = winner[n, i, j, c] == offset
                        dx[n, h, left + v, c] = old + g[n, i, j, c] if won else old


# ---------------------------------------------------------------------- average pooling


@register
def avg_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool`: sums each window in the map."""
    N, H, W, C = x.shape
    dtype = x.dtype if size[0] * size[1] <= MOST else np.dtype(np.float64)  # see `sums`
    y = empty((N, *out_size((H, W), size, stride, padding), C), dtype)
    _avg_pool(read_only(x), y, dtype.type(1 / (size[0] * size[1])), size, stride, padding)
    return y if y.dtype == x.dtype else call(np.asarray, y, x.dtype)


@parallel
def _avg_pool(x, y, share, size, stride, padding):
    _, H, W, C = x.shape
    N, I, J, _ = y.shape
    for row in prange(N * I):
        n, i = split_row(row, I)
        top = i * stride[0] - padding[0]
        u0, u1 = inside(top, size[0], H)
        for j in range(J):
            left = j * stride[1] - padding[1]
            v0, v1 = inside(left, size[1], W)
            for c in range(C):
                y[n, i, j, c] = 0
            for u in range(u0, u1):
                for v in range(v0, v1):
                    for c in range(C):
                        y[n, i, j, c] += x[n, top + u, left + v, c]
            for c in range(C):
                y[n, i, j, c] *= share


@register
def avg_pool_dx(g: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> Array:
    """`reference.avg_pool_dx`: each pixel collects its share from the windows over it."""
    dx = empty(shape, g.dtype)
    share = g.dtype.type(1 / (size[0] * size[1]))
    _avg_pool_dx(read_only(g), dx, share, size, stride, padding)
    return dx


@parallel
def _avg_pool_dx(g, dx, share, size, stride, padding):
    N, H, W, C = dx.shape
    _, I, J, _ = g.shape
    for row in prange(N * H):
        n, h = split_row(row, H)
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for u in range(size[0]):
            i = output_row(h, u, stride[0], padding[0], I)
            if i < 0:
                continue
            for j in range(J):
                left = j * stride[1] - padding[1]
                v0, v1 = inside(left, size[1], W)
                for v in range(v0, v1):
                    for c in range(C):
                        dx[n, h, left + v, c] += share * g[n, i, j, c]
