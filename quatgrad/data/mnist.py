"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 grey.

Read from the four official files, gzipped or not, in the IDX format: two zero bytes, 8 for "bytes",
the number of axes, each axis as a big-endian 32-bit number, then the bytes.

Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist/
"""

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path

import numpy as np

from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import Encoding
from quatgrad.data.fetch import data_root, fetch_files, first_complete
from quatgrad.errors import DataError

SHAPE = (28, 28, 1)
MEAN, STD = 0.1307, 0.3081  # of the training pixels in [0, 1]

#: file -> its number of images, and the MD5 sum of its official content, not gzipped
FILES = {
    "train-images-idx3-ubyte": (60_000, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_000, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (10_000, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_000, "27ae3e4e09519cfbb04c329615203637"),
}
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES

URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
DOWNLOADS = {  # MD5 sums of the files as they are there, gzipped
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
ADVICE = (
    f"get the four .gz files from {URL}/ into DIR/mnist and give --data-dir DIR or set "
    "QUATGRAD_DATA=DIR; with neither, they are downloaded to ~/.cache/quatgrad/mnist (if damaged "
    "ones are there, delete them first)"
)


def load(data_dir: str | os.PathLike[str] | None = None, encoder: str = "consecutive") -> Dataset:
    """MNIST: uint8 (N, 28, 28, 1), encoded (N, 28, 7, 4). No augmentation: see `digits.load`.

    The encoder sees (x / 255 - 0.1307) / 0.3081. `ensure` finds or downloads the files. Files with
    the official number of images must have the official content.

    Raises `DataError` if they are missing, damaged or of another dataset, `OptionError` for an
    encoder that does not take grey images.
    """
    encode = Encoding(encoder, SHAPE, (255 * MEAN,), (255 * STD,))
    folder = ensure(data_dir)
    train = _read_split(folder, TRAIN_IMAGES, TRAIN_LABELS)
    test = _read_split(folder, TEST_IMAGES, TEST_LABELS)
    return Dataset("mnist", train, test, tuple("0123456789"), encode)


def ensure(data_dir: str | os.PathLike[str] | None = None, download: bool = True) -> Path:
    """The folder with the four files: DIR/mnist, or DIR itself; `data_root` finds DIR.

    Missing files are downloaded (12 MB), but only into the cache, never into a folder that the user
    named.

    Raises `DataError`, with the folder and how to get the files.
    """
    root, given = data_root(data_dir)
    if not given and download and not (root / "mnist").exists():
        return fetch_files(URL, DOWNLOADS, "mnist", root)

    def lacking(folder: Path) -> list[str]:
        return [name for name in FILES if _find(folder, name) is None]

    return first_complete("mnist", [root / "mnist", root], lacking, ADVICE)


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _read_split(folder: Path, images_file: str, labels_file: str) -> Split:
    images, labels = _read(folder, images_file, SHAPE[:2]), _read(folder, labels_file, ())
    if len(images) != len(labels):
        raise DataError(
            f"{folder} has {len(images)} images in {images_file} and {len(labels)} labels in "
            f"{labels_file}; {ADVICE}"
        )
    return Split(images[..., None], labels.astype(np.int64))


def _read(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The bytes (N, *shape) of a file; if N is the official number, so is the content."""
    path = _find(folder, name)
    assert path is not None  # `ensure` found it
    content = _content(path)
    axes = 1 + len(shape)
    start = 4 + 4 * axes
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) < start:
        raise _damaged(path, f"it starts with {content[:4].hex(' ')}, not with 00 00 08 {axes:02x}")
    header = np.frombuffer(content[4:start], dtype=">u4").tolist()
    if tuple(header[1:]) != shape:
        raise _damaged(path, f"its images are {header[1:]}, not {list(shape)}")
    came, meant = len(content) - start, math.prod(header)
    if came != meant:
        raise _damaged(path, f"{came} bytes follow its header, not {meant}")
    official, md5 = FILES[name]
    if header[0] == official:
        _check_content(path, content, md5)
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(header)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _check_content(path: Path, content: bytes, md5: str) -> None:
    came = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if came != md5:
        raise DataError(
            f"{path} is not MNIST's: it has the right size, but its content has the MD5 sum "
            f"{came}, not {md5}. It is damaged, or of another dataset in the same form, as "
            f"Fashion-MNIST is; {ADVICE}"
        )


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged: {why}; {ADVICE}")
