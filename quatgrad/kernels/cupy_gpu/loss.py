"""Cross-entropy, its gradient, and the sums of an epoch; twins of `reference.loss`."""

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch, launch_for_each
from quatgrad.kernels.registry import register

ROWS = (32, 8)  # a block of them: lanes of a warp, rows
ONE_BLOCK = (1,), (256,)


@register
def cross_entropy(z: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """`reference.cross_entropy`."""
    z, labels = _rows(z, labels)
    xp, (N, K) = array_module(z), z.shape
    log_p, losses = xp.empty(z.shape, z.dtype), xp.empty(N, np.float64)
    L, n = xp.empty((), z.dtype), np.int64(N)
    arguments = z, labels, log_p, losses, np.float64(smoothing), n, np.int32(K)
    launch("loss", "log_softmax", z.dtype, (-(-N // 8),), ROWS, *arguments)
    launch("loss", "mean_loss", z.dtype, *ONE_BLOCK, losses, L, n)
    return L, log_p


@register
def cross_entropy_dz(log_p: Array, labels: Array, smoothing: float, g: Array) -> Array:
    """`reference.cross_entropy_dz`."""
    log_p, labels = _rows(log_p, labels)
    dz, (N, K) = array_module(log_p).empty(log_p.shape, log_p.dtype), log_p.shape
    numbers = dz.dtype.type(smoothing), np.int64(N), np.int32(K)
    arguments = log_p, labels, *contiguous(g), dz, *numbers
    launch_for_each("loss", "cross_entropy_dz", dz.size, dz.dtype, *arguments)
    return dz


@register
def accumulate_metrics(sums: Array, z: Array, labels: Array, L: Array) -> None:
    """`reference.accumulate_metrics`."""
    z, labels = _rows(z, labels)
    N, K = z.shape
    if not N:
        sums[0] += L * 0
        return
    hits, n = array_module(z).empty(N, np.int32), np.int64(N)
    launch("loss", "find_hits", z.dtype, (-(-N // 8),), ROWS, z, labels, hits, n, np.int32(K))
    launch("loss", "accumulate_metrics", z.dtype, *ONE_BLOCK, sums, hits, *contiguous(L), n)


def _rows(z: Array, labels: Array) -> tuple[Array, Array]:
    """Logits and labels as the kernels want them."""
    z, labels = contiguous(z, labels)
    return z, labels.astype(np.int64, copy=False)
