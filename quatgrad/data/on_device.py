"""Batches made on a GPU, from images in its memory.

All images are copied to it once, as bytes: 150 MB for CIFAR, 16 GB for ImageNet64. For an epoch
only the order and the moves are copied, about a megabyte. One kernel takes the images of a batch,
moves, mirrors, normalises and encodes them. The random draws are made on the CPU; results differ
from the CPU's by the rounding of sums only.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.backend import get_backend, notice
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.dataset import Encode, Split
from quatgrad.data.encode import ENCODERS, PIXELWISE, Encoding
from quatgrad.kernels.registry import kernel

PIECE = 4096  # images that are copied at once
CHANNELS = 16  # the kernel multiplies with a matrix: for more it is slow

_copies: WeakKeyDictionary[Split, Array | None] = WeakKeyDictionary()


def is_possible(split: Split, encode: Encode, augment: object = None) -> bool:
    """Is there a GPU with enough memory, and can the kernel do this augmentation and encoding?"""
    known = isinstance(encode, Encoding) and augment in (None, pad_crop_flip)
    few_bytes = split.images.dtype == np.uint8 and split.images.shape[-1] <= CHANNELS
    if get_backend() != "cupy" or not known or not few_bytes:
        return False
    return _images(split) is not None


def batches(
    split: Split,
    encode: Any,
    order: np.ndarray,
    moves: np.ndarray | None,
    cuts: Sequence[int],
    part: Callable[[int], slice] = lambda n: slice(None),
) -> Iterator[tuple[Array, Array]]:
    """(x, y) of the images `order`, in batches that end at `cuts`; of each the rows `part(n)`.

    moves: int (N, 3) from `draw_moves`; None: the images do not move.
    """
    images, labels = _images(split), asarray(split.labels[order])
    moves = np.zeros((len(order), 3)) if moves is None else moves
    rows, shifts = asarray(order), asarray(moves.astype(np.int32))
    *constants, finish = _split_encoding(split.images.shape[3], encode)
    for start, stop in pairwise((0, *cuts, len(order))):
        rows_of = range(start, stop)[part(stop - start)]
        batch = slice(rows_of.start, rows_of.stop)
        x = kernel("augment")(images, rows[batch], shifts[batch], *constants)  # (B, H, W, C')
        yield finish(x), labels[batch]


def _split_encoding(
    channels: int, encode: Encoding
) -> tuple[Array, Array, Array, Callable[[Array], Array]]:
    """Mean (C,), deviation (C,) and matrix (C, C') for the kernel, and the rest of the encoding."""
    encoder = ENCODERS[encode.encoder]
    matrix = np.eye(channels, dtype=np.float32)
    is_linear = encoder in PIXELWISE
    if is_linear:  # each colour alone, as an image of one pixel, gives a row of the matrix
        matrix = encoder(matrix[:, None, None]).reshape(channels, -1)
    m, d, w = (asarray(np.array(a, dtype=np.float32)) for a in (encode.mean, encode.std, matrix))
    return m, d, w, (lambda x: x) if is_linear else encoder


def _images(split: Split) -> Array | None:
    """The images of a split, on the device; None, and a notice, if they do not fit."""
    if split not in _copies:
        try:
            _copies[split] = _copy(split)
        except MemoryError:
            size = np.prod(split.images.shape) / 1e9
            notice(f"{size:.1f} GB of images do not fit on the device: the CPU makes the batches")
            _copies[split] = None
    return _copies[split]


def _copy(split: Split) -> Array:
    images = array_module(asarray(np.zeros(0))).empty(split.images.shape, np.uint8)
    for start in range(0, len(split), PIECE):
        part = slice(start, start + PIECE)
        images[part] = asarray(split.images[part])
    return images
