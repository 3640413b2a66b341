"""The Hamilton product and quaternion layers as formulas.

A quaternion layer and both of its gradients are one `einsum` with another free index:

    y[n,c,q]  = sum_abp  H[a,b,c] w[a,p,q] x[n,b,p]
    dx[n,b,p] = sum_acq  H[a,b,c] w[a,p,q] g[n,c,q]
    dw[a,p,q] = sum_nbc  H[a,b,c] x[n,b,p] g[n,c,q]

because y is linear in w and in x, and the gradient of a linear map is its transpose.
"""

from functools import cache
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register

#: e_a e_b = sum_c HAMILTON[a, b, c] e_c for the units e = (1, i, j, k): i j = k, j i = -k, ...
HAMILTON = np.zeros((4, 4, 4), dtype=np.int8)
for _a, _row in enumerate(("+1 +i +j +k", "+i -1 +k -j", "+j -k -1 +i", "+k +j -i -1")):
    for _b, _entry in enumerate(_row.split()):
        HAMILTON[_a, _b, "1ijk".index(_entry[1])] = int(_entry[0] + "1")
HAMILTON.flags.writeable = False


def hamilton_table(x: Array) -> Array:
    """`HAMILTON` in the dtype of x and on its device."""
    return _table_on(array_module(x), x.dtype)


@cache
def _table_on(xp: Any, dtype: np.dtype) -> Array:
    """The table for an array module: it is copied to the device once."""
    return xp.asarray(HAMILTON, dtype=dtype)


def blocks(x: Array) -> Array:
    """(..., 4P) -> (..., 4, P): the component blocks of a quaternion feature axis."""
    return x.reshape(*x.shape[:-1], 4, x.shape[-1] // 4)


@register
def hamilton(p: Array, q: Array) -> Array:
    """Hamilton products p q of quaternions (..., 4), broadcasting over the leading axes."""
    return array_module(p).einsum("abc,...a,...b->...c", hamilton_table(p), p, q)


@register
def hamilton_linear(x: Array, w: Array) -> Array:
    """y_q = sum_p w_pq x_p; x (N, 4P), w (4, P, Q) -> y (N, 4Q)."""
    y = array_module(x).einsum("abc,apq,nbp->ncq", hamilton_table(x), w, blocks(x))
    return y.reshape(len(x), 4 * w.shape[-1])


@register
def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """dx_p = sum_q conj(w_pq) g_q; g (N, 4Q), w (4, P, Q) -> dx (N, 4P)."""
    dx = array_module(g).einsum("abc,apq,ncq->nbp", hamilton_table(g), w, blocks(g))
    return dx.reshape(len(g), 4 * w.shape[-2])


@register
def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """dw_pq = sum_n g_q conj(x_p); x (N, 4P), g (N, 4Q) -> dw (4, P, Q)."""
    wide = blocks(x).astype(np.float64)  # a sum over many rows: see `sums`
    dw = array_module(x).einsum("abc,nbp,ncq->apq", hamilton_table(wide), wide, blocks(g))
    return dw.astype(x.dtype)


@register
def expand(w: Array) -> Array:
    """The real weight W that acts as the quaternion weight w does: y = x W.

    w (4, ..., P, Q) -> W (..., 4P, 4Q), W[.., (b,p), (c,q)] = sum_a H[a,b,c] w[a, .., p, q]:
    the 4 x 4 block matrix of "Large Neural Networks at a Fraction", transposed since here
    inputs are rows.
    """
    W = array_module(w).einsum("abc,a...pq->...bpcq", hamilton_table(w), w)
    *lead, _, P, _, Q = W.shape
    return W.reshape(*lead, 4 * P, 4 * Q)


@register
def fold(W: Array) -> Array:
    """The adjoint of `expand`: <expand(w), W> = <w, fold(W)>; (..., 4P, 4Q) -> (4, ..., P, Q)."""
    *lead, P4, Q4 = W.shape
    W = W.reshape(*lead, 4, P4 // 4, 4, Q4 // 4)
    return array_module(W).einsum("abc,...bpcq->a...pq", hamilton_table(W), W)
