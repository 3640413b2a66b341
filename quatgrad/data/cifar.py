"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images, 32x32 RGB.

Read from the official Python version, as it unpacks:

    cifar-10-batches-py/   data_batch_1 ... data_batch_5, test_batch, batches.meta
    cifar-100-python/      train, test, meta

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009),
https://www.cs.toronto.edu/~kriz/cifar.html
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quatgrad.backend import notice
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import STATISTICS, colour_encoding
from quatgrad.data.fetch import data_root, fetch_folder, first_complete
from quatgrad.data.identity import hashes, is_known, md5_of, refuse_twins, remember
from quatgrad.data.pickles import read_pickle
from quatgrad.errors import DataError, brief

SHAPE = (32, 32, 3)
PIECE = 1000  # images that are counted at once


TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000


class Layout(NamedTuple):
    """The files of a dataset, and what is in them."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels_key: str
    names_key: str
    num_classes: int
    url: str
    md5: str  # of the archive
    md5_of: dict[str, str]  # of each file that is read

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read."""
        return (*self.train, self.test, self.meta)


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        meta="batches.meta",
        labels_key="labels",
        names_key="label_names",
        num_classes=10,
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        md5_of={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        meta="meta",
        labels_key="fine_labels",
        names_key="fine_label_names",
        num_classes=100,
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        md5_of={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
    ),
}


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    encoder: str = "rgb_gray",
    statistics: str | None = None,
) -> Dataset:
    """CIFAR by `name` ("cifar10", "cifar100"): uint8 (N, 32, 32, 3), augmented by pad_crop_flip.

    The encoder sees (x / 255 - mean) / std, for each colour, with `STATISTICS[statistics]`; None:
    those of the dataset. `ensure` finds or downloads the files.

    Raises `DataError` if they are missing or damaged, `OptionError` for unknown statistics or an
    encoder that does not take colour images.
    """
    layout = LAYOUTS[name]
    encode = colour_encoding(encoder, SHAPE, statistics or name)  # before any download
    folder = ensure(name, data_dir)
    with ThreadPoolExecutor() as threads:  # the sums are taken while the files are read
        sums = threads.map(md5_of, [folder / file for file in layout.files])
        class_names = _read_class_names(folder / layout.meta, layout)
        parts = {f: _read(folder / f, layout) for f in (*layout.train, layout.test)}
        _check_identity(name, folder, parts, dict(zip(layout.files, sums, strict=True)))
    test = Split(*parts.pop(layout.test))
    images, labels = zip(*parts.values(), strict=True)
    train = Split(np.concatenate(images), np.concatenate(labels))
    return Dataset(name, train, test, class_names, encode, pad_crop_flip)


# ------------------------------------------------------------------------------ finding the files


def ensure(
    name: str, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> Path:
    """The folder with the files of `name`, for instance DIR/cifar-100-python.

    `data_root` finds DIR. A missing dataset is downloaded (170 MB), but only into the cache, never
    into a folder that the user named.

    Raises `DataError`, with the folder and how to get the files.
    """
    layout = LAYOUTS[name]
    root, given = data_root(data_dir)
    folder = root / layout.folder
    if not given and download and not os.path.exists(folder):
        return fetch_folder(layout.url, layout.md5, layout.folder, layout.files, root)

    def lacking(folder: Path) -> list[str]:
        return [file for file in layout.files if not os.path.isfile(folder / file)]

    return first_complete(name, [folder], lacking, _advice(layout))


def _advice(layout: Layout) -> str:
    return (
        f"get {layout.url}, unpack it with tar -xzf to DIR/{layout.folder}, and give --data-dir "
        "DIR or set QUATGRAD_DATA=DIR; with neither, it is downloaded to ~/.cache/quatgrad (if a "
        "damaged one is there, delete it first)"
    )


def read_arrays(folder: Path, layout: Layout) -> list[np.ndarray]:
    """Images and labels for training, and for testing, of files in CIFAR's form, of any dataset.

    The labels are the names in its last file; they are numbers if there is none.
    """
    missing = [f for f in (*layout.train, layout.test) if not os.path.isfile(folder / f)]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}: give all files in CIFAR's form")
    try:
        names = tuple(map(str, range(layout.num_classes)))
        if os.path.isfile(folder / layout.meta):
            names = _read_class_names(folder / layout.meta, layout)
        parts = [_read(folder / file, layout) for file in (*layout.train, layout.test)]
    except DataError as error:
        raise DataError(str(error).removesuffix(f"; {_advice(layout)}")) from error
    *train, (test_images, test_labels) = parts
    images, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
    text = np.array(names)
    return [images, text[labels], test_images, text[test_labels]]


