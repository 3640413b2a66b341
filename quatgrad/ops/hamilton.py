"""The Hamilton product as an operation: entry by entry, as a linear layer, as a convolution.

A real number's derivative rule d(w x) = dw x + w dx holds for quaternions when the order is kept,
and the gradient of a left (right) product is the product with the conjugate:

    y = sum w x     dx = sum conj(w) g     dw = sum g conj(x)
"""

import math
from typing import Any

from quatgrad.arrays import array_module
from quatgrad.autograd import Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.arithmetic import Binary
from quatgrad.ops.conv import Conv, ConvTranspose, convolve
from quatgrad.ops.conv_shapes import Size, check_channels, check_weight
from quatgrad.ops.operands import add_bias
from quatgrad.quaternion import conjugate


class Hamilton(Binary):
    """y = p q, the Hamilton product; dp = g conj(q), dq = conj(p) g."""

    def forward(self, p, q):
        self.save_for_backward(p, q)
        return kernel("hamilton")(p, q)

    def da(self, g, p, q):
        return kernel("hamilton")(g, conjugate(q))

    def db(self, g, p, q):
        return kernel("hamilton")(conjugate(p), g)


class HamiltonLinear(Binary):
    """y_q = sum_p w_pq x_p; dx_p = sum_q conj(w_pq) g_q, dw_pq = sum_n g_q conj(x_p)."""

    owns_grads = noted_inside = True

    def forward(self, x, w):
        self.save_for_backward(x, w)
        return kernel("hamilton_linear")(x, w)

    def da(self, g, x, w):
        return kernel("hamilton_linear_dx")(g, w)

    def db(self, g, x, w):
        return kernel("hamilton_linear_dw")(x, g)


class HamiltonConv(Conv):
    """y_q(n) = sum_vp w_vpq x_p(n s + v), quaternion products; gradients as in HamiltonLinear."""

    components = 4


class HamiltonConvTranspose(ConvTranspose):
    """The adjoint of the `HamiltonConv` whose weight is w^H: transposed and conjugated."""

    components = 4

    def adjoint(self, w):
        w = w.swapaxes(-1, -2)  # (4, U, V, P, Q) -> (4, U, V, Q, P)
        return array_module(w).concatenate([w[:1], -w[1:]])


def hamilton(p: Any, q: Any) -> Tensor:
    """y = p q: Hamilton products of quaternions (..., 4), broadcast over the leading axes."""
    p, q = as_tensors("hamilton", p, q)
    for name, x in (("p", p), ("q", q)):
        if x.shape[-1:] != (4,):
            raise ShapeError(
                f"hamilton: {name} holds quaternions in its last axis, of size 4; "
                f"got shape {x.shape}"
            )
    return Hamilton()(p, q)


def hamilton_linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """y_q = sum_p w_pq x_p (+ b): a quaternion layer, weight on the left.

    x (..., 4P) in component blocks [1 | i | j | k], w (4, P, Q), b (4Q,) -> y (..., 4Q).
    Source: "Large Neural Networks at a Fraction" (PMLR 233), Figure 1.
    """
    x, w = as_tensors("hamilton_linear", x, w)
    check_weight("hamilton_linear", w, 3, 4)
    check_channels("hamilton_linear", x, w, components=4)
    N = math.prod(x.shape[:-1])
    rows = x if x.ndim == 2 else x.reshape(N, x.shape[-1])  # (..., 4P) -> (N, 4P)
    y = HamiltonLinear()(rows, w)  # (N, 4P), (4, P, Q) -> (N, 4Q)
    y = y if x.ndim == 2 else y.reshape(*x.shape[:-1], 4 * w.shape[-1])  # (..., 4Q)
    return add_bias("hamilton_linear", y, b)


def hamilton_conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """y_q = sum_uvp w_uvpq x_p (+ b): a convolution whose every product is a Hamilton product.

    x (N, H, W, 4P) in component blocks, w (4, U, V, P / groups, Q), b (4Q,) -> y (N, I, J, 4Q);
    options as in `conv2d`. Group g has the g-th block of every component: whole quaternions.
    """
    options = stride, padding, dilation, groups, padding_mode
    return convolve("hamilton_conv2d", HamiltonConv, x, w, b, *options)


def hamilton_conv_transpose2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
) -> Tensor:
    """y_q = the sum of all w_uvpq x_p sent to it (+ b), weight on the left: see `conv_transpose2d`.

    x (N, I, J, 4P), w (4, U, V, P / groups, Q), b (4Q,) -> y (N, H, W, 4Q). It is the adjoint of
    `hamilton_conv2d` with the weight conj(w), features exchanged. One published library computes
    conj(w) x here, the adjoint of its own convolution with w itself.
    """
    name, op = "hamilton_conv_transpose2d", HamiltonConvTranspose
    options = stride, padding, 1, groups, "zeros", output_padding
    return convolve(name, op, x, w, b, *options)
