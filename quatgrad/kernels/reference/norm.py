"""Batch norm and its running statistics, as formulas.

With `gather`, the statistics are those of all parts of a batch: see kernels/parts.py.
"""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.parts import Gather, mean_gradients, merged_statistics
from quatgrad.kernels.registry import register


@register
def batch_norm(
    x: Array, scale: Array, shift: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """y = scale (x - mean) / sqrt(var + eps) + shift over all axes but the last, x (..., C).

    Returns y and the batch's mean and (biased) variance, (C,) each; sums run in float64.
    """
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=np.float64)
    var = ((x - mean) ** 2).mean(axis=axes)
    if gather:
        mean, var = merged_statistics(mean, var, x.size // x.shape[-1], gather)
    mean, var = mean.astype(x.dtype), var.astype(x.dtype)
    return batch_norm_eval(x, mean, var, scale, shift, eps), mean, var


@register
def batch_norm_dx(
    g: Array, x: Array, mean: Array, var: Array, scale: Array, eps: float, gather: Gather = None
) -> tuple[Array, Array, Array]:
    """dx = scale / sqrt(var + eps) (g - mean(g) - z mean(g z)), z = (x - mean) / sqrt(var + eps).

    Returns dx, dscale = sum g z and dshift = sum g; these two of this part alone.
    """
    axes = tuple(range(x.ndim - 1))
    M = x.size // x.shape[-1]
    inv = 1 / array_module(x).sqrt(var + eps)
    z = (x - mean) * inv
    dshift = g.sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dscale = (g * z).sum(axis=axes, dtype=np.float64).astype(x.dtype)
    mean_g, mean_gz = dshift / M, dscale / M
    if gather:
        mean_g, mean_gz = mean_gradients(dshift, dscale, M, gather).astype(x.dtype)
    return scale * inv * (g - mean_g - z * mean_gz), dscale, dshift


@register
def batch_norm_eval(
    x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float
) -> Array:
    """y = scale (x - mean) / sqrt(var + eps) + shift with given statistics."""
    return (x - mean) * (scale / array_module(x).sqrt(var + eps)) + shift


@register
def update_running_stats(r: Array, b: Array, momentum: float, correction: float = 1.0) -> None:
    """r <- (1 - momentum) r + momentum correction b, running statistics, in place."""
    r[...] = (1 - momentum) * r + momentum * (correction * b)