# --------------------------------------------------------------------------- what files these are


def _check_identity(
    name: str, folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], sums: dict[str, str]
) -> None:
    """The files are official by their MD5 `sums`; or of another number of images, or repacked.

    Then there is a notice. `DataError` if they are none of these, if they repeat their images, or
    if they have changed since they were first read.
    """
    layout = LAYOUTS[name]
    if sums == layout.md5_of:
        return
    *train, test = (images for images, _ in parts.values())
    n, m = sum(map(len, train)), len(test)
    is_whole = (n, m) == (TRAIN_IMAGES, TEST_IMAGES)
    if not is_known(folder, sums):
        refuse_twins(folder, {file: hashes(images) for file, (images, _) in parts.items()},
                     _advice(layout))  # fmt: skip
        if is_whole and not _has_colours(train, name):
            wrong = next(file for file in layout.files if sums[file] != layout.md5_of[file])
            raise _damaged(folder / wrong, layout, "it is not the official file")
        remember(folder, sums)
    notice(
        f"{folder} holds {n:,} training and {m:,} test images, and not in the official files of "
        f"{name}: " + ("repacked, it seems" if is_whole else "results compare with no others")
    )


def _has_colours(parts: Sequence[np.ndarray], name: str) -> bool:
    """Are mean and deviation of each colour those of the dataset, to four digits?"""
    counts = np.zeros((3, 256))
    for images in parts:
        for k in range(0, len(images), PIECE):
            for colour in range(3):
                pixels = images[k : k + PIECE, :, :, colour].ravel()
                counts[colour] += np.bincount(pixels, minlength=256)
    shares, values = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt(shares @ values**2 - mean**2)
    return np.allclose((mean, std), STATISTICS[name], rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------ reading the files


def _read(path: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 32, 32, 3) and labels int64 (N,) of one file.

    It has rows of 3072 bytes: all red, then all green, then all blue.
    """
    content = read_pickle(path, _advice(layout), "data", layout.labels_key)
    data, labels = content["data"], content[layout.labels_key]

    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072:
        came = (
            f"an array {brief(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        )
        raise _damaged(path, layout, f"'data' is {came}, not bytes (N, 3072)")
    if not len(data):
        raise _damaged(path, layout, "it holds no images")
    if not isinstance(labels, list) or len(labels) != len(data):
        count = f"{len(labels)} entries" if isinstance(labels, list) else "not a list"
        raise _damaged(path, layout, f"'{layout.labels_key}' has {count} for {len(data)} images")
    for label in labels:
        if type(label) is not int or not 0 <= label < layout.num_classes:
            raise _damaged(
                path, layout, f"{brief(repr(label))} is not a class 0 ... {layout.num_classes - 1}"
            )

    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def _read_class_names(path: Path, layout: Layout) -> tuple[str, ...]:
    names = read_pickle(path, _advice(layout), layout.names_key)[layout.names_key]
    if not isinstance(names, list) or len(names) != layout.num_classes:
        raise _damaged(path, layout, f"'{layout.names_key}' is no list of {layout.num_classes}")
    return tuple(n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names)


def _damaged(path: Path, layout: Layout, why: str) -> DataError:
    return DataError(f"{path} is damaged: {why}; {_advice(layout)}")
