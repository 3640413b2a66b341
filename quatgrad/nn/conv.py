"""Convolutions. Channel counts are real ones: QConv2d(64, 128, 3) maps 16 quaternions to 32."""

from typing import Any

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.nn import init
from quatgrad.nn.features import quaternions, reals, without_bias, zeros
from quatgrad.nn.init import unit_quaternions
from quatgrad.nn.module import Module
from quatgrad.ops.conv_shapes import ConvWindow, Size, check_groups
from quatgrad.random import Source, as_generator


class Convolution(Module):
    """What convolutions share: weight (U, V, P / groups, Q), bias, and how the window moves.

    A subclass sets the number of components of a channel, and computes. Errors: `OptionError` for
    options that fit no map, `ShapeError` for channels that do not make quaternions.
    """

    components = 1
    default_init = staticmethod(init.xavier)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        *,
        rng: Source,
        init: init.Initialiser | None = None,
    ):
        options = kernel_size, stride, padding, dilation, groups, padding_mode
        self.start(in_channels, out_channels, bias, rng, init, *options)

    def start(
        self, P: int, Q: int, bias: bool, rng: Source, init: init.Initialiser | None, *options: Any
    ) -> None:
        """Draw the weight for P real channels in and Q out; the bias starts at 0."""
        window = ConvWindow(type(self).__name__, *options)
        lead = (4,) if self.components == 4 else ()
        p, q = (quaternions if lead else reals)(window.op, P, Q)
        check_groups(window.op, window.groups, p, q)
        rng = as_generator(rng, "weights")
        weight = (init or self.default_init)(rng, (*lead, *window.size, p // window.groups, q))
        self.window, self.weight = window, Parameter(weight, components=self.components)
        self.bias = zeros(Q) if bias else None

    def extra_repr(self) -> str:
        """Channels, window and bias, and the options that are not as usual."""
        *_, U, V, P, Q = self.weight.shape
        window = self.window
        text = f"{self.components * window.groups * P} -> {self.components * Q}, {U}x{V}"
        for name, usual in (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)):
            rows, columns = getattr(window, name)
            if (rows, columns) != (usual, usual):
                text += f", {name} {rows if rows == columns else (rows, columns)}"
        text += f", {window.groups} groups" if window.groups > 1 else ""
        text += f", {window.padding_mode}" if window.padding_mode != "zeros" else ""
        return text + without_bias(self)


class Conv2d(Convolution):
    """y[n,i,j,q] = sum_uvp x[n, i s + u d - pad, j s + v d - pad, p] w[u,v,p,q] + b[q].

    x (N, H, W, P) -> y (N, I, J, Q), w (U, V, P / groups, Q),
    I = (H + 2 pad - d (U - 1) - 1) // s + 1. `padding_mode` is "zeros", "reflect", "replicate"
    or "circular". With groups, block g of the outputs sees block g of the inputs alone. A
    dilated convolution computes all outputs of stride 1, and keeps those of stride s.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x with w, plus b."""
        return self.product(x, self.bias)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """With this bias, or none."""
        return ops.conv2d(x, self.weight, bias, *self.window.options)


class QConv2d(Conv2d):
    """y_q = sum_uvp w_uvpq x_p + b_q with quaternions: `Conv2d` with a quarter of the weights.

    x (N, H, W, 4P) in component blocks [1 | i | j | k] -> y (N, I, J, 4Q),
    w (4, U, V, P / groups, Q). A group has the g-th block of every component: whole quaternions.
    """

    components = 4
    default_init = staticmethod(init.xavier_components)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """The quaternion convolution of x with w, plus b."""
        return ops.hamilton_conv2d(x, self.weight, bias, *self.window.options)


class ConvTranspose2d(Convolution):
    """y[n, i s + u - pad, j s + v - pad, q] = the sum of all x[n,i,j,p] w[u,v,p,q] + b[q].

    x (N, I, J, P) -> y (N, H, W, Q), w (U, V, P / groups, Q),
    H = s (I - 1) + U - 2 pad + output_padding: the adjoint of a convolution from Q to P channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        output_padding: Size = 0,
        groups: int = 1,
        *,
        rng: Source,
        init: init.Initialiser | None = None,
    ):
        options = kernel_size, stride, padding, 1, groups, "zeros", output_padding
        self.start(in_channels, out_channels, bias, rng, init, *options)

    def forward(self, x: Tensor) -> Tensor:
        """Every pixel of x sends w to a window of y."""
        return ops.conv_transpose2d(x, self.weight, self.bias, *self.window.transposed_options)


class QConvTranspose2d(ConvTranspose2d):
    """`ConvTranspose2d` with quaternions, y = w x: the weight on the left and not conjugated.

    x (N, I, J, 4P) -> y (N, H, W, 4Q), w (4, U, V, P / groups, Q). It is the adjoint of the
    `QConv2d` from Q to P quaternions with the weight conj(w).
    """

    components = 4
    default_init = staticmethod(init.xavier_components)

    def forward(self, x: Tensor) -> Tensor:
        """Every pixel of x sends w x to a window of y."""
        options = self.window.transposed_options
        return ops.hamilton_conv_transpose2d(x, self.weight, self.bias, *options)


class RotationConv2d(Convolution):
    """y_q = sum_uvp s_uvpq w_uvpq x_p w_uvpq^-1 + b_q: `RotationLinear` in a window.

    x (N, H, W, 4P) -> y (N, I, J, 4Q), w (4, U, V, P, Q), s (U, V, P, Q). `init` draws s.
    """

    components = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        rng: Source,
        init: init.Initialiser = init.xavier,
    ):
        options, rng = (
            (kernel_size, stride, padding, dilation, 1, padding_mode),
            as_generator(rng, "weights"),
        )
        self.start(in_channels, out_channels, bias, rng, unit_quaternions, *options)
        self.scale = Parameter(init(rng, self.weight.shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution whose products are rotations, plus b."""
        window = self.window
        options = *window.moves, window.dilation, window.padding_mode
        return ops.rotation_conv2d(x, self.weight, self.scale, self.bias, *options)
