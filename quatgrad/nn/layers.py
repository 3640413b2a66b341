"""Layers. Feature counts are real ones: QConv2d(64, 128) maps 16 quaternions to 32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import ShapeError
from quatgrad.nn import init
from quatgrad.nn.module import Buffer, Module
from quatgrad.ops.conv import pair

Size = int | tuple[int, int]


class Linear(Module):
    """y = x w + b; x (..., P) -> y (..., Q), w (P, Q), b (Q,) starting at 0."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: init.Initialiser = init.xavier,
    ):
        self.weight = Parameter(init(rng, (in_features, out_features)))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x w + b."""
        return ops.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """Features and bias."""
        return f"{self.weight.shape[0]} -> {self.weight.shape[1]}{_bias(self)}"


class QLinear(Module):
    """y_q = sum_p w_pq x_p + b_q with quaternions; x (..., 4P) -> y (..., 4Q), w (4, P, Q).

    A quarter of the weights of `Linear` with the same features. The bias is real, (4Q,): one
    quaternion for each output. Source: "Large Neural Networks at a Fraction", Figure 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: init.Initialiser = init.xavier_components,
    ):
        P, Q = quaternions("QLinear", in_features, out_features)
        self.weight = Parameter(init(rng, (4, P, Q)), components=4)
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """w x + b, weight on the left."""
        return ops.hamilton_linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """Features and bias."""
        _, P, Q = self.weight.shape
        return f"{4 * P} -> {4 * Q}{_bias(self)}"


class Conv2d(Module):
    """y[n,i,j,q] = sum_uvp x[n, i s + u - pad, j s + v - pad, p] w[u,v,p,q] + b[q].

    x (N, H, W, P) -> y (N, I, J, Q), w (U, V, P, Q), I = (H + 2 pad - U) // s + 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: init.Initialiser = init.xavier,
    ):
        self.stride, self.padding = pair(stride), pair(padding)
        self.weight = Parameter(init(rng, (*pair(size), in_channels, out_channels)))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x with w, plus b."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def describe(self) -> str:
        """Channels, window, stride, padding and bias."""
        U, V, P, Q = self.weight.shape
        return f"{P} -> {Q}, {U}x{V}{_window(self)}{_bias(self)}"


class QConv2d(Module):
    """y_q = sum_uvp w_uvpq x_p + b_q with quaternions: `Conv2d` with a quarter of the weights.

    x (N, H, W, 4P) in component blocks [1 | i | j | k] -> y (N, I, J, 4Q), w (4, U, V, P, Q).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: init.Initialiser = init.xavier_components,
    ):
        P, Q = quaternions("QConv2d", in_channels, out_channels)
        self.stride, self.padding = pair(stride), pair(padding)
        self.weight = Parameter(init(rng, (4, *pair(size), P, Q)), components=4)
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The quaternion convolution of x with w, plus b."""
        return ops.hamilton_conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def describe(self) -> str:
        """Channels, window, stride, padding and bias."""
        _, U, V, P, Q = self.weight.shape
        return f"{4 * P} -> {4 * Q}, {U}x{V}{_window(self)}{_bias(self)}"


class BatchNorm2d(Module):
    """y = scale (x - mean) / sqrt(var + eps) + shift for each channel of x (..., C).

    Training uses the batch's statistics and moves the running ones towards them by `momentum`;
    evaluation uses the running ones. Ioffe & Szegedy, arXiv:1502.03167.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        self.momentum, self.eps = momentum, eps
        self.scale = Parameter(np.ones(channels, np.float32))
        self.shift = Parameter(np.zeros(channels, np.float32))
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        return ops.batch_norm(
            x, self.scale, self.shift, self.running_mean, self.running_var,
            self.training, self.momentum, self.eps,
        )  # fmt: skip

    def describe(self) -> str:
        """Number of channels."""
        return str(self.scale.size)


class Sequential(Module):
    """y = f_n(... f_2(f_1(x)))."""

    def __init__(self, *modules: Module):
        self.modules = list(modules)

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """Its modules, named by number; then what a subclass adds."""
        return ((name.removeprefix("modules."), member) for name, member in super().members())

    def forward(self, x: Tensor) -> Tensor:
        """Each module on the output of the one before."""
        for module in self.modules:
            x = module(x)
        return x


class LearnedEncoder(Sequential):
    """Makes a quaternion of each pixel of a C-channel image by learning: 3x3 conv to 4 channels,
    batch norm; x (N, H, W, C) -> y (N, H, W, 4). After Gaudet & Maida, arXiv:1712.04604.
    """

    def __init__(self, in_channels: int, *, rng: np.random.Generator):
        super().__init__(Conv2d(in_channels, 4, 3, padding=1, bias=False, rng=rng), BatchNorm2d(4))


class Dropout(Module):
    """y = x m / (1 - p) in training, m = 0 with probability p, else 1; y = x in evaluation."""

    def __init__(self, p: float, *, rng: np.random.Generator):
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        """x with entries dropped."""
        return ops.dropout(x, self.p, self.rng, self.training)

    def describe(self) -> str:
        """Share of entries dropped."""
        return f"p={self.p}"


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return ops.relu(x)


class MaxPool2d(Module):
    """y[n,i,j,c] = max over a window of x (N, H, W, C); stride: the window's size unless given."""

    def __init__(self, size: Size, stride: Size | None = None, padding: Size = 0):
        self.size, self.padding = size, padding
        self.stride = size if stride is None else stride

    def forward(self, x: Tensor) -> Tensor:
        """Largest entry of each window."""
        return ops.max_pool2d(x, self.size, self.stride, self.padding)

    def describe(self) -> str:
        """Window."""
        return f"{self.size}"


class AvgPool2d(MaxPool2d):
    """y[n,i,j,c] = mean over a window of x (N, H, W, C); stride: the window's size unless given."""

    def forward(self, x: Tensor) -> Tensor:
        """Mean of each window."""
        return ops.avg_pool2d(x, self.size, self.stride, self.padding)


class GlobalAvgPool2d(Module):
    """y[n,c] = mean_ij x[n,i,j,c]."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, C)."""
        return ops.global_avg_pool2d(x)


class Flatten(Module):
    """Maps (N, H, W, 4Q) as vectors (N, 4 H W Q) that keep the component blocks [1 | i | j | k].

    Plain row-major order would scatter the components; a real network does not mind this order.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Component a of quaternion (h, w, q) goes to entry (a, h, w, q)."""
        N, H, W, C = x.shape
        blocks = x.reshape(N, H, W, 4, C // 4) if C % 4 == 0 else x.reshape(N, H, W, 1, C)
        return ops.flatten(ops.transpose(blocks, 0, 3, 1, 2, 4))


def quaternions(layer: str, *features: int) -> list[int]:
    """Numbers of quaternions in numbers of real features, or `ShapeError` if 4 does not divide."""
    for n in features:
        if n % 4 or n < 4:
            raise ShapeError(
                f"{layer}: a quaternion takes 4 real features, so their number must be a "
                f"multiple of 4; got {features[0]} -> {features[1]}"
            )
    return [n // 4 for n in features]


def _bias(layer: Module) -> str:
    return "" if vars(layer)["bias"] is not None else ", no bias"


def _window(layer: Conv2d | QConv2d) -> str:
    stride = "" if layer.stride == (1, 1) else f", stride {layer.stride[0]}"
    return stride + ("" if layer.padding == (0, 0) else f", padding {layer.padding[0]}")
