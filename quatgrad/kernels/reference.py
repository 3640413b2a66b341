"""Each kernel as the formula it is, on any array module: slow, short, and the specification.

A quaternion layer and both of its gradients are one `einsum` with another free index:

    y[n,c,q]  = sum_abp  H[a,b,c] w[a,p,q] x[n,b,p]
    dx[n,b,p] = sum_acq  H[a,b,c] w[a,p,q] g[n,c,q]
    dw[a,p,q] = sum_nbc  H[a,b,c] x[n,b,p] g[n,c,q]

because y is linear in w and in x, and the gradient of a linear map is its transpose.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from quatgrad.arrays import BITS, Array, array_module
from quatgrad.kernels.reference_algebra import (  # noqa: F401 - kernels of this rung
    quaternion_divide,
    quaternion_exp,
    quaternion_inverse,
    quaternion_log,
    quaternion_norm,
    quaternion_normalize,
    quaternion_polar,
    quaternion_power,
    quaternion_rotate,
    quaternion_sqrt,
)
from quatgrad.kernels.reference_augment import augment  # noqa: F401 - a kernel of this rung
from quatgrad.kernels.reference_loss import (  # noqa: F401 - kernels of this rung
    cross_entropy,
    cross_entropy_dz,
    tally,
)
from quatgrad.kernels.reference_optimizer import (  # noqa: F401 - kernels of this rung
    adam,
    sgd,
    sgd_masked,
)
from quatgrad.kernels.reference_unit import (  # noqa: F401 - kernels of this rung
    conv_norm,
    conv_norm_dx,
)

Pair = tuple[int, int]

#: e_a e_b = sum_c HAMILTON[a, b, c] e_c for the units e = (1, i, j, k): i j = k, j i = -k, ...
HAMILTON = np.zeros((4, 4, 4), dtype=np.int8)
for _a, _row in enumerate(("+1 +i +j +k", "+i -1 +k -j", "+j -k -1 +i", "+k +j -i -1")):
    for _b, _entry in enumerate(_row.split()):
        HAMILTON[_a, _b, "1ijk".index(_entry[1])] = int(_entry[0] + "1")
HAMILTON.flags.writeable = False


def _table(x: Array) -> Array:
    return _table_on(array_module(x), x.dtype)


@cache
def _table_on(xp: Any, dtype: np.dtype) -> Array:
    """The table on the device of an array module: it goes there once."""
    return xp.asarray(HAMILTON, dtype=dtype)


# ------------------------------------------------------------- quaternion products, linear


def hamilton(p: Array, q: Array) -> Array:
    """Hamilton products p q of quaternions (..., 4), broadcasting over the leading axes."""
    return array_module(p).einsum("abc,...a,...b->...c", _table(p), p, q)


def hamilton_linear(x: Array, w: Array) -> Array:
    """y_q = sum_p w_pq x_p; x (N, 4P), w (4, P, Q) -> y (N, 4Q)."""
    y = array_module(x).einsum("abc,apq,nbp->ncq", _table(x), w, _blocks(x))
    return y.reshape(len(x), -1)


def hamilton_linear_dx(g: Array, w: Array) -> Array:
    """dx_p = sum_q conj(w_pq) g_q; g (N, 4Q), w (4, P, Q) -> dx (N, 4P)."""
    dx = array_module(g).einsum("abc,apq,ncq->nbp", _table(g), w, _blocks(g))
    return dx.reshape(len(g), -1)


def hamilton_linear_dw(x: Array, g: Array) -> Array:
    """dw_pq = sum_n g_q conj(x_p); x (N, 4P), g (N, 4Q) -> dw (4, P, Q)."""
    return array_module(x).einsum("abc,nbp,ncq->apq", _table(x), _blocks(x), _blocks(g))


def expand(w: Array) -> Array:
    """The real weight W that acts as the quaternion weight w does: y = x W.

    w (4, ..., P, Q) -> W (..., 4P, 4Q), W[.., (b,p), (c,q)] = sum_a H[a,b,c] w[a, .., p, q]:
    the 4 x 4 block matrix of "Large Neural Networks at a Fraction", transposed since here
    inputs are rows.
    """
    W = array_module(w).einsum("abc,a...pq->...bpcq", _table(w), w)
    *lead, _, P, _, Q = W.shape
    return W.reshape(*lead, 4 * P, 4 * Q)


def fold(W: Array) -> Array:
    """The adjoint of `expand`: <expand(w), W> = <w, fold(W)>; (..., 4P, 4Q) -> (4, ..., P, Q)."""
    *lead, P4, Q4 = W.shape
    W = W.reshape(*lead, 4, P4 // 4, 4, Q4 // 4)
    return array_module(W).einsum("abc,...bpcq->a...pq", _table(W), W)


def _blocks(x: Array) -> Array:
    """(..., 4P) -> (..., 4, P): the component blocks of a quaternion feature axis."""
    return x.reshape(*x.shape[:-1], 4, x.shape[-1] // 4)


def matmul(a: Array, b: Array) -> Array:
    """y = a b, matrices in the last two axes, the leading ones broadcast."""
    return a @ b


# ------------------------------------------------------------------------------ patches


def out_size(size: Pair, window: Pair, stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of the output: floor((H + 2 pad - window) / stride) + 1."""
    I, J = ((size[d] + 2 * padding[d] - window[d]) // stride[d] + 1 for d in (0, 1))
    return I, J


def pad(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """Surround the maps of x (N, H, W, C) with `value`."""
    if padding == (0, 0):
        return x
    widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
    return array_module(x).pad(x, widths, constant_values=value)


def window(x: Array, u: int, v: int, stride: Pair, out: Pair) -> Array:
    """The pixels of a padded map that window offset (u, v) meets: x[n, i s + u, j s + v, :]."""
    rows = slice(u, u + stride[0] * (out[0] - 1) + 1, stride[0])
    cols = slice(v, v + stride[1] * (out[1] - 1) + 1, stride[1])
    return x[:, rows, cols]


def patches(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """P[n,i,j,u,v,c] = x[n, i s + u - pad, j s + v - pad, c], zero outside the map."""
    xp = array_module(x)
    windows = xp.lib.stride_tricks.sliding_window_view(pad(x, padding), size, axis=(1, 2))
    return xp.ascontiguousarray(windows[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3))


def unpatches(P: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """The adjoint of `patches`: adds every patch back where it was taken from, -> `shape`."""
    N, H, W, C = shape
    out, size = P.shape[1:3], P.shape[3:5]
    x = array_module(P).zeros((N, H + 2 * padding[0], W + 2 * padding[1], C), P.dtype)
    for u in range(size[0]):
        for v in range(size[1]):
            window(x, u, v, stride, out)[...] += P[:, :, :, u, v]
    return x[:, padding[0] : padding[0] + H, padding[1] : padding[1] + W]


# -------------------------------------------------------------------------- convolution


def operand(x: Array) -> Array:
    """x as convolutions and their gradients read it: x itself, here.

    A rung that rounds factors may do it once for the two products in which each of them stands.
    """
    return x


def wide(x: Array) -> Array:
    """x; as float32 if a rung keeps the upper 16 bits alone, as uint16: bfloat16 numbers."""
    return (x.astype("u4") * 2**16).view("f4") if x.dtype == BITS else x


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q] (a correlation)."""
    P = patches(x, w.shape[:2], stride, padding)
    return array_module(x).einsum("nijuvp,uvpq->nijq", P, w)


def conv2d_dx(g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """dx: every output pixel sends g[n,i,j,q] w[u,v,p,q] back to the pixel it came from."""
    return unpatches(array_module(g).einsum("nijq,uvpq->nijuvp", g, w), shape, stride, padding)


def conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """dw[u,v,p,q] = sum_nij x[n, i s + u - pad, j s + v - pad, p] g[n,i,j,q]."""
    P = patches(x, size, stride, padding)
    return array_module(x).einsum("nijuvp,nijq->uvpq", P, g)


def hamilton_conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y[n,i,j,q] = sum_uvp w[u,v,p,q] x[n, i s + u - pad, ..., p] with quaternion w and x.

    x (N, H, W, 4P), w (4, U, V, P, Q) -> y (N, I, J, 4Q).
    """
    P = _blocks(patches(x, w.shape[1:3], stride, padding))
    y = array_module(x).einsum("abc,auvpq,nijuvbp->nijcq", _table(x), w, P, optimize=True)
    return y.reshape(*y.shape[:3], -1)


def hamilton_conv2d_dx(
    g: Array, w: Array, shape: tuple[int, ...], stride: Pair, padding: Pair
) -> Array:
    """dx of `hamilton_conv2d`: conj(w) g, sent back to where it came from."""
    xp = array_module(g)
    P = xp.einsum("abc,auvpq,nijcq->nijuvbp", _table(g), w, _blocks(g), optimize=True)
    return unpatches(P.reshape(*P.shape[:5], -1), shape, stride, padding)


def hamilton_conv2d_dw(x: Array, g: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """dw of `hamilton_conv2d`: g conj(x), summed over images and positions."""
    P = _blocks(patches(x, size, stride, padding))
    return array_module(x).einsum(
        "abc,nijuvbp,nijcq->auvpq", _table(x), P, _blocks(g), optimize=True
    )


# ------------------------------------------------------------------------------ pooling


def max_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """y[n,i,j,c] = max_uv x[n, i s + u - pad, ...]; also the winner's u V + v (first of equals)."""
    xp = array_module(x)
    out = out_size(x.shape[1:3], size, stride, padding)
    x = pad(x, padding, -np.inf)
    windows = [window(x, u, v, stride, out) for u in range(size[0]) for v in range(size[1])]
    stack = xp.stack(windows)
    return stack.max(axis=0), stack.argmax(axis=0).astype(np.int32)


def max_pool_dx(
    g: Array, winner: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """dx: each g goes to the pixel that won its window."""
    xp = array_module(g)
    offsets = xp.arange(size[0] * size[1]).reshape(*size, 1)
    P = xp.where(winner[:, :, :, None, None] == offsets, g[:, :, :, None, None], 0)
    return unpatches(P.astype(g.dtype, copy=False), shape, stride, padding)


def avg_pool(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """y[n,i,j,c] = mean_uv x[n, i s + u - pad, ...]; padding counts as zeros."""
    return patches(x, size, stride, padding).mean(axis=(3, 4))


def avg_pool_dx(g: Array, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> Array:
    """dx: each g is shared equally by the pixels of its window."""
    xp = array_module(g)
    share = g[:, :, :, None, None] / (size[0] * size[1])
    P = xp.broadcast_to(share, (*g.shape[:3], *size, g.shape[3]))
    return unpatches(P, shape, stride, padding)


# --------------------------------------------------------------------------- activation


def relu(x: Array) -> Array:
    """y = max(x, 0); NaN stays NaN."""
    return array_module(x).maximum(x, 0)


def relu_dx(g: Array, y: Array) -> Array:
    """dx = g where y > 0, else 0."""
    return array_module(g).where(y > 0, g, g.dtype.type(0))


def add(a: Array, b: Array) -> Array:
    """y = a + b, broadcasting."""
    return wide(a) + wide(b)


# --------------------------------------------------------------------------- batch norm


def batch_norm(x: Array, scale: Array, shift: Array, eps: float) -> tuple[Array, Array, Array]:
    """y = scale (x - mean) / sqrt(var + eps) + shift over all axes but the last, x (..., C).

    Returns y and the batch's mean and (biased) variance, (C,) each; sums run in float64.
    """
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=np.float64)
    var = ((x - mean) ** 2).mean(axis=axes)
    mean, var = mean.astype(x.dtype), var.astype(x.dtype)
    return batch_norm_eval(x, mean, var, scale, shift, eps), mean, var


def batch_norm_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx = scale / sqrt(var + eps) (g - mean(g) - z mean(g z)), z = (x - mean) / sqrt(var + eps).

    Returns dx, dscale = sum g z and dshift = sum g.
    """
    axes = tuple(range(x.ndim - 1))
    M = x.size // x.shape[-1]
    inv = 1 / array_module(x).sqrt(var + eps)
    z = (x - mean) * inv
    dshift = g.sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dscale = (g * z).sum(axis=axes, dtype=np.float64).astype(x.dtype)
    return scale * inv * (g - dshift / M - z * (dscale / M)), dscale, dshift


def batch_norm_eval(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float
) -> Array:
    """y = scale (x - mean) / sqrt(var + eps) + shift with given statistics."""
    return (x - mean) * (scale / array_module(x).sqrt(var + eps)) + shift


def follow(r: Array, b: Array, momentum: float, times: float = 1.0) -> None:
    """r <- (1 - momentum) r + momentum times b, in place: running statistics after a batch's."""
    r[...] = (1 - momentum) * r + momentum * (times * b)
