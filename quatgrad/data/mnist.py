"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 grey.

Read from the four official files, gzipped or not, in the IDX format: two zero bytes, 8 for "bytes",
the number of axes, each axis as a big-endian 32-bit number, then the bytes.

Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist/
"""

import hashlib
import math
import os
import zlib
from pathlib import Path

import numpy as np

from quatgrad.backend import notice
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import Encoding
from quatgrad.data.fetch import data_root, fetch_files, first_complete
from quatgrad.data.identity import hashes, is_known, refuse_twins, remember
from quatgrad.errors import DataError

SHAPE = (28, 28, 1)
RATIO, PLENTY = 20, 10**8  # a .gz may unpack to so many times its bytes, or to so many bytes
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
    sums: dict[str, str] = {}
    train = _read_split(folder, TRAIN_IMAGES, TRAIN_LABELS, sums)
    test = _read_split(folder, TEST_IMAGES, TEST_LABELS, sums)
    if sums != {name: md5 for name, (_, md5) in FILES.items()}:
        _check_unofficial(folder, train, test, sums)
    return Dataset("mnist", train, test, tuple("0123456789"), encode)


def ensure(data_dir: str | os.PathLike[str] | None = None, download: bool = True) -> Path:
    """The folder with the four files: DIR/mnist, or DIR itself; `data_root` finds DIR.

    Missing files are downloaded (12 MB), but only into the cache, never into a folder that the user
    named.

    Raises `DataError`, with the folder and how to get the files.
    """
    root, given = data_root(data_dir)
    if not given and download and not os.path.exists(root / "mnist"):
        return fetch_files(URL, DOWNLOADS, "mnist", root)

    def lacking(folder: Path) -> list[str]:
        return [name for name in FILES if _find(folder, name) is None]

    return first_complete("mnist", [root / "mnist", root], lacking, ADVICE)


def read_arrays(folder: Path) -> list[np.ndarray]:
    """Images and labels for training, and for testing, of files in MNIST's form, of any dataset."""
    arrays = []
    for name in FILES:
        path = _find(folder, name)
        if path is None:
            raise DataError(f"{folder} lacks {name}: give all four files in MNIST's form")
        try:
            arrays.append(_read_idx(path, 3 if "images" in name else 1)[1])
        except DataError as error:
            raise DataError(str(error).removesuffix(f"; {ADVICE}")) from error
    return arrays


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if os.path.isfile(p)), None)


def _check_unofficial(folder: Path, train: Split, test: Split, sums: dict[str, str]) -> None:
    """`DataError` if the images are repeated, or changed since they were first read."""
    if not is_known(folder, sums):
        files = {TRAIN_IMAGES: hashes(train.images[:]), TEST_IMAGES: hashes(test.images[:])}
        refuse_twins(folder, files, ADVICE)
        remember(folder, sums)
    notice(
        f"{folder} holds {len(train):,} training and {len(test):,} test images, and not in the "
        "official files of mnist: results compare with no others"
    )


def _read_split(folder: Path, images_file: str, labels_file: str, sums: dict[str, str]) -> Split:
    images = _read(folder, images_file, SHAPE[:2], sums)
    labels = _read(folder, labels_file, (), sums)
    if len(images) != len(labels):
        raise DataError(
            f"{folder} has {len(images)} images in {images_file} and {len(labels)} labels in "
            f"{labels_file}; {ADVICE}"
        )
    return Split(images[..., None], labels.astype(np.int64))


def _read(folder: Path, name: str, shape: tuple[int, ...], sums: dict[str, str]) -> np.ndarray:
    """The bytes (N, *shape) of a file, whose MD5 sum goes into `sums`.

    If N is the official number, so is the content.
    """
    path = _find(folder, name)
    assert path is not None  # `ensure` found it
    content, array = _read_idx(path, 1 + len(shape), shape)
    official, md5 = FILES[name]
    sums[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if len(array) == official and sums[name] != md5:
        raise DataError(
            f"{path} is not MNIST's: it has the MD5 sum {sums[name]}, not {md5}. It is "
            f"damaged, or of another dataset of that form, as Fashion-MNIST is; {ADVICE}"
        )
    return array


def _read_idx(
    path: Path, axes: int, shape: tuple[int, ...] | None = None
) -> tuple[bytes, np.ndarray]:
    """The content of a file, and the bytes in it as an array (N, *shape) with so many axes."""
    content = _content(path)
    start = 4 + 4 * axes
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) < start:
        raise _damaged(path, f"it starts with {content[:4].hex(' ')}, not with 00 00 08 {axes:02x}")
    header = np.frombuffer(content[4:start], dtype=">u4").tolist()
    if shape is not None and tuple(header[1:]) != shape:
        raise _damaged(path, f"its images are {header[1:]}, not {list(shape)}")
    if not header[0]:
        raise _damaged(path, "it holds no images")
    came, meant = len(content) - start, math.prod(header)
    if came != meant:
        raise _damaged(path, f"{came} bytes follow its header, not {meant}")
    return content, np.frombuffer(content, dtype=np.uint8, offset=start).reshape(header)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return _unzip(raw) if path.suffix == ".gz" else raw
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; {ADVICE}") from error
    except (ValueError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _unzip(raw: bytes) -> bytes:
    """The content of a .gz file, which is refused before it fills the memory."""
    unzip, limit = zlib.decompressobj(wbits=31), max(PLENTY, RATIO * len(raw))
    content = unzip.decompress(raw, limit)
    if unzip.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {limit / 1e6:.0f} MB, as no images do")
    if not unzip.eof or unzip.unused_data.strip(b"\0"):
        raise ValueError("it ends too early" if not unzip.eof else "something follows its content")
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged: {why}; {ADVICE}")
