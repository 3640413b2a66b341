"""Batches: the order of an epoch, its augmentation, and where it is cut.

The draws of an epoch depend on (seed, epoch) alone. Image number k of an epoch is the same image,
moved and mirrored in the same way, whatever the batch size; and epoch 17 can be replayed without
the 16 before it, which is how a run that was stopped goes on with the same bits.

Large batches are prepared by a thread of their own, while the network trains on the one before; on
a GPU, where all images lie in its memory, by the GPU itself: see on_device.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from quatgrad.arrays import Array
from quatgrad.data import on_device
from quatgrad.data.augment import draw_moves
from quatgrad.data.dataset import Dataset, Encode, Split
from quatgrad.errors import OptionError
from quatgrad.random import generator

Batch = tuple[Array, Array]

AHEAD = 2  # batches that are prepared while another is in use
LARGE = 1 << 20  # bytes of an encoded batch: handing over a smaller one costs more than it saves


def batches(
    dataset: Dataset, size: int, seed: int, epoch: int, augment_seed: int | None = None
) -> Iterator[Batch]:
    """Every training image once, in the random order of this epoch: (x, y) batch by batch.

    x: float32 (B, H', W', C'), augmented and encoded; y: int64 (B,). B is `size`; the last batch
    has what is left. One image that is left alone joins the batch before it (B = size + 1):
    batch norm has no variance to divide by in a batch of one. Both are NumPy arrays, or on a GPU
    arrays there.

    The order is drawn from `generator(seed, "order", epoch)`, the augmentation from
    `generator(seed, "augment", epoch)`, or by an `augment_seed` of its own. Raises `OptionError`
    for a size below 1.
    """
    order = generator(seed, "order", epoch).permutation(len(dataset.train))
    draws = generator(seed if augment_seed is None else augment_seed, "augment", epoch)
    cuts = _cuts(len(order), size)
    if on_device.takes(dataset.train, dataset.encode, dataset.augment):
        moves = draw_moves(len(order), draws) if dataset.augment else None
        return on_device.batches(dataset.train, dataset.encode, order, moves, cuts)

    def batch(rows: np.ndarray) -> Batch:
        images = dataset.train.images[rows]
        if dataset.augment is not None:
            images = dataset.augment(images, draws)
        return dataset.encode(images), dataset.train.labels[rows]

    pieces = (batch(rows) for rows in np.split(order, cuts))
    return _ahead(pieces) if size * _nbytes(dataset.train, dataset.encode) >= LARGE else pieces


def test_batches(split: Split, encode: Encode, size: int) -> Iterator[Batch]:
    """Every image of the split once, in order and not augmented: (x, y) as in `batches`."""
    inner = _cuts(len(split), size)
    if on_device.takes(split, encode):
        return on_device.batches(split, encode, np.arange(len(split)), None, inner)
    cuts = [0, *inner, len(split)]
    pieces = (
        (encode(split.images[start:end]), split.labels[start:end]) for start, end in pairwise(cuts)
    )
    return _ahead(pieces) if size * _nbytes(split, encode) >= LARGE else pieces


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


def _nbytes(split: Split, encode: Encode) -> int:
    """Bytes of one encoded image."""
    return encode(split.images[:1]).nbytes


def _ahead(pieces: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, of which a thread prepares the next `AHEAD` while one is in use.

    What goes wrong in the thread is raised here, at the batch where it went wrong. The thread ends
    with the last batch, or when this iterator is dropped.
    """
    with ThreadPoolExecutor(1, "quatgrad-batches") as thread:
        waiting: deque[Future[Batch | None]] = deque()
        try:
            for _ in range(AHEAD):
                waiting.append(thread.submit(next, pieces, None))
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, pieces, None))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
