"""Batches: the order of an epoch, its augmentation, and where it is cut.

The draws of an epoch depend on (seed, epoch) alone. Image number k of an epoch is the same image,
moved and mirrored in the same way, whatever the batch size; and epoch 17 can be replayed without
the 16 before it, which is how a run that was stopped goes on with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quatgrad.backend import generator
from quatgrad.data.dataset import Dataset, Encode, Split
from quatgrad.errors import OptionError


def batches(
    dataset: Dataset, size: int, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every training image once, in the random order of this epoch: (x, y) batch by batch.

    x: float32 (B, H', W', C'), augmented and encoded; y: int64 (B,). B is `size`; the last batch
    has what is left. One image that is left alone joins the batch before it (B = size + 1):
    batch norm has no variance to divide by in a batch of one.

    The order is drawn from `generator(seed, "order", epoch)`, the augmentation from
    `generator(seed, "augment", epoch)`. Raises `OptionError` for a size below 1.
    """
    order = generator(seed, "order", epoch).permutation(len(dataset.train))
    draws = generator(seed, "augment", epoch)

    def batch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = dataset.train.images[rows]
        if dataset.augment is not None:
            images = dataset.augment(images, draws)
        return dataset.encode(images), dataset.train.labels[rows]

    return (batch(rows) for rows in np.split(order, _cuts(len(order), size)))


def test_batches(
    split: Split, encode: Encode, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every image of the split once, in order and not augmented: (x, y) as in `batches`."""
    pieces = zip(
        np.split(split.images, _cuts(len(split), size)),
        np.split(split.labels, _cuts(len(split), size)),
        strict=True,
    )
    return ((encode(images), labels) for images, labels in pieces)


test_batches.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's


def num_batches(n: int, size: int) -> int:
    """ceil(n / size), less one if the last batch would be a single image (see `batches`)."""
    return len(_cuts(n, size)) + 1


def _cuts(n: int, size: int) -> range:
    """Where a new batch starts among `n` images: size, 2 size, ... <= n - 2 (n - 1 if size = 1)."""
    if n < 1 or size < 1:
        raise OptionError(
            f"{n} images cannot be cut into batches of {size}: choose a batch size of 1 or more, "
            "and a split that has images"
        )
    return range(size, n - 1 if size > 1 else n, size)
