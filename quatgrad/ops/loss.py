"""Losses: means over the batch."""

import math
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.scalars import number


class CrossEntropy(Function):
    """L = -1/N sum_nk t[n,k] ln softmax(z)[n,k]; dz = (softmax(z) - t) / N."""

    def __init__(self, labels: Array, smoothing: float):
        self.labels, self.smoothing = labels, smoothing

    def forward(self, z):
        if array_module(z) is np:  # on a GPU, reading them would mean waiting for it
            _check_range(self.labels, z.shape[1])
        L, log_p = kernel("cross_entropy")(z, self.labels, self.smoothing)  # (N, K) -> (), (N, K)
        self.save_for_backward(log_p, self.labels.copy())  # who gave them may overwrite them
        return L

    def backward(self, g):
        return kernel("cross_entropy_dz")(*self.saved, self.smoothing, g)


class MSE(Function):
    """L = mean (x - y)^2, NaN of nothing; dx = 2 (x - y) / M, dy = -dx."""

    numpy_checks_shapes = True

    def forward(self, x, y):
        d = x - y
        self.save_for_backward(d)
        return kernel("sum_over")(d * d, None) / (d.size or math.nan)

    def backward(self, g):
        (d,) = self.saved
        dx = d * (g * (2 / max(d.size, 1)))
        return dx, -dx


def cross_entropy(logits: Tensor, labels: Any, smoothing: float = 0.0) -> Tensor:
    """L = -1/N sum_nk t[n,k] ln softmax(logits)[n,k], t = (1 - smoothing) onehot + smoothing / K.

    logits (N, K), labels N integers in 0..K-1 -> a number, NaN for N = 0. Before training, L = ln K
    is what a network that favours no class gives.
    """
    (logits,), smoothing = as_tensors("cross_entropy", logits), number(smoothing, "smoothing")
    if logits.ndim != 2:
        raise ShapeError(f"cross_entropy: logits are (N, classes); got shape {logits.shape}")
    if not 0 <= smoothing < 1:
        raise OptionError(f"cross_entropy: smoothing is in [0, 1); got {smoothing}")
    N, K = logits.shape
    if not N:
        return logits.sum() * math.nan
    labels = np.asarray(labels) if array_module(labels) is np else labels
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"cross_entropy: {N} rows of logits want {N} integer labels; "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if (there := asarray(labels)) is not labels:
        _check_range(labels, K)  # here, where they can be read
    return CrossEntropy(there, smoothing)(logits)


def _check_range(labels: Array, K: int) -> None:
    """Raise `DataError` unless they are classes from 0 to K - 1."""
    if labels.min() < 0 or labels.max() >= K:
        n = int(np.argmax((labels < 0) | (labels >= K)))
        raise DataError(
            f"cross_entropy: label {labels[n]} at position {n} is out of range: "
            f"there are {K} classes, 0 to {K - 1}"
        )


def mse_loss(x: Tensor, y: Any) -> Tensor:
    """L = mean (x - y)^2 over all entries; x and y of one shape."""
    x, y = as_tensors("mse_loss", x, y)
    if x.shape != y.shape:
        raise ShapeError(f"mse_loss: x of shape {x.shape} and y of shape {y.shape} must agree")
    return MSE()(x, y)
