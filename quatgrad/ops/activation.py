"""Elementwise non-linearities, softmax and dropout.

On a quaternion map they act on each component by itself ("split" activations), as in the paper.
"""

import numpy as np

from quatgrad.arrays import Array, array_module, asarray, special
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.arithmetic import FromOutput
from quatgrad.quaternion import norm
from quatgrad.random import Source, as_generator
from quatgrad.scalars import integer, number


class ReLU(FromOutput):
    """y = max(x, 0); dy/dx = 1 for x > 0, else 0."""

    owns_grads = noted_inside = True

    def value(self, x):
        return kernel("relu")(x)

    def dx(self, g, y):
        return kernel("relu_dx")(g, y)


class BiasReLU(Function):
    """y = max(x + b, 0); dx = g where y > 0, else 0, db = sum dx. y takes the memory of x."""

    owns_grads = noted_inside = True

    def forward(self, x, b):
        if b.shape != x.shape[-1:]:
            raise ShapeError(f"{self}: a bias (C,) for x (..., C); got {b.shape} and {x.shape}")
        y = kernel("bias_relu")(x, b)
        self.save_for_backward(y)
        return y

    def backward(self, g):
        return kernel("bias_relu_dx")(g, *self.saved)


class LeakyReLU(Function):
    """y = x for x > 0, else slope x."""

    def __init__(self, slope: float):
        self.slope = slope

    def forward(self, x):
        self.save_for_backward(x > 0)
        return array_module(x).where(x > 0, x, self.slope * x)

    def backward(self, g):
        (positive,) = self.saved
        return array_module(g).where(positive, g, self.slope * g)


class GELU(Function):
    """y = x P(Z <= x) for Z normal; dy/dx = P(Z <= x) + x e^(-x^2/2) / sqrt(2 pi)."""

    owns_grads = noted_inside = True

    def forward(self, x):
        self.save_for_backward(x)
        return kernel("gelu")(x)

    def backward(self, g):
        return kernel("gelu_dx")(g, *self.saved)


class Sigmoid(FromOutput):
    """y = 1 / (1 + e^-x); dy/dx = y (1 - y)."""

    def value(self, x):
        return special(x).expit(x)  # neither overflows nor rounds small values to 0

    def dx(self, g, y):
        return g * y * (1 - y)


class Tanh(FromOutput):
    """y = tanh x; dy/dx = 1 - y^2."""

    def value(self, x):
        return array_module(x).tanh(x)

    def dx(self, g, y):
        return g * (1 - y * y)


class Softmax(FromOutput):
    """y_i = e^x_i / sum_k e^x_k along an axis; dx = y (g - sum g y)."""

    numpy_checks_shapes = True

    def __init__(self, axis: int):
        self.axis = axis

    def value(self, x):
        if not x.size:  # there is no largest
            return x.copy()
        e = array_module(x).exp(x - x.max(axis=self.axis, keepdims=True))
        return e / kernel("sum_over")(e, self.axis, keepdims=True)

    def dx(self, g, y):
        return y * (g - kernel("sum_over")(g * y, self.axis, keepdims=True))


class ModReLU(Function):
    """y = x max(|x| + b, 0) / |x| for quaternions x; along x dy/dx = 1, across it |y| / |x|.

    dx = |y|/|x| g + (1 - |y|/|x|) u (u . g) with u = x / |x|, db = sum u . g, both 0 where y = 0.
    """

    def forward(self, x, b):
        *lead, C = x.shape
        x = x.reshape(*lead, 4, C // 4)  # (..., 4Q) -> (..., 4, Q)
        length = norm(x.swapaxes(-1, -2))  # (..., Q)
        safe = length + (length == 0)
        active = (length > 0) & (length + b > 0)
        gain = array_module(x).where(active, 1 + b / safe, 0).astype(x.dtype, copy=False)
        self.save_for_backward(x / safe[..., None, :], gain, active[..., None, :])
        return (x * gain[..., None, :]).reshape(*lead, C)  # (..., 4, Q) -> (..., 4Q)

    def backward(self, g):
        u, gain, active = self.saved
        g = array_module(g).where(active, g.reshape(u.shape), 0)
        u = array_module(g).where(active, u, 0)
        along = (u * g).sum(axis=-2)  # (..., 4, Q) -> (..., Q)
        dx = gain[..., None, :] * g + u * ((1 - gain) * along)[..., None, :]
        db = kernel("sum_over")(along, tuple(range(along.ndim - 1)))  # (..., Q) -> (Q,)
        return dx.reshape(self.shapes[0]), db


class Dropout(Function):
    """y = x / (1 - p) where an entry is kept, else 0; dx = g / (1 - p) there, else 0."""

    owns_grads = True

    def __init__(self, keep: Array, p: float):
        self.keep, self.p = keep, p

    def forward(self, x):
        return kernel("dropout")(x, self.keep, self.p)

    backward = forward


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0)."""
    return ReLU()(x)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """y = x for x > 0, else slope x."""
    slope = number(slope, "leaky_relu: the slope")
    return LeakyReLU(slope)(x) if slope else relu(x)


def gelu(x: Tensor) -> Tensor:
    """y = x P(Z <= x) for Z normal (the exact form). Hendrycks & Gimpel, arXiv:1606.08415."""
    return GELU()(x)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)."""
    return Sigmoid()(x)


def tanh(x: Tensor) -> Tensor:
    """y = tanh x."""
    return Tanh()(x)


def modrelu(x: Tensor, b: Tensor) -> Tensor:
    """y = x max(|x| + b, 0) / |x|: shortens each quaternion by -b, and keeps its direction.

    x (..., 4Q) in component blocks, b (Q,) -> y (..., 4Q). At x = 0, where there is no direction,
    y and its gradients are 0. modrelu(u x) = u modrelu(x) for |u| = 1: unlike split activations
    it knows no preferred axes. Source: Arjovsky et al., arXiv:1511.06464.
    """
    x, b = as_tensors("modrelu", x, b)
    if x.ndim == 0 or b.ndim != 1 or x.shape[-1] != 4 * b.size:
        raise ShapeError(
            f"modrelu: a bias for each of the Q quaternions of x (..., 4Q); "
            f"got x of shape {x.shape} and b of shape {b.shape}"
        )
    return ModReLU()(x, b)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """y_i = e^x_i / sum_k e^x_k along the axis."""
    return Softmax(integer(axis, "softmax: the axis"))(x)


def dropout(x: Tensor, p: float, rng: Source, components: int = 1) -> Tensor:
    """y = x m / (1 - p) with m = 1 with probability 1 - p, else 0.

    With `components` = 4, whole quaternions of x (..., 4Q) are dropped: one m for all four
    components. The draws are made on the host by `rng`, a generator or a seed, so they do not
    depend on the backend.
    """
    p = number(p, "dropout: p")
    if not 0 <= p < 1:
        raise OptionError(f"dropout: p is the share of entries dropped, 0 <= p < 1; got {p}")
    if components > 1 and (x.ndim == 0 or x.shape[-1] % components):
        raise ShapeError(
            f"dropout: {components} component blocks do not fit into the last axis of {x.shape}"
        )
    if p == 0:
        return x
    # one draw for a number, or for a quaternion: (..., C) or (..., Q)
    shape = x.shape if components == 1 else (*x.shape[:-1], x.shape[-1] // components)
    keep = as_generator(rng, "dropout").random(shape, dtype=np.float32) >= p
    keep = keep if components == 1 else np.concatenate([keep] * components, axis=-1)
    return Dropout(asarray(keep), p)(x)
