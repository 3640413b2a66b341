"""Pooling of maps (N, H, W, C) and its gradients, as formulas."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.patches import Pair, out_size, pad, patches, unpatches, window
from quatgrad.kernels.reference.sums import sum_over
from quatgrad.kernels.registry import register


@register
def max_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """y[n,i,j,c] = max_uv x[n, i s + u - pad, ...]; also the winner's u V + v.

    Of equals the first wins, of NaNs too; the border, of -inf, wins over no pixel of the map.
    """
    xp = array_module(x)
    out = out_size(x.shape[1:3], size, stride, padding)
    inside = pad(xp.ones((1, *x.shape[1:3], 1), bool), padding, False)
    x = pad(x, padding, -np.inf)
    places = [(u, v) for u in range(size[0]) for v in range(size[1])]
    stack, inside = (xp.stack([window(a, *at, stride, out) for at in places]) for a in (x, inside))
    y = stack.max(axis=0)
    won = ((stack == y) | (stack != stack)) & inside
    return y, won.argmax(axis=0).astype(np.int32)


@register
def max_pool_dx(
    g: Array, winner: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """dx: each g goes to the pixel that won its window."""
    xp = array_module(g)
    offsets = xp.arange(size[0] * size[1]).reshape(*size, 1)
    P = xp.where(winner[:, :, :, None, None] == offsets, g[:, :, :, None, None], 0)
    return unpatches(P.astype(g.dtype, copy=False), shape, stride, padding)


@register
def avg_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n,i,j,c] = mean_uv x[n, i s + u - pad, ...]; padding counts as zeros."""
    return sum_over(patches(x, size, stride, padding), (3, 4)) / (size[0] * size[1])


@register
def avg_pool_dx(g: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> Array:
    """dx: each g is shared equally by the pixels of its window."""
    xp = array_module(g)
    share = g[:, :, :, None, None] / (size[0] * size[1])
    P = xp.broadcast_to(share, (*g.shape[:3], *size, g.shape[3]))
    return unpatches(P, shape, stride, padding)
