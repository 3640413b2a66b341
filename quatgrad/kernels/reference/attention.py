"""Scaled dot-product attention, as formulas; heads take whole quaternions."""

import math

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register


def split(x: Array, heads: int, components: int) -> Array:
    """(N, T, C) -> (N, heads, T, D): head h has the h-th part of every component block."""
    N, T, C = x.shape
    x = x.reshape(N, T, components, heads, C // (components * heads))
    return x.transpose(0, 3, 1, 2, 4).reshape(N, heads, T, C // heads)


def join(y: Array, components: int) -> Array:
    """The inverse of `split`: (N, heads, T, D) -> (N, T, C)."""
    N, heads, T, D = y.shape
    y = y.reshape(N, heads, T, components, D // components)
    return y.transpose(0, 2, 3, 1, 4).reshape(N, T, heads * D)


@register
def attention(
    q: Array, k: Array, v: Array, lengths: Array, heads: int, components: int, causal: bool
) -> tuple[Array, Array]:
    """y_i = sum_j a_ij v_j in each head, a_ij = softmax_j (q_i . k_j / sqrt(D)).

    q, k, v (N, T, C) -> y (N, T, C) and a (N, heads, T, T). i, j < lengths[n], and j <= i if
    causal: other a_ij are 0.
    """
    T = q.shape[1]
    xp = array_module(q)
    Q, K, V = (split(x, heads, components) for x in (q, k, v))
    scores = Q @ K.swapaxes(2, 3) * q.dtype.type(1 / math.sqrt(Q.shape[3]))  # (N, heads, T, T)
    inside = xp.arange(T) < lengths[:, None]
    seen = inside[:, None, None]
    if causal:
        seen = seen & (xp.arange(T) <= xp.arange(T)[:, None])
    scores = xp.where(seen, scores, -math.inf)
    a = xp.exp(scores - scores.max(axis=3, keepdims=True))
    a = xp.where(inside[:, None, :, None], a / a.sum(axis=3, keepdims=True), 0)
    return join(a @ V, components), a


@register
def attention_dx(
    g: Array, q: Array, k: Array, v: Array, a: Array, lengths: Array, components: int
) -> tuple[Array, Array, Array]:
    """dv = a^T g, dq = ds k, dk = ds^T q, ds = a (da - sum_j a da) / sqrt(D), da = g v^T.

    a is 0 from lengths[n] on: a fast kernel does not look there.
    """
    G, Q, K, V = (split(x, a.shape[1], components) for x in (g, q, k, v))
    da = G @ V.swapaxes(2, 3)
    ds = a * (da - (a * da).sum(axis=3, keepdims=True)) * g.dtype.type(1 / math.sqrt(Q.shape[3]))
    return (
        join(ds @ K, components),
        join(ds.swapaxes(2, 3) @ Q, components),
        join(a.swapaxes(2, 3) @ G, components),
    )
