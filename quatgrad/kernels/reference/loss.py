"""Cross-entropy of logits z (N, K) and labels (N,), as formulas."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.sums import sum_over
from quatgrad.kernels.registry import register


@register
def cross_entropy(z: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """L = -1/N sum_nk t[n,k] log_p[n,k], log_p = ln softmax(z), t = (1 - s) onehot + s / K.

    Returns L, a number, and log_p (N, K), which the gradient needs.
    """
    xp = array_module(z)
    N, K = z.shape
    z = z - z.max(axis=1, keepdims=True)  # softmax does not change, and e^z cannot overflow
    log_p = z - xp.log(sum_over(xp.exp(z), 1, keepdims=True))
    L = (1 - smoothing) * sum_over(log_p[xp.arange(N), labels], None)
    if smoothing:  # else 0 * -inf, where a logit is -inf, would make it NaN
        L = L + smoothing / K * sum_over(log_p, None)
    return -L / N, log_p


@register
def cross_entropy_dz(log_p: Array, labels: Array, smoothing: float, g: Array) -> Array:
    """dz = (softmax(z) - t) g / N."""
    xp = array_module(log_p)
    N, K = log_p.shape
    dz = xp.exp(log_p) - smoothing / K
    dz[xp.arange(N), labels] -= 1 - smoothing
    return dz * (g / N)


@register
def accumulate_metrics(sums: Array, z: Array, labels: Array, L: Array) -> None:
    """sums (float64) += (N L, how many rows of z are largest at their label, the first of equals).

    What an epoch adds up over its batches, where the batches are.
    """
    sums[0] += L.astype(np.float64) * len(labels)
    sums[1] += (z.argmax(axis=1) == labels).sum()
