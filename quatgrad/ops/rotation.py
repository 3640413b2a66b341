"""Rotations as weights: x -> s w x w^-1 turns the vector part of x and keeps its real part."""

from functools import cache
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.reference import HAMILTON
from quatgrad.ops.conv import conv2d, linear
from quatgrad.ops.conv_shapes import Size
from quatgrad.quaternion import norm, normalize

#: u x conj(u) = sum K[a,d,b,c] u_a u_d x_b e_c: of e_a e_b conj(e_d) what is symmetric in a and d.
K = np.einsum("abe,edc,d->adbc", HAMILTON, HAMILTON, np.array([1, -1, -1, -1]))
K = (K + K.swapaxes(0, 1)) / 2


class RotationWeight(Function):
    """The real weight that acts as x -> s w x w^-1 does: W[.., (b,p), (c,q)] = s R_bc.

    R_bc = sum_ad K[a,d,b,c] u_a u_d, u = w / |w|. With G = dL/dW: ds = sum_bc R_bc G_bc and
    du_a = 2 s sum_dbc K[a,d,b,c] u_d G_bc, of which only what is orthogonal to u moves it:
    dw = (du - u (u . du)) / |w|. Zero turns nothing: where w = 0, W and all gradients are 0.
    """

    def forward(self, w, s):
        xp = array_module(w)
        last = xp.moveaxis(w, 0, -1)  # (4, .., P, Q) -> (.., P, Q, 4), as the algebra has it
        u, length = xp.moveaxis(normalize(last), -1, 0), norm(last)  # (4, .., P, Q), (.., P, Q)
        R = xp.tensordot(_table(w), u[:, None] * u, ((0, 1), (0, 1)))  # (4, 4, .., P, Q)
        self.save_for_backward(u, length, R, s)
        W = xp.moveaxis(s * R, (0, 1), (-4, -2))  # (4, 4, .., P, Q) -> (.., 4, P, 4, Q)
        return W.reshape(*W.shape[:-4], 4 * W.shape[-3], 4 * W.shape[-1])  # (.., 4P, 4Q)

    def backward(self, g):
        u, length, R, s = self.saved
        xp = array_module(g)
        P, Q = s.shape[-2:]
        G = g.reshape(*g.shape[:-2], 4, P, 4, Q)  # (.., 4P, 4Q) -> (.., 4, P, 4, Q)
        G = xp.where(length == 0, 0, xp.moveaxis(G, (-4, -2), (0, 1)))  # (4, 4, .., P, Q)
        du = 2 * s * (xp.tensordot(_table(g), G, ((2, 3), (0, 1))) * u).sum(axis=1)
        du -= u * (u * du).sum(axis=0)
        return du / (length + (length == 0)), (R * G).sum(axis=(0, 1))


def _table(x: Array) -> Array:
    return _table_on(array_module(x), x.dtype)


@cache
def _table_on(xp: Any, dtype: np.dtype) -> Array:
    """The table on the device of an array module: it goes there once."""
    return xp.asarray(K, dtype=dtype)


def rotation_weight(w: Tensor, s: Tensor) -> Tensor:
    """W with y = x W for y_q = sum_p s_pq w_pq x_p w_pq^-1; w (4, .., P, Q), s (.., P, Q).

    W is (.., 4P, 4Q), for maps in component blocks. The size of w does not matter; w = 0 gives 0.
    """
    w, s = as_tensors("rotation_weight", w, s)
    if w.ndim < 3 or w.shape != (4, *s.shape):
        raise ShapeError(
            "rotation_weight: w is (4, .., P, Q) and s (.., P, Q); "
            f"got shapes {w.shape} and {s.shape}"
        )
    return RotationWeight()(w, s)


def rotation_linear(x: Tensor, w: Tensor, s: Tensor, b: Tensor | None = None) -> Tensor:
    """y_q = sum_p s_pq w_pq x_p w_pq^-1 (+ b); x (..., 4P), w (4, P, Q), s (P, Q), b (4Q,)."""
    return linear(x, rotation_weight(w, s), b)


def rotation_conv2d(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    b: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """y_q = sum_uvp s_uvpq w_uvpq x_p w_uvpq^-1 (+ b), the window as in `conv2d`.

    x (N, H, W, 4P) in component blocks, w (4, U, V, P, Q), s (U, V, P, Q) -> y (N, I, J, 4Q).
    """
    W = rotation_weight(w, s)
    return conv2d(x, W, b, stride, padding, dilation, padding_mode=padding_mode)
