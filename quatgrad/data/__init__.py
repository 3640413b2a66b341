"""Images, from a file to the batch a network trains on.

    dataset.py   Split and Dataset: what a dataset is; stratified subsets
    batches.py   the order of an epoch, and its batches
    augment.py   pad, crop and flip
    encode.py    normalisation, and pixels -> quaternions
    digits.py    scikit-learn's 8x8 digits: no download
    cifar.py     CIFAR-10 and CIFAR-100, official Python files
    pickles.py   reads their pickles without running them
    fetch.py     downloads them

From a name to batches of (x, y), x float32 (B, H, W, C) and y int64 (B,):

    dataset = load("digits")
    for x, y in batches(dataset, size=128, seed=21, epoch=0): ...
"""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from quatgrad.data import cifar, digits
from quatgrad.data.batches import batches, num_batches, test_batches
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import ENCODERS
from quatgrad.errors import OptionError

# name -> (its loader, the encoder it has unless another is asked for)
_LOADERS: dict[str, tuple[Callable[..., Dataset], str]] = {
    "digits": (lambda data_dir, encoder: digits.load(encoder), "blocks"),
    "cifar10": (partial(cifar.load, "cifar10"), "rgb_gray"),
    "cifar100": (partial(cifar.load, "cifar100"), "rgb_gray"),
}
DATASETS = tuple(_LOADERS)

__all__ = [
    "DATASETS",
    "ENCODERS",
    "Dataset",
    "Split",
    "batches",
    "load",
    "num_batches",
    "test_batches",
]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    encoder: str | None = None,
    subset: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The dataset `name`, one of `DATASETS`, whole or with `subset` training images.

    data_dir   the folder that holds cifar-100-python or cifar-10-batches-py; None: see
               `cifar.ensure`. The digits need none.
    encoder    one of `ENCODERS`; None: blocks for the digits, rgb_gray for CIFAR
    subset     train on so many images, evenly over the classes, drawn by `seed`

    Raises `OptionError` for an unknown name, an encoder that does not fit or an impossible
    subset; `DataError` for files that are missing or damaged.
    """
    if name not in _LOADERS:
        close = get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(f"unknown dataset {name!r}: {hint}choose one of {', '.join(DATASETS)}")
    loader, default = _LOADERS[name]
    dataset = loader(data_dir, default if encoder is None else encoder)
    return dataset if subset is None else dataset.subset(subset, seed)
