"""ImageNet64: 1,281,167 training and 50,000 test images of 1000 classes, 64x64 RGB.

Read from the official downsampled ImageNet, as it unpacks:

    train_data_batch_1 ... train_data_batch_10, val_data

At the first use they are converted to plain files (`convert`). Each batch is read from these when
it is needed, because the images would take 15.7 GB of memory.

Source: P. Chrabaszcz, I. Loshchilov and F. Hutter, "A downsampled variant of ImageNet as an
alternative to the CIFAR datasets" (2017), arXiv:1707.08819.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from quatgrad.backend import notice
from quatgrad.data import fetch
from quatgrad.data.convert import ADVICE, CLASSES, SHAPE, SPLITS, convert, read_split
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import colour_encoding

TRAIN_IMAGES, TEST_IMAGES = 1_281_167, 50_000
FILES = tuple(file for files in SPLITS.values() for file in files)


def load(
    data_dir: str | os.PathLike[str] | None = None,
    encoder: str = "rgb_gray",
    statistics: str | None = None,
) -> Dataset:
    """ImageNet64: uint8 (N, 64, 64, 3), not augmented; the images stay on the disk.

    The encoder sees (x / 255 - mean) / std, for each colour, with `STATISTICS[statistics]`; None:
    x / 255, as in the paper. Class k is number k + 1 of the official labels; where these do not
    all occur, the classes are those that do, and there is a notice.

    Raises `DataError` if the files are missing, damaged, of another size or cannot be converted;
    `OptionError` for unknown statistics or an encoder that does not take colour images.
    """
    encode = colour_encoding(encoder, SHAPE, statistics or "none")
    folder = ensure(data_dir)
    train, test = (read_split(folder, which) for which in SPLITS)
    if (len(train), len(test)) != (TRAIN_IMAGES, TEST_IMAGES):
        notice(
            f"{folder} holds {len(train):,} training and {len(test):,} test images, not the "
            f"{TRAIN_IMAGES:,} and {TEST_IMAGES:,} of ImageNet64: results compare with no others"
        )
    classes = np.union1d(train.labels, test.labels)
    if len(classes) < CLASSES:
        notice(f"{folder} has {len(classes)} of the {CLASSES} classes of ImageNet64")
        train, test = (Split(s.images, np.searchsorted(classes, s.labels)) for s in (train, test))
    names = tuple(str(k + 1) for k in classes)
    return Dataset("imagenet64", train, test, names, encode)


def ensure(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder with the converted files; they are made first if there are none.

    The official files must be in DIR/imagenet64 or in DIR itself; `data_root` finds DIR. The
    converted files are beside them, in `imagenet64-converted`, or in the cache, if we may not write
    there. Then the official files may be deleted.
    """
    root, _ = fetch.data_root(data_dir)

    def lacking(folder: Path) -> list[str]:
        is_converted = os.path.isdir(_converted(folder))
        return [file for file in FILES if not is_converted and not os.path.isfile(folder / file)]

    source = fetch.first_complete("imagenet64", [root / "imagenet64", root], lacking, ADVICE)
    return convert(source, _converted(source))


def _converted(source: Path) -> Path:
    beside = source / "imagenet64-converted"
    if os.path.isdir(beside) or os.access(source, os.W_OK):
        return beside
    key = hashlib.sha256(os.path.realpath(source).encode()).hexdigest()[:8]
    try:
        return fetch.CACHE.expanduser() / f"imagenet64-{key}"
    except RuntimeError:  # no home: `convert` says that it may not write here
        return beside
