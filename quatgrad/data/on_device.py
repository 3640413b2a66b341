"""Batches made on a GPU, from images that lie in its memory.

All images are copied there once, as bytes: CIFAR's take 150 MB, ImageNet64's 16 GB. An epoch then
copies its order and its moves, a megabyte, and a kernel takes, moves, mirrors, normalises and
encodes the images of a batch in one pass. The draws are the CPU's, and so are the numbers but for
the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.backend import get_backend, notice
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.dataset import Augment, Encode, Split
from quatgrad.data.encode import PIXELWISE, normalise_and_encode
from quatgrad.kernels.registry import kernel

PIECE = 4096  # images that are copied at once

_there: WeakKeyDictionary[Split, Array | None] = WeakKeyDictionary()


def takes(split: Split, encode: Encode, augment: Augment | None = None) -> bool:
    """Can batches be made there: is there a GPU, with room, and a kernel that does all of it?"""
    known = isinstance(encode, partial) and encode.func is normalise_and_encode
    if get_backend() != "cupy" or not known or augment not in (None, pad_crop_flip):
        return False
    return _images(split) is not None


def batches(
    split: Split, encode: Any, order: np.ndarray, moves: np.ndarray | None, cuts: Sequence[int]
) -> Iterator[tuple[Array, Array]]:
    """(x, y) of the images `order`, moved by `moves` (`draw_moves`; None: not), cut at `cuts`."""
    images, labels = _images(split), asarray(split.labels[order])
    moves = np.zeros((len(order), 3)) if moves is None else moves
    rows, shifts = asarray(order), asarray(moves.astype(np.int32))
    *how, after = _how(images, **encode.keywords)
    for start, end in pairwise((0, *cuts, len(order))):
        part = slice(start, end)
        yield after(kernel("augment")(images, rows[part], shifts[part], *how)), labels[part]


def _how(
    images: Array, mean: Sequence[float], std: Sequence[float], encoder: Encode
) -> tuple[Array, Array, Array, Callable[[Array], Array]]:
    """Mean, deviation and mix for the kernel, and what is left to do after it."""
    one = np.eye(images.shape[3], dtype=np.float32)  # each colour by itself, in an image of a pixel
    pixelwise = encoder in PIXELWISE
    mix = encoder(one[:, None, None]).reshape(len(one), -1) if pixelwise else one
    numbers = (asarray(np.array(a, dtype=np.float32)) for a in (mean, std, mix))
    return *numbers, (lambda x: x) if pixelwise else encoder


def _images(split: Split) -> Array | None:
    """The images of a split on the device; None, and a notice, if they do not fit."""
    if split not in _there:
        try:
            _there[split] = _copied(split)
        except MemoryError:
            size = np.prod(split.images.shape) / 1e9
            notice(f"{size:.1f} GB of images do not fit on the device: the CPU makes the batches")
            _there[split] = None
    return _there[split]


def _copied(split: Split) -> Array:
    images = array_module(asarray(np.zeros(0))).empty(split.images.shape, np.uint8)
    for start in range(0, len(split), PIECE):
        part = slice(start, start + PIECE)
        images[part] = asarray(split.images[part])
    return images
