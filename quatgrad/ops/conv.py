"""Linear layers and convolutions, on channels-last maps; `hamilton` makes quaternions of them.

The kernels know windows, strides and zero padding. The rest is made from these. Other paddings are
written around the map first. Groups are convolutions side by side. A dilated convolution is a plain
one on every phase of the map.
"""

from dataclasses import replace
from typing import Any

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.calls import call
from quatgrad.kernels.reference import Pair
from quatgrad.kernels.registry import kernel
from quatgrad.ops.arithmetic import matmul
from quatgrad.ops.conv_shapes import ConvWindow, Size, check_channels, check_weight, window_of
from quatgrad.ops.operands import add_bias
from quatgrad.ops.shape import pad


class Conv(Function):
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q].

    With groups, the channels of x and of y fall into as many blocks, and block g of y sees block
    g of x alone: w (U, V, P / groups, Q) is a block-diagonal weight without its zeros.
    """

    owns_grads = noted_inside = True
    components = 1  # of a channel: each component of a map is cut into groups by itself

    def __init__(self, window: ConvWindow):
        self.window, self.moves, self.groups = window, window.moves, window.groups

    def forward(self, x, w):
        xs, ws = self.operands(x), split(w, self.groups)
        self.save_for_backward(w, *xs)
        f = kernel("conv2d")
        # for each group (N, H, W, P), (U, V, P, Q) -> (N, I, J, Q), then side by side
        return self.join([f(a, v, *self.moves) for a, v in zip(xs, ws, strict=True)])

    def backward(self, g):
        w, *xs = self.saved
        ws, gs = split(w, self.groups), self.operands(g)
        dx = dw = None
        if self.needs_input_grad[0]:
            f, shape = kernel("conv2d_dx"), xs[0].shape
            dx = self.join([f(b, v, shape, *self.moves) for b, v in zip(gs, ws, strict=True)])
        if self.needs_input_grad[1]:
            f, shape = kernel("conv2d_dw"), ws[0].shape
            dw = join([f(a, b, shape, *self.moves) for a, b in zip(xs, gs, strict=True)])
        return dx, dw

    def operands(self, x: Array) -> list[Array]:
        """The blocks of a map, cast once for all products that read them."""
        return [kernel("cast_input")(a) for a in self.split(x)]

    def split(self, x: Array) -> list[Array]:
        """The blocks of a map that belong to each group."""
        return split(x, self.groups, self.components)

    def join(self, maps: list[Array]) -> Array:
        """The map of which these are the groups."""
        return join(maps, self.components)


class ConvTranspose(Conv):
    """y[n, i s + u - pad, j s + v - pad, q] = the sum of all x[n,i,j,p] w[u,v,p,q] sent there.

    The adjoint of a `Conv` from Q to P channels with the weight `adjoint(w)`: forward is the dx of
    that `Conv`, and dx is its forward.
    """

    noted_inside = False  # `adjoint` makes arrays

    def forward(self, x, w):
        self.save_for_backward(x, w)
        H, W = self.window.transposed_size(x.shape)
        shape = len(x), H, W, w.shape[-1] // self.groups * self.components  # of a group's map
        f, xs, ws = kernel("conv2d_dx"), self.split(x), split(w, self.groups)
        parts = zip(xs, ws, strict=True)
        return self.join([f(a, self.adjoint(v), shape, *self.moves) for a, v in parts])

    def backward(self, g):
        x, w = self.saved
        xs, ws, gs = self.split(x), split(w, self.groups), self.split(g)
        dx = dw = None
        if self.needs_input_grad[0]:
            f, parts = kernel("conv2d"), zip(gs, ws, strict=True)
            dx = self.join([f(b, self.adjoint(v), *self.moves) for b, v in parts])
        if self.needs_input_grad[1]:
            f, shape = kernel("conv2d_dw"), ws[0].swapaxes(-1, -2).shape
            parts = zip(gs, xs, strict=True)
            dw = join([self.adjoint(f(b, a, shape, *self.moves)) for b, a in parts])
        return dx, dw

    def adjoint(self, w: Array) -> Array:
        """w with input and output features exchanged."""
        return w.swapaxes(-1, -2)  # (U, V, P, Q) -> (U, V, Q, P)


# ------------------------------------------------------------------------------ operations


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """y = x w (+ b); x (..., P), w (P, Q), b (Q,) -> y (..., Q)."""
    x, w = as_tensors("linear", x, w)
    check_weight("linear", w, 2)
    check_channels("linear", x, w)
    rows = x.reshape(-1, w.shape[0]) if x.ndim > 2 else x  # (..., P) -> (N, P): one product
    y = matmul(rows, w)
    y = y.reshape(*x.shape[:-1], w.shape[1]) if x.ndim > 2 else y  # (..., Q)
    return add_bias("linear", y, b)


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
    options = stride, padding, dilation, groups, padding_mode
    return convolve("conv2d", Conv, x, w, b, *options)


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
    options = stride, padding, 1, groups, "zeros", output_padding
    return convolve("conv_transpose2d", ConvTranspose, x, w, b, *options)


def convolve(
    name: str, op: type[Conv], x: Tensor, w: Tensor, b: Tensor | None, *options: Any
) -> Tensor:
    """The convolutions of this file and of `hamilton`: `op` makes the difference."""
    x, w = as_tensors(name, x, w)
    check_weight(name, w, 5 if op.components == 4 else 4, op.components)
    window = ConvWindow(name, window_of(w), *options)
    check_channels(name, x, w, window.groups, op.components)
    y = op(window)(x, w) if issubclass(op, ConvTranspose) else _convolve(op, x, w, window)
    return add_bias(name, y, b)


def _convolve(op: type[Conv], x: Tensor, w: Tensor, window: ConvWindow) -> Tensor:
    """A convolution with any padding and dilation, (N, H, W, P) -> (N, I, J, Q)."""
    window.out_size(x.shape)  # raises, if none fits
    (s, t), dilation = window.stride, window.dilation
    if window.padding_mode != "zeros" or dilation != (1, 1):
        widths = (0, 0), (window.padding[0],) * 2, (window.padding[1],) * 2, (0, 0)
        x = pad(x, widths, mode=window.padding_mode)  # (N, H, W, P) -> (N, H + 2 pad, ..., P)
        window = replace(window, padding=(0, 0))
    if dilation == (1, 1):
        return op(window)(x, w)
    plain = replace(window, stride=(1, 1), dilation=(1, 1))
    return _dilated(op(plain), x, w, dilation)[:, ::s, ::t]


def _dilated(conv: Conv, x: Tensor, w: Tensor, dilation: Pair) -> Tensor:
    """A convolution whose window takes every d-th pixel, from convolutions that take every pixel.

    All pixels that one output sees have the same row and the same column modulo d. So each phase of
    x is a map without dilation, and all phases are images of one batch. The caller applies strides.
    """
    (N, H, W, C), (U, V), (d, e) = x.shape, window_of(w), dilation
    x = pad(x, ((0, 0), (0, -H % d), (0, -W % e), (0, 0)))  # whole phases: (N, d h, e v, C)
    h, v = x.shape[1] // d, x.shape[2] // e
    phases = x.reshape(N, h, d, v, e, C).transpose(2, 4, 0, 1, 3, 5)  # (d, e, N, h, v, C)
    y = conv(phases.reshape(d * e * N, h, v, C), w)  # -> (d e N, i, j, Q)
    i, j, Q = y.shape[1:]
    y = y.reshape(d, e, N, i, j, Q).transpose(2, 3, 0, 4, 1, 5)  # (N, i, d, j, e, Q)
    y = y.reshape(N, i * d, j * e, Q)
    return y[:, : H - d * (U - 1), : W - e * (V - 1)]  # without the outputs of the padding


# ---------------------------------------------------------------------------------- groups


def split(x: Array, groups: int, components: int = 1) -> list[Array]:
    """The last axis of x (..., components groups P), cut into arrays (..., components P)."""
    return [x] if groups == 1 else list(call(_split, x, groups, components))


def _split(x: Array, groups: int, components: int) -> tuple[Array, ...]:
    *lead, C = x.shape
    blocks = x.reshape(*lead, components, groups, C // components // groups)
    # (..., components, groups, P) -> groups times (..., components P)
    return tuple(blocks[..., g, :].reshape(*lead, C // groups) for g in range(groups))


def join(parts: list[Array], components: int = 1) -> Array:
    """The inverse of `split`."""
    return parts[0] if len(parts) == 1 else call(_join, parts, components)


def _join(parts: list[Array], components: int) -> Array:
    *lead, C = parts[0].shape
    blocks = [part.reshape(*lead, components, C // components) for part in parts]
    # groups times (..., components, P) -> (..., components, groups, P) -> (..., C groups)
    return array_module(*parts).stack(blocks, axis=-2).reshape(*lead, C * len(parts))
