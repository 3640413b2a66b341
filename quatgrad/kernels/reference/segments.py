"""Sums by key: what embeddings and products with graphs are made of, without atomic additions."""

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register


@register
def segment_sum(g: Array, keys: Array, K: int) -> Array:
    """y[k] = sum of the rows g[m] with keys[m] = k; g (M, C), keys (M,) in 0..K-1 -> y (K, C).

    The rows are sorted by their keys, and each takes the sum of the next 1, 2, 4, ... of its key:
    the order of additions is fixed, and no row is written by two threads.
    """
    xp = array_module(g)
    y = xp.zeros((K, g.shape[1]), g.dtype)
    if not len(keys):
        return y
    order = xp.argsort(keys, kind="stable")
    keys, sums = keys[order], g[order]
    first = xp.concatenate([xp.ones(1, bool), keys[1:] != keys[:-1]])
    step, longest = 1, int(xp.bincount(keys).max())
    while step < longest:
        same = (keys[step:] == keys[:-step])[:, None]
        sums[:-step] += xp.where(same, sums[step:], 0)
        step *= 2
    y[keys[first]] = sums[first]
    return y


@register
def csr_matmul(values: Array, columns: Array, starts: Array, x: Array) -> Array:
    """y[i] = sum_e values[e] x[columns[e]] over starts[i] <= e < starts[i + 1]; x (J, C) -> (I, C).

    A matrix (I, J) in compressed rows: values (E,), columns (E,), starts (I + 1,).
    """
    xp = array_module(x)
    rows = xp.searchsorted(starts[1:], xp.arange(len(values)), side="right")
    return segment_sum(values[:, None] * x[columns], rows, len(starts) - 1)
