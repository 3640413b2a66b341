"""Linear layers and convolutions, on channels-last maps; `hamilton` makes quaternions of them.

The kernels know windows, strides and zero padding. The rest is made of that: other paddings are
written around the map first, groups are convolutions side by side, and a dilated convolution is
a plain one on every phase of the map.
"""

from __future__ import annotations

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor
from quatgrad.kernels.reference import Pair
from quatgrad.kernels.registry import kernel
from quatgrad.ops.arithmetic import matmul
from quatgrad.ops.conv_shapes import (
    Size,
    check_channels,
    check_padding_mode,
    check_transposed,
    check_window,
    pair,
    transposed_size,
    window_of,
)
from quatgrad.ops.shape import pad


class Conv(Function):
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q].

    With groups, the channels of x and of y fall into as many blocks, and block g of y sees block
    g of x alone: w (U, V, P / groups, Q) is a block-diagonal weight without its zeros.
    """

    name = "conv2d"
    owns_grads = True
    components = 1  # of a channel: each component of a map is cut into groups by itself

    def __init__(self, stride: Pair, padding: Pair, groups: int = 1):
        self.how, self.groups = (stride, padding), groups

    def forward(self, x, w):
        xs, ws = self.operands(x), split(w, self.groups)
        self.save_for_backward(w, *xs)
        f = kernel("conv2d")
        return self.join([f(a, v, *self.how) for a, v in zip(xs, ws, strict=True)])

    def backward(self, g):
        w, *xs = self.saved
        ws, gs = split(w, self.groups), self.operands(g)
        dx = dw = None
        if self.needs_input_grad[0]:
            f, shape = kernel("conv2d_dx"), xs[0].shape
            dx = self.join([f(b, v, shape, *self.how) for b, v in zip(gs, ws, strict=True)])
        if self.needs_input_grad[1]:
            f, shape = kernel("conv2d_dw"), ws[0].shape
            dw = join([f(a, b, shape, *self.how) for a, b in zip(xs, gs, strict=True)])
        return dx, dw

    def operands(self, x: Array) -> list[Array]:
        """The blocks of a map as products read them; for all products in which they stand."""
        return [kernel("cast_input")(a) for a in self.split(x)]

    def split(self, x: Array) -> list[Array]:
        """The blocks of a map that belong to each group."""
        return split(x, self.groups, self.components)

    def join(self, maps: list[Array]) -> Array:
        """The map of which these are the groups."""
        return join(maps, self.components)


class ConvTranspose(Conv):
    """y[n, i s + u - pad, j s + v - pad, q] = the sum of all x[n,i,j,p] w[u,v,p,q] sent there.

    The adjoint of the `Conv` from Q to P channels with the weight `adjoint(w)`: its forward is
    that one's dx, and its dx that one's forward.
    """

    def __init__(self, stride: Pair, padding: Pair, groups: int, output_padding: Pair):
        super().__init__(stride, padding, groups)
        self.output_padding = output_padding

    def forward(self, x, w):
        self.save_for_backward(x, w)
        H, W = transposed_size(x.shape[1:3], window_of(w), *self.how, self.output_padding)
        shape = len(x), H, W, w.shape[-1] // self.groups * self.components
        f, xs, ws = kernel("conv2d_dx"), self.split(x), split(w, self.groups)
        parts = zip(xs, ws, strict=True)
        return self.join([f(a, self.adjoint(v), shape, *self.how) for a, v in parts])

    def backward(self, g):
        x, w = self.saved
        xs, ws, gs = self.split(x), split(w, self.groups), self.split(g)
        dx = dw = None
        if self.needs_input_grad[0]:
            f, parts = kernel("conv2d"), zip(gs, ws, strict=True)
            dx = self.join([f(b, self.adjoint(v), *self.how) for b, v in parts])
        if self.needs_input_grad[1]:
            f, shape = kernel("conv2d_dw"), ws[0].swapaxes(-1, -2).shape
            parts = zip(gs, xs, strict=True)
            dw = join([self.adjoint(f(b, a, shape, *self.how)) for b, a in parts])
        return dx, dw

    def adjoint(self, w: Array) -> Array:
        """w with input and output features exchanged."""
        return w.swapaxes(-1, -2)


# ------------------------------------------------------------------------------ operations


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """y = x w (+ b); x (..., P), w (P, Q), b (Q,) -> y (..., Q)."""
    check_channels("linear", x, w)
    y = matmul(x, w)
    return y if b is None else y + b


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """y[n,i,j,q] = sum_uvp x[n, i s + u d - pad, j s + v d - pad, p] w[u,v,p,q] (+ b[q]).

    x (N, H, W, P), w (U, V, P / groups, Q), b (Q,) -> y (N, I, J, Q) with
    I = (H + 2 pad - d (U - 1) - 1) // s + 1. Outside the map x is zero, or what `padding_mode`
    says: see `ops.pad`. With groups, block g of the outputs sees block g of the inputs alone.
    """
    check_channels("conv2d", x, w, groups)
    return convolve(Conv, x, w, b, stride, padding, dilation, groups, padding_mode)


def conv_transpose2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
) -> Tensor:
    """y[n, i s + u - pad, j s + v - pad, q] = the sum of all x[n,i,j,p] w[u,v,p,q] (+ b[q]).

    x (N, I, J, P), w (U, V, P / groups, Q), b (Q,) -> y (N, H, W, Q), the adjoint of `conv2d`
    with w's features exchanged, H = s (I - 1) + U - 2 pad + output_padding: `output_padding`,
    less than the stride, says which of the maps that a strided convolution takes to I is meant.
    """
    check_channels("conv_transpose2d", x, w, groups)
    return convolve_transpose(ConvTranspose, x, w, b, stride, padding, output_padding, groups)


def convolve(
    op: type[Conv],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    padding_mode: str,
) -> Tensor:
    """`conv2d` and `hamilton_conv2d` after the check of the channels: `op` makes the difference."""
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    check_window(op.name, x.shape, window_of(w), stride, padding, dilation)
    check_padding_mode(op.name, padding_mode)
    if padding_mode != "zeros" or dilation != (1, 1):
        widths = (0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)
        x, padding = pad(x, widths, mode=padding_mode), (0, 0)
    if dilation == (1, 1):
        y = op(stride, padding, groups)(x, w)
    else:
        y = _dilated(op((1, 1), (0, 0), groups), x, w, dilation)[:, :: stride[0], :: stride[1]]
    return y if b is None else y + b


def _dilated(conv: Conv, x: Tensor, w: Tensor, dilation: Pair) -> Tensor:
    """The convolution whose window takes every d-th pixel, by those that take every pixel.

    All pixels that an output looks at have its own row and column modulo d: the phases of x are
    maps without dilation, and become images of one batch. Strides are left to the caller.
    """
    (N, H, W, C), (U, V), (d, e) = x.shape, window_of(w), dilation
    x = pad(x, ((0, 0), (0, -H % d), (0, -W % e), (0, 0)))  # whole phases
    h, v = x.shape[1] // d, x.shape[2] // e
    phases = x.reshape(N, h, d, v, e, C).transpose(2, 4, 0, 1, 3, 5)
    y = conv(phases.reshape(d * e * N, h, v, C), w)
    i, j, Q = y.shape[1:]
    y = y.reshape(d, e, N, i, j, Q).transpose(2, 3, 0, 4, 1, 5).reshape(N, i * d, j * e, Q)
    return y[:, : H - d * (U - 1), : W - e * (V - 1)]


def convolve_transpose(
    op: type[ConvTranspose],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
) -> Tensor:
    """What `conv_transpose2d` and `hamilton_conv_transpose2d` share: `op` makes the difference."""
    how, extra = (pair(stride), pair(padding)), pair(output_padding)
    check_transposed(f"transposed {op.name}", x.shape, window_of(w), *how, extra)
    y = op(*how, groups, extra)(x, w)
    return y if b is None else y + b


# ---------------------------------------------------------------------------------- groups


def split(x: Array, groups: int, components: int = 1) -> list[Array]:
    """The last axis of x (..., components groups P), cut into arrays (..., components P)."""
    if groups == 1:
        return [x]
    *lead, C = x.shape
    blocks = x.reshape(*lead, components, groups, C // components // groups)
    return [blocks[..., g, :].reshape(*lead, C // groups) for g in range(groups)]


def join(parts: list[Array], components: int = 1) -> Array:
    """The inverse of `split`."""
    if len(parts) == 1:
        return parts[0]
    *lead, C = parts[0].shape
    blocks = [part.reshape(*lead, components, C // components) for part in parts]
    return array_module(*parts).stack(blocks, axis=-2).reshape(*lead, C * len(parts))
