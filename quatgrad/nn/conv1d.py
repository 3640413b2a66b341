"""Convolutions over time: `Conv2d` of one row. Channel counts are real ones."""

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.nn.conv import Conv2d
from quatgrad.nn.init import Initialiser, xavier_components
from quatgrad.random import Source


class Conv1d(Conv2d):
    """y[n,t,q] = sum_vp x[n, t + d (v - before), p] w[0,v,p,q] + b[q], as many steps as x has.

    x (N, T, P) -> y (N, T, Q), w (1, V, P, Q). before is V - 1 if `causal`: no step sees a later
    one; else (V - 1) // 2. Outside the sequence there are zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        causal: bool = False,
        bias: bool = True,
        *,
        rng: Source,
        init: Initialiser | None = None,
    ):
        moves = 1, 0, (1, dilation), 1, "zeros"  # stride, padding, dilation, groups
        self.start(in_channels, out_channels, bias, rng, init, (1, kernel_size), *moves)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x with w, plus b."""
        return ops.conv1d(x, self.weight, self.bias, self.window.dilation[1], self.causal)


class QConv1d(Conv1d):
    """`Conv1d` of quaternions: x (N, T, 4P) -> y (N, T, 4Q), w (4, 1, V, P, Q)."""

    components = 4
    default_init = staticmethod(xavier_components)
