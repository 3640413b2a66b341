"""Real linear layers and convolutions, on channels-last maps."""

from __future__ import annotations

from quatgrad.autograd import Function, Tensor
from quatgrad.backend import kernel
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.reference import Pair, out_size
from quatgrad.ops.arithmetic import matmul


class Conv(Function):
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q]."""

    name = "conv2d"
    window_axes = slice(0, 2)  # which axes of w are the window

    def __init__(self, stride: Pair, padding: Pair):
        self.stride, self.padding = stride, padding

    def forward(self, x, w):
        check_window(self.name, x.shape, w.shape[self.window_axes], self.stride, self.padding)
        self.save(x, w)
        return kernel(self.name)(x, w, self.stride, self.padding)

    def backward(self, g):
        x, w = self.saved
        how = self.stride, self.padding
        dx = kernel(f"{self.name}_dx")(g, w, x.shape, *how) if self.needs[0] else None
        size = w.shape[self.window_axes]
        dw = kernel(f"{self.name}_dw")(x, g, size, *how) if self.needs[1] else None
        return dx, dw


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """y = x w (+ b); x (..., P), w (P, Q), b (Q,) -> y (..., Q)."""
    check_channels("linear", x, w)
    y = matmul(x, w)
    return y if b is None else y + b


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
) -> Tensor:
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q] (+ b[q]).

    x (N, H, W, P), w (U, V, P, Q), b (Q,) -> y (N, I, J, Q), I = (H + 2 pad - U) // s + 1.
    """
    check_channels("conv2d", x, w)
    y = Conv(pair(stride), pair(padding))(x, w)
    return y if b is None else y + b


def pair(n: int | tuple[int, int]) -> Pair:
    """n for rows and columns alike, or (rows, columns)."""
    return (n, n) if isinstance(n, int) else (n[0], n[1])


def check_channels(op: str, x: Tensor, w: Tensor) -> None:
    """Raise `ShapeError` unless the last axis of x has the P entries that w (..., P, Q) takes."""
    expected, got = w.shape[-2], x.shape[-1] if x.ndim else 0
    if got != expected:
        raise ShapeError(
            f"{op}: the weight {w.shape} takes {expected} input channels; "
            f"the input of shape {x.shape} has {got}"
        )


def check_window(op: str, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> None:
    """Raise unless `shape` is (N, H, W, C) and at least one window fits into the padded map."""
    if len(shape) != 4:
        raise ShapeError(f"{op}: the input is (N, H, W, C), channels last; got shape {shape}")
    if min(*size, *stride) < 1 or min(padding) < 0:
        raise OptionError(
            f"{op}: window and stride are at least 1, padding at least 0; "
            f"got window {size}, stride {stride}, padding {padding}"
        )
    if min(out_size((shape[1], shape[2]), size, stride, padding)) < 1:
        raise ShapeError(
            f"{op}: a window of {size} does not fit into maps of {shape[1:3]} "
            f"with padding {padding}"
        )
