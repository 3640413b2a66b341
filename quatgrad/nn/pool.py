"""Pooling over windows of maps (N, H, W, C)."""

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.nn.module import Module
from quatgrad.ops.conv_shapes import Size


class MaxPool2d(Module):
    """y[n,i,j,c] = max over a window of x (N, H, W, C); stride: the window's size unless given."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        self.size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Tensor) -> Tensor:
        """Largest entry of each window."""
        return ops.max_pool2d(x, self.size, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Window, and stride and padding where they are not as usual."""
        stride = "" if self.stride == self.size else f", stride {self.stride}"
        return f"{self.size}{stride}" + (f", padding {self.padding}" if self.padding else "")


class AvgPool2d(MaxPool2d):
    """y[n,i,j,c] = mean over a window of x (N, H, W, C); stride: the window's size unless given."""

    def forward(self, x: Tensor) -> Tensor:
        """Mean of each window."""
        return ops.avg_pool2d(x, self.size, self.stride, self.padding)


class QMaxPool2d(MaxPool2d):
    """y[n,i,j,q] = the quaternion x of largest |x| in a window of x (N, H, W, 4Q), whole.

    Equal lengths: the first. Commutes with x -> u x for |u| = 1, as `MaxPool2d` does not.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Longest quaternion of each window."""
        return ops.quaternion_max_pool2d(x, self.size, self.stride, self.padding)


class GlobalAvgPool2d(Module):
    """y[n,c] = mean_ij x[n,i,j,c]."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, C)."""
        return ops.global_avg_pool2d(x)
