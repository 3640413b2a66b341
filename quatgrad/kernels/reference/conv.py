"""Convolutions of real numbers and of quaternions, as formulas.

A weight has the shape (U, V, P, Q), or (4, U, V, P, Q) for quaternions: then a map has 4P or 4Q
channels, and the products are Hamilton products, conj(w) g and g conj(x) in the gradients.
"""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.patches import Pair, patches, unpatches
from quatgrad.kernels.reference.quaternion import blocks, hamilton_table
from quatgrad.kernels.registry import register

Shape = tuple[int, ...]


def window_size(shape: Shape) -> Pair:
    """(U, V) of a weight of this shape."""
    return shape[-4], shape[-3]


@register
def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y[n,i,j,q] = sum_uvp w[u,v,p,q] x[n, i s + u - pad, j s + v - pad, p] (a correlation).

    x (N, H, W, P) -> y (N, I, J, Q); of quaternions x (N, H, W, 4P) -> y (N, I, J, 4Q).
    """
    xp, P = array_module(x), patches(x, window_size(w.shape), stride, padding)
    if w.ndim == 4:
        return xp.einsum("nijuvp,uvpq->nijq", P, w)
    table = hamilton_table(x)
    y = xp.einsum("abc,auvpq,nijuvbp->nijcq", table, w, blocks(P), optimize=True)
    return y.reshape(*y.shape[:3], 4 * w.shape[-1])


@register
def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dx of this shape: every output pixel sends w g back to the pixels it came from."""
    xp = array_module(g)
    if w.ndim == 4:
        return unpatches(xp.einsum("nijq,uvpq->nijuvp", g, w), shape, stride, padding)
    table = hamilton_table(g)
    P = xp.einsum("abc,auvpq,nijcq->nijuvbp", table, w, blocks(g), optimize=True)
    return unpatches(P.reshape(*P.shape[:5], shape[3]), shape, stride, padding)


@register
def conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dw of this shape: dw[u,v,p,q] = sum_nij x[n, i s + u - pad, j s + v - pad, p] g[n,i,j,q]."""
    xp, P = array_module(x), patches(x, window_size(shape), stride, padding)
    P = P.astype(np.float64)  # a sum over many pixels: see `sums`
    if len(shape) == 4:
        return xp.einsum("nijuvp,nijq->uvpq", P, g).astype(x.dtype)
    table = hamilton_table(P)
    dw = xp.einsum("abc,nijuvbp,nijcq->auvpq", table, blocks(P), blocks(g), optimize=True)
    return dw.astype(x.dtype)
