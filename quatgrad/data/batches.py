"""Batches: the order of an epoch, its augmentation, and where it is cut.

The draws of an epoch depend on (seed, epoch) alone. Image number k of an epoch is the same image,
moved and mirrored in the same way, whatever the batch size; and epoch 17 can be replayed without
the 16 before it, which is how a run that was stopped goes on with the same bits.

A thread prepares large batches while the network trains on the batch before. A GPU prepares its
batches itself, if all images fit in its memory: see on_device.py.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from quatgrad.arrays import Array
from quatgrad.data import on_device
from quatgrad.data.augment import draw_moves, move, pad_crop_flip
from quatgrad.data.dataset import Dataset, Encode, Split
from quatgrad.errors import OptionError
from quatgrad.random import generator

Batch = tuple[Array, Array]
Part = Callable[[int], slice]  # of a batch of so many images, which rows are wanted

PREFETCHED = 2  # batches that are prepared while another is in use
LARGE = 1 << 20  # bytes of an encoded batch: for a smaller one the thread costs more than it saves


def batches(
    dataset: Dataset,
    size: int,
    seed: int,
    epoch: int,
    augment_seed: int | None = None,
    part: Part = lambda n: slice(None),
) -> Iterator[Batch]:
    """Every training image once, in the random order of this epoch: (x, y) batch by batch.

    x: float32 (B, H', W', C'), augmented and encoded; y: int64 (B,). B is `size`; the last batch
    has the images that are left. If this is only one, it joins the batch before (B = size + 1),
    because batch norm cannot divide by the variance of one image. x and y are arrays of NumPy, or
    of CuPy on a GPU.

    The order is drawn from `generator(seed, "order", epoch)`, the augmentation from
    `generator(augment_seed, "augment", epoch)`; `augment_seed` is `seed` if not given. Of a batch
    of n only the rows `part(n)` are read and given: what each is does not depend on that. Raises
    `OptionError` for a size below 1.
    """
    order = generator(seed, "order", epoch).permutation(len(dataset.train))
    draws = generator(seed if augment_seed is None else augment_seed, "augment", epoch)
    cuts = _cuts(len(order), size)
    if on_device.is_possible(dataset.train, dataset.encode, dataset.augment):
        moves = draw_moves(len(order), draws) if dataset.augment else None
        return on_device.batches(dataset.train, dataset.encode, order, moves, cuts, part)

    def batch(rows: np.ndarray) -> Batch:
        mine, augment, train = part(len(rows)), dataset.augment, dataset.train
        if augment is None or augment is pad_crop_flip:  # whose draws are made apart
            images, labels = train.images[rows[mine]], train.labels[rows[mine]]
            if augment:
                images = move(images, draw_moves(len(rows), draws)[mine])
        else:
            both = dataset.augmented(train.images[rows], train.labels[rows], draws)
            images, labels = (a[mine] for a in both)
        return dataset.encode(images), labels

    made = (batch(rows) for rows in np.split(order, cuts))
    return _prepared(made, size, dataset.train, dataset.encode)


def test_batches(
    split: Split,
    encode: Encode,
    size: int,
    rows: range | None = None,  # noqa: PT028  (not a test for pytest)
) -> Iterator[Batch]:
    """Every image of the split once, in order and not augmented: (x, y) as in `batches`.

    With `rows`, which follow each other, only these.
    """
    rows = range(len(split)) if rows is None else rows
    cuts = _cuts(len(rows), size)
    if on_device.is_possible(split, encode):
        return on_device.batches(split, encode, np.arange(rows.start, rows.stop), None, cuts)
    ends = [rows.start, *(rows.start + cut for cut in cuts), rows.stop]
    pieces = (slice(*ends) for ends in pairwise(ends))
    made = ((encode(split.images[piece]), split.labels[piece]) for piece in pieces)
    return _prepared(made, size, split, encode)


test_batches.__test__ = False  # type: ignore[attr-defined]  # not a test for pytest


def num_batches(n: int, size: int) -> int:
    """ceil(n / size), less one if the last batch would be a single image (see `batches`)."""
    return len(_cuts(n, size)) + 1


def batch_sizes(n: int, size: int) -> list[int]:
    """How many of `n` images are in each batch."""
    return [stop - start for start, stop in pairwise([0, *_cuts(n, size), n])]


def _cuts(n: int, size: int) -> range:
    """Where a new batch starts among `n` images: size, 2 size, ... <= n - 2 (n - 1 if size = 1)."""
    if n < 1 or size < 1:
        raise OptionError(
            f"{n} images cannot be cut into batches of {size}: choose a batch size of 1 or more, "
            "and a split that has images"
        )
    return range(size, n - 1 if size > 1 else n, size)


def _prepared(made: Iterator[Batch], size: int, split: Split, encode: Encode) -> Iterator[Batch]:
    """The batches `made`; large ones are prepared by a thread."""
    return _prefetched(made) if size * encode(split.images[:1]).nbytes >= LARGE else made


def _prefetched(made: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; a thread prepares the next `PREFETCHED` of them while one is in use.

    An error in the thread is raised here, at its batch. The thread ends with the last batch, or
    when this iterator is deleted.
    """
    with ThreadPoolExecutor(1, "quatgrad-batches") as thread:
        waiting: deque[Future[Batch | None]] = deque()
        try:
            for _ in range(PREFETCHED):
                waiting.append(thread.submit(next, made, None))
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, made, None))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
