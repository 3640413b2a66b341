"""Weights over any algebra of four components, by its table: e_a e_b = sum_c t[a,b,c] e_c."""

from typing import Any

from quatgrad.arrays import array_module
from quatgrad.autograd import Function, Tensor
from quatgrad.errors import ShapeError
from quatgrad.ops.conv import conv2d, linear


class TableWeight(Function):
    """W[.., (b,p), (c,q)] = sum_a t[a,b,c] w[a,..,p,q]: the real weight that acts as w does.

    With G = dL/dW: dw[a] = sum_bc t[a,b,c] G_bc and dt[a,b,c] = sum_..pq w[a] G_bc.
    """

    def forward(self, w, t):
        self.save_for_backward(w, t)
        xp = array_module(w)
        W = xp.tensordot(t, w, ((0,), (0,)))  # (4, 4, 4), (4, .., P, Q) -> (4, 4, .., P, Q)
        W = xp.moveaxis(W, (0, 1), (-4, -2))  # -> (.., 4, P, 4, Q)
        return W.reshape(*W.shape[:-4], 4 * W.shape[-3], 4 * W.shape[-1])  # (.., 4P, 4Q)

    def backward(self, g):
        w, t = self.saved
        xp = array_module(g)
        P, Q = w.shape[-2:]
        G = g.reshape(*g.shape[:-2], 4, P, 4, Q)  # (.., 4P, 4Q) -> (.., 4, P, 4, Q)
        G = xp.moveaxis(G, (-4, -2), (0, 1)).reshape(4, 4, -1)  # -> (4, 4, .. P Q)
        dw = xp.tensordot(t, G, ((1, 2), (0, 1))).reshape(w.shape)
        return dw, xp.tensordot(w.reshape(4, -1), G, ((1,), (2,)))  # (4, 4, 4)


def table_weight(w: Tensor, t: Tensor) -> Tensor:
    """W with y = x W for y_c = sum_ab t[a,b,c] w_a x_b; w (4, .., P, Q), t (4, 4, 4).

    With `HAMILTON` as t it is the weight of a quaternion layer. Source: "Beyond Fully-Connected
    Layers with Quaternions", arXiv:2102.08597, where t is learned.
    """
    if t.shape != (4, 4, 4) or w.ndim < 3 or w.shape[0] != 4:
        raise ShapeError(
            f"table_weight: a weight (4, .., P, Q) and a table (4, 4, 4); got {w.shape}, {t.shape}"
        )
    return TableWeight()(w, t)


def table_linear(x: Tensor, w: Tensor, t: Tensor, b: Tensor | None = None) -> Tensor:
    """y_q = sum_p w_pq x_p (+ b) in the algebra of t; x (..., 4P), w (4, P, Q) -> y (..., 4Q)."""
    return linear(x, table_weight(w, t), b)


def table_conv2d(x: Tensor, w: Tensor, t: Tensor, b: Tensor | None, *options: Any) -> Tensor:
    """y_q = sum_uvp w_uvpq x_p (+ b) in the algebra of t, w (4, U, V, P, Q); else as `conv2d`."""
    return conv2d(x, table_weight(w, t), b, *options)
