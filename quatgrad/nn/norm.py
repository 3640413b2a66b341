"""Batch normalization, over every axis but the last. Three kinds suit quaternions (..., 4Q):

BatchNorm2d      "split": each component of each quaternion by itself, as the paper does
QVarianceNorm2d  one variance for each quaternion: its components keep their proportions
QBatchNorm2d     whitening: the four components become uncorrelated
"""

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.nn.features import quaternions, reals
from quatgrad.nn.module import Buffer, Module
from quatgrad.scalars import number

#: Γ[b, c] of a symmetric matrix -> the row of its ten numbers.
SYMMETRIC = [[0, 1, 2, 3], [1, 4, 5, 6], [2, 5, 7, 8], [3, 6, 8, 9]]


class BatchNorm2d(Module):
    """y = scale (x - mean) / sqrt(var + eps) + shift for each channel of x (..., C).

    Training uses the batch's statistics and moves the running ones towards them by `momentum`;
    evaluation uses the running ones. Ioffe & Szegedy, arXiv:1502.03167.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        (channels,) = reals(type(self).__name__, channels)
        self.momentum, self.eps = number(momentum, "momentum"), number(eps, "eps")
        self.scale = Parameter(np.ones(channels, np.float32))
        self.shift = Parameter(np.zeros(channels, np.float32))
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        stats, options = (self.running_mean, self.running_var), (self.momentum, self.eps)
        return ops.batch_norm(x, self.scale, self.shift, *stats, self.training, *options)

    def extra_repr(self) -> str:
        """Number of channels."""
        return str(self.shift.size)


class QVarianceNorm2d(BatchNorm2d):
    """y = scale (x - mean) / sqrt(var + eps) + shift, var = E |x - mean|^2 of a quaternion.

    x (..., 4Q), scale and var (Q,), shift and mean (4Q,). E |y|^2 starts at 1, a variance of 1/4
    in each component. Modes as in `BatchNorm2d`.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__(channels, momentum, eps)
        (Q,) = quaternions("QVarianceNorm2d", channels)
        self.scale = Parameter(np.ones(Q, np.float32))
        self.running_var = Buffer(np.ones(Q, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        stats, options = (self.running_mean, self.running_var), (self.momentum, self.eps)
        return ops.variance_norm(x, self.scale, self.shift, *stats, self.training, *options)


class QBatchNorm2d(Module):
    """y = Γ (V + eps I)^(-1/2) (x - mean) + shift: whitens the quaternions of x (..., 4Q).

    V is the 4 x 4 covariance of a quaternion's components, and y has Γ Γ^T; Γ is symmetric,
    its ten numbers for each quaternion are `scale` (10 Q,), and starts at I / 2: E |y|^2 = 1.
    Modes as in `BatchNorm2d`, formulas and sources in `ops.whitening_norm`.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        (Q,) = quaternions("QBatchNorm2d", channels)
        self.momentum, self.eps = number(momentum, "momentum"), number(eps, "eps")
        half = np.zeros((10, Q), np.float32)
        half[[0, 4, 7, 9]] = 0.5
        self.scale = Parameter(half.reshape(-1))  # one axis, as all that is not a weight
        self.shift = Parameter(np.zeros(4 * Q, np.float32))
        self.running_mean = Buffer(np.zeros(4 * Q, np.float32))
        self.running_cov = Buffer(np.tile(np.eye(4, dtype=np.float32), (Q, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """The whitened x."""
        gamma = self.scale.reshape(10, -1)[SYMMETRIC]  # (10 Q,) -> (10, Q) -> (4, 4, Q)
        stats, options = (self.running_mean, self.running_cov), (self.momentum, self.eps)
        return ops.whitening_norm(x, gamma, self.shift, *stats, self.training, *options)

    def extra_repr(self) -> str:
        """Number of channels."""
        return str(self.shift.size)
