"""The plain reader of a plan: NumPy, each step as its formula. Slow, and right."""

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quatgrad.arrays import Array
from quatgrad.kernels.reference import Pair
from quatgrad.kernels.reference.quaternion import expand
from quatgrad.sparse.steps import (
    INPUT,
    Channelwise,
    Layer,
    MaxPool,
    Move,
    Pointwise,
    Product,
    Step,
    Steps,
    Taps,
)

Maps = dict[int, Array]
Readers = dict[type[Step], Callable[..., Array]]


def run(steps: Steps, images: Array, readers: Readers | None = None) -> Array:
    """Logits (N, K) of images (N, H, W, C); readers: what computes a step of each type."""
    readers = readers or READERS
    N = len(images)
    maps: Maps = {INPUT: images.reshape(N, *steps.shapes[INPUT])}
    for m, constant in steps.constants.items():
        maps[m] = np.broadcast_to(constant, (N, *steps.shapes[m]))
    for step in steps.steps:
        maps[step.y] = readers[type(step)](step, maps).reshape(N, *steps.shapes[step.y])
    return maps[steps.output].reshape(N, -1)


def windows(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """All windows of maps (N, H, W, C): (N, I, J, U, V, C), a view."""
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    y = sliding_window_view(x, size, axis=(1, 2))
    return np.moveaxis(y[:, :: stride[0], :: stride[1]], 3, -1)


def _layer(step: Layer, maps: Maps) -> Array:
    w = np.where(step.alive, step.weight, np.float32(0))
    W = expand(w) if step.components == 4 else w[0]  # (U, V, P, Q), real
    x = windows(maps[step.x], step.window, step.stride, step.padding)
    return _store(step, np.einsum("nijuvp,uvpq->nijq", x, W, optimize=True), maps)


def _channelwise(step: Channelwise, maps: Maps) -> Array:
    x = windows(maps[step.x], step.window, step.stride, step.padding)
    return _store(step, np.einsum("nijuvc,uvc->nijc", x, step.weight), maps)


def _store(step: Taps, y: Array, maps: Maps) -> Array:
    y = y if step.scale is None else y * step.scale
    y = y + step.shift
    y = y if step.residual is None else y + maps[step.residual].reshape(y.shape)
    return np.maximum(y, 0) if step.relu else y


def _max_pool(step: MaxPool, maps: Maps) -> Array:
    x = windows(maps[step.x], step.window, step.stride, (0, 0))
    x = x.reshape(*x.shape[:3], -1, x.shape[-1])  # (N, I, J, U V, C)
    if not step.quaternions:
        return x.max(axis=3)
    q = x.reshape(*x.shape[:-1], 4, -1)  # (N, I, J, U V, 4, Q)
    longest = (q * q).sum(axis=4).argmax(axis=3)  # (N, I, J, Q)
    return np.take_along_axis(q, longest[:, :, :, None, None, :], axis=3)


def _move(step: Move, maps: Maps) -> Array:
    N = len(maps[INPUT])
    if not step.sources:  # nothing but padding
        return np.zeros((N, step.index.size), maps[INPUT].dtype)
    x = np.concatenate([maps[m].reshape(N, -1) for m in step.sources], axis=1)
    return np.where(step.index < 0, x.dtype.type(0), x[:, step.index])


def _pointwise(step: Pointwise, maps: Maps) -> Array:
    return FUNCTIONS[step.function](maps[step.x], *step.numbers)


def _product(step: Product, maps: Maps) -> Array:
    return maps[step.x] * maps[step.other]


READERS: Readers = {
    Layer: _layer,
    Channelwise: _channelwise,
    MaxPool: _max_pool,
    Move: _move,
    Pointwise: _pointwise,
    Product: _product,
}


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.abs(x))) * np.where(x < 0, np.exp(-np.abs(x)), 1)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x * math.sqrt(0.5)))


def _modrelu(x: Array, *bias: np.float32) -> Array:
    q = x.reshape(*x.shape[:-1], 4, -1)  # (..., 4Q) -> (..., 4, Q)
    length = np.sqrt((q * q).sum(axis=-2))
    gain = np.maximum(length + np.array(bias), 0) / np.where(length == 0, 1, length)
    return (q * gain[..., None, :]).reshape(x.shape)


#: What stands for a number of each entry; `numbers` after it.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "clip": lambda x, low, high: np.clip(x, low, high),
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "gelu": _gelu,
    "modrelu": _modrelu,
}
