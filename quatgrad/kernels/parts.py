"""Batch norms over a batch of which each of several processes has a part.

`gather` gives the sums (K,) of each part, (n, K), in one order everywhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quatgrad.arrays import Array, array_module
from quatgrad.errors import OptionError

Gathering = Callable[[Array], Array]
Gather = Gathering | None

#: How to gather, and the share of this process in the batch.
_parts: tuple[Gather, float] = (None, 1.0)


@contextmanager
def synchronised(gather: Gathering, share: float) -> Iterator[None]:
    """In the block, batch norms in training have the statistics of all parts of the batch."""
    global _parts
    before, _parts = _parts, (gather, share)
    try:
        yield
    finally:
        _parts = before


def check_whole(op: str) -> None:
    """Raise `OptionError` in `synchronised`: this norm has no form for it."""
    if _parts[0]:
        raise OptionError(
            f"{op} is not synchronised between processes: leave `sync_norm` out, or choose the "
            "norm batch"
        )


def parts() -> tuple[Gather, float]:
    """What `synchronised` was given; (None, 1) outside of it."""
    return _parts


def merged_statistics(mean: Array, var: Array, rows: int, gather: Gathering) -> tuple[Array, Array]:
    """Mean and variance (C,) of all parts, float64, from those of this one, of so many rows.

    Source: Chan et al. 1979.
    """
    xp, C = array_module(mean), len(mean)
    mean, var = mean.astype("float64"), var.astype("float64")
    every = gather(xp.concatenate([xp.zeros(1) + rows, mean, rows * var]))  # (n, 1 + 2C)
    counts, means, squares = every[:, :1], every[:, 1 : 1 + C], every[:, 1 + C :]
    total = counts.sum()
    mean = (counts * means).sum(axis=0) / total
    return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / total


def mean_gradients(sum_g: Array, sum_gz: Array, rows: int, gather: Gathering) -> Array:
    """(2, C), float64: the means of g and of g z over the rows of all parts."""
    xp = array_module(sum_g)
    total = gather(xp.concatenate([xp.zeros(1) + rows, sum_g, sum_gz])).sum(axis=0)
    return total[1:].reshape(2, -1) / total[0]
