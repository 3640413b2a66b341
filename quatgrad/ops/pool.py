"""Pooling over windows of channels-last maps (N, H, W, C)."""

from quatgrad.arrays import array_module
from quatgrad.autograd import Function, Tensor
from quatgrad.errors import OptionError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.conv_shapes import ConvWindow, Size
from quatgrad.ops.reduce import mean
from quatgrad.quaternion import as_quaternions, norm


class Pool(Function):
    """What the poolings share: window, stride and padding."""

    def __init__(self, size: Size, stride: Size | None, padding: Size):
        window = ConvWindow(str(self), size, size if stride is None else stride, padding)  # type: ignore[arg-type]
        self.window, self.how = window, (window.size, *window.moves)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise for maps or windows that do not fit."""
        self.window.out_size(shape)
        size, _, padding = self.how
        if 2 * padding[0] > size[0] or 2 * padding[1] > size[1]:
            raise OptionError(
                f"{self}: padding is at most half of the window, so that each window meets the "
                f"map; got window {size}, padding {padding}"
            )


class MaxPool(Pool):
    """y[n,i,j,c] = max_uv x[n, i s + u - pad, j s + v - pad, c]; g goes to the (first) winner."""

    noted_inside = True

    def forward(self, x):
        self.check(x.shape)
        y, winner = kernel("max_pool")(x, *self.how)
        self.save_for_backward(winner)
        return y

    def backward(self, g):
        (winner,) = self.saved
        return kernel("max_pool_dx")(g, winner, self.shapes[0], *self.how)


class AvgPool(Pool):
    """y[n,i,j,c] = mean_uv x[n, i s + u - pad, j s + v - pad, c]; padding counts as zeros."""

    noted_inside = True

    def forward(self, x):
        self.check(x.shape)
        return kernel("avg_pool")(x, *self.how)

    def backward(self, g):
        return kernel("avg_pool_dx")(g, self.shapes[0], *self.how)


class QuaternionMaxPool(MaxPool):
    """y[n,i,j] = x at the pixel of the window where |x| is largest (the first); g goes there."""

    noted_inside = False

    def forward(self, x):
        self.check(x.shape)
        xp = array_module(x)
        length = norm(as_quaternions(x))  # (N, H, W, 4Q) -> (N, H, W, Q)
        _, winner = kernel("max_pool")(length, *self.how)  # (N, I, J, Q), pixels of the window
        winner = xp.concatenate([winner] * 4, axis=-1)  # (N, I, J, 4Q): all four components
        self.save_for_backward(winner)
        (_, V), stride, padding = self.how
        n, i, j, c = xp.ogrid[tuple(slice(size) for size in winner.shape)]
        row, column = winner // V - padding[0], winner % V - padding[1]
        return x[n, i * stride[0] + row, j * stride[1] + column, c]


def max_pool2d(x: Tensor, size: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """y = largest entry of each window, by channel; stride: the window's size unless given."""
    return MaxPool(size, stride, padding)(x)


def quaternion_max_pool2d(
    x: Tensor, size: Size, stride: Size | None = None, padding: Size = 0
) -> Tensor:
    """y = the quaternion of largest |q| in each window, whole; the first of equals.

    x (N, H, W, 4Q) in component blocks -> y (N, I, J, 4Q). It commutes with x -> u x, |u| = 1;
    `max_pool2d`, component by component, makes quaternions that were not there.
    """
    return QuaternionMaxPool(size, stride, padding)(x)


def avg_pool2d(x: Tensor, size: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """y = mean of each window, by channel; stride: the window's size unless given."""
    return AvgPool(size, stride, padding)(x)


def global_avg_pool2d(x: Tensor) -> Tensor:
    """y[n,c] = mean_ij x[n,i,j,c]: (N, H, W, C) -> (N, C)."""
    return mean(x, axis=(1, 2))
