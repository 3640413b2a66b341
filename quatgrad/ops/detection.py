"""Losses of detection, from logits and box numbers: means over all entries."""

import math
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, asarray, real_array
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.scalars import number


class SmoothL1(Function):
    """L = mean w c (d - b c / 2), d = x - y, c = clip(d / b, -1, 1); dx = w c / M, dy = -dx.

    So d^2 / 2b for |d| < b, and |d| - b / 2 beyond.
    """

    def __init__(self, beta: float, weight: Array | None):
        self.beta, self.weight = beta, weight

    def forward(self, x, y):
        d = x - y
        c = array_module(d).clip(d / self.beta, -1, 1)
        loss = c * (d - self.beta / 2 * c)
        if self.weight is not None:
            loss, c = loss * self.weight, c * self.weight
        self.save_for_backward(c)
        return kernel("sum_over")(loss, None) / (d.size or math.nan)

    def backward(self, g):
        (c,) = self.saved
        dx = c * (g / max(c.size, 1))
        return dx, -dx


class Focal(Function):
    """L = mean w q^gamma softplus(s), q = sigmoid(s); dL/ds = w q^gamma (q + gamma (1 - q)
    softplus(s)) / M.

    s = -z and w = 1 where the target t is 1, else s = z and w = (1 - t)^beta: q is how wrong the
    network is. softplus(s) = -ln(1 - q), of which no logit, however large, makes an infinity.
    """

    def __init__(self, targets: Array, gamma: float, beta: float):
        self.targets, self.gamma, self.beta = targets, gamma, beta

    def forward(self, z):
        xp, t = array_module(z), self.targets
        sign = xp.where(t == 1, -1, 1).astype(z.dtype)
        w = xp.where(t == 1, 1, (1 - t) ** self.beta).astype(z.dtype)
        s = sign * z
        tail = xp.log1p(xp.exp(-abs(s)))
        softplus, q = xp.maximum(s, 0) + tail, xp.exp(xp.minimum(s, 0) - tail)
        wq = w * q**self.gamma
        self.save_for_backward(sign * wq * (q + self.gamma * xp.exp(-softplus) * softplus))
        return kernel("sum_over")(wq * softplus, None) / (z.size or math.nan)

    def backward(self, g):
        (dz,) = self.saved
        return dz * (g / max(dz.size, 1))


def smooth_l1_loss(x: Tensor, y: Any, weight: Any = None, beta: float = 1.0) -> Tensor:
    """L = mean w s(x - y), s(d) = d^2 / 2 beta for |d| < beta, else |d| - beta / 2.

    x and y of one shape -> a number, NaN of nothing; weight w: constants of that shape, or that
    stretch to it, 1 without. An outlier pulls no harder than any other that is beta away.
    Source: Girshick, "Fast R-CNN", arXiv:1504.08083.
    """
    x, y = as_tensors("smooth_l1_loss", x, y)
    beta = number(beta, "smooth_l1_loss: beta")
    if x.shape != y.shape:
        raise ShapeError(
            f"smooth_l1_loss: x of shape {x.shape} and y of shape {y.shape} must agree"
        )
    if not beta > 0:
        raise OptionError(f"smooth_l1_loss: beta is above 0; got {beta}")
    return SmoothL1(beta, None if weight is None else _constants("weight", weight, x))(x, y)


def focal_loss(logits: Tensor, targets: Any, gamma: float = 2.0, beta: float = 4.0) -> Tensor:
    """L = -mean (1 - p)^gamma ln p where t = 1, else -mean (1 - t)^beta p^gamma ln(1 - p).

    p = sigmoid(logits), targets t constants in [0, 1] of the same shape -> a number, NaN of
    nothing. What is right already counts little, and so, by beta, what is near a one. With
    gamma = 0 and targets 0 and 1 it is the binary cross-entropy.
    Sources: Lin et al., arXiv:1708.02002; with targets between, Law & Deng, arXiv:1808.01244.
    """
    (logits,) = as_tensors("focal_loss", logits)
    gamma, beta = number(gamma, "focal_loss: gamma"), number(beta, "focal_loss: beta")
    if not (gamma >= 0 and beta >= 0):
        raise OptionError(f"focal_loss: gamma and beta are at least 0; got {gamma} and {beta}")
    t = _constants("targets", targets, logits)
    if t.shape != logits.shape:
        raise ShapeError(f"focal_loss: targets of shape {t.shape} for logits {logits.shape}")
    if array_module(targets) is np and not ((t >= 0) & (t <= 1)).all():
        raise DataError("focal_loss: a target is not in [0, 1]")
    return Focal(t, gamma, beta)(logits)


def _constants(what: str, a: Any, like: Tensor) -> Array:
    """`a` in the dtype of `like`, whose shape it has or stretches to."""
    a = a.data if isinstance(a, Tensor) else a
    a = asarray(real_array(a, like.dtype, array_module(a)))
    fits = a.ndim <= like.ndim and all(
        m in (1, n) for m, n in zip(a.shape[::-1], like.shape[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(f"{what} of shape {a.shape} do not stretch to {like.shape}")
    return a
