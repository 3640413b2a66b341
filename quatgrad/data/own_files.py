"""Datasets of one's own, from a path.

DIR/CLASS/*.png ...                       pictures, a folder for each class
DIR/train/CLASS/*, DIR/test/CLASS/*       the same, with test pictures
FILE.npz                                  X, y and perhaps X_test, y_test
DIR or a file in it                       in the form of MNIST's files, or of CIFAR's
"""

import os
import unicodedata
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.backend import notice
from quatgrad.data import cifar, mnist
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.own import from_arrays, labelled, resized
from quatgrad.data.pictures import SUFFIXES, Picture, read_picture
from quatgrad.errors import DataError, OptionError, QuatgradError, brief

Size = int | tuple[int, int] | None

RATIO, PLENTY = 100, 10**8  # an array may unpack to so many times its bytes, or to so many bytes
MOST = 8 * 10**9  # bytes of pictures that are kept in memory
#: The names of the four arrays of an .npz file, training first; those without a test are allowed.
ARRAYS = (
    ("X", "y", "X_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
)


def from_folder(
    path: str | os.PathLike[str],
    image_size: Size = None,
    test_share: float | None = None,
    encoder: str | None = None,
    statistics: str | None = None,
    seed: int = 0,
) -> Dataset:
    """The dataset at a path: pictures in a folder for each class, an .npz file, ... (see above).

    image_size  resize to so many pixels, H = W or (H, W). Without, pictures must be of one size
    test_share, encoder, statistics, seed  see `from_arrays`

    Grey pictures among colours count as colour; what is transparent is laid over white; both are
    noticed. Raises `DataError`, with the file, for what is missing, empty or damaged.
    """
    root = _root(path)
    arrays = _read(root, _pair(image_size))
    name = root.resolve().name.removesuffix(".npz") or "own"
    try:
        return from_arrays(
            *arrays, name=name, encoder=encoder, statistics=statistics, test_share=test_share,
            seed=seed,
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{root}: {error}") from error


def to_judge(path: str | os.PathLike[str], image_size: Size) -> tuple[Split, tuple[str, ...], bool]:
    """(images, names of their classes, are they for testing?): what judges a network that is there.

    The test images of a path as of `from_folder`, or, where none are apart, all of its images.
    """
    root = _root(path)
    arrays = _read(root, _pair(image_size))
    apart = len(arrays) == 4
    try:
        images, labels = labelled(arrays[-2], arrays[-1], which="_test" if apart else "")
    except DataError as error:
        raise DataError(f"{root}: {error}") from error
    classes, numbers = np.unique(labels, return_inverse=True)
    return Split(images, numbers), tuple(map(str, classes.tolist())), apart


def _root(path: str | os.PathLike[str]) -> Path:
    """A path that is there."""
    try:
        root = Path(path).expanduser()
        root.stat()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the dataset {brief(path, 200)} cannot be read: {reason}") from error
    return root


def _pair(size: Any) -> tuple[int, int] | None:
    """An `image_size` as (H, W)."""
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and 1 <= n <= 4096 for n in pair):
        raise OptionError(
            f"`image_size` is one number or two, height and width, from 1 to 4096; got {size!r}"
        )
    return int(pair[0]), int(pair[1])


def _read(root: Path, size: tuple[int, int] | None) -> list[np.ndarray]:
    """X, y and perhaps X_test, y_test."""
    folder = root if root.is_dir() else root.parent
    listed = _listed(folder) if root.is_dir() else [root.name]
    names = {name for name in listed if os.path.isfile(folder / name)}
    if names & {f"{name}{end}" for name in mnist.FILES for end in ("", ".gz")}:
        arrays = mnist.read_arrays(folder)
    elif layout := next((x for x in cifar.LAYOUTS.values() if names & {*x.train, x.test}), None):
        arrays = cifar.read_arrays(folder, layout)
    elif root.is_dir():
        return _read_pictures(root, size)
    elif root.suffix == ".npz":
        arrays = _read_npz(root)
    else:
        raise DataError(
            f"{root} is no dataset: give a folder with a folder of pictures for each class, an "
            ".npz file with X and y, or files in the form of MNIST or CIFAR"
        )
    if size is not None:
        for k in range(0, len(arrays), 2):
            arrays[k] = resized(arrays[k], size, [str(root)])
    return arrays


def _listed(folder: Path) -> list[str]:
    """What is in a folder, in order, but hidden files."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(n for n in names if not n.startswith(".") and n not in ("Thumbs.db", "__MACOSX"))


# ------------------------------------------------------------------------------------ pictures


def _read_pictures(root: Path, size: tuple[int, int] | None) -> list[np.ndarray]:
    train, test = root / "train", root / "test"
    if os.path.isdir(train) and os.path.isdir(test):
        splits = [train, test]
        others = [name for name in _listed(root) if os.path.isdir(root / name)]
        for name in sorted({*others} - {"train", "test"}):
            notice(f"{root / name} is not read: only train and test are")
    elif os.path.isdir(train) and any(os.path.isdir(train / name) for name in _listed(train)):
        others = [name for name in _listed(root) if name != "train"]
        if others:
            raise DataError(f"{root} has train and {others[0]}: call the folder to test with test")
        splits = [train]
    else:
        splits = [root]
    files = [_files(split) for split in splits]
    ignored = [path for _, others in files for path in others]
    if ignored:
        notice(f"{len(ignored)} files of {root} are no pictures by their names: {ignored[0]}, ...")
    paths = [path for found, _ in files for path, _ in found]
    pixels = _read_all(paths, size)
    arrays, start = [], 0
    for found, _ in files:
        labels = np.array([label for _, label in found])
        arrays += [pixels[start : start + len(found)], labels]
        start += len(found)
    return arrays


def _files(split: Path) -> tuple[list[tuple[Path, str]], list[Path]]:
    """The pictures in the folders of a folder, each with its class; and what is no picture."""
    found: list[tuple[Path, str]] = []
    others: list[Path] = []
    classes = _listed(split)
    pictures = (name for name in classes if Path(name).suffix.lower() in SUFFIXES)
    loose = next((name for name in pictures if not os.path.isdir(split / name)), None)
    if loose is not None:
        raise DataError(f"{split / loose} is in no folder of a class: make one for each class")
    for name_of_class in classes:
        folder, label = split / name_of_class, unicodedata.normalize("NFC", name_of_class)
        if not label.isprintable():
            raise DataError(f"the folder {label!a} in {split} has a name that cannot be printed")
        if not os.path.isdir(folder):
            others.append(folder)
            continue
        before = len(found)
        for name in _listed(folder):
            path = folder / name
            if os.path.isdir(path):
                raise DataError(f"{path} is a folder in the folder of a class: move its pictures")
            is_picture = path.suffix.lower() in SUFFIXES
            if is_picture and not os.path.isfile(path):
                raise DataError(f"{path} is no file that can be read: replace or remove it")
            (found.append((path, label)) if is_picture else others.append(path))
        if len(found) == before:
            raise DataError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}): remove it")
    if not found:
        raise DataError(
            f"{split} holds no pictures: make a folder for each class, with its pictures in it"
        )
    return found, others


def _read_all(paths: Sequence[Path], size: tuple[int, int] | None) -> np.ndarray:
    """All pictures, uint8 (N, H, W, C): of one size, C = 3 if one of them has colours."""
    H, W, _ = read_picture(paths[0], None, size).pixels.shape
    if len(paths) * H * W * 3 > MOST:
        raise DataError(
            f"{len(paths):,} pictures of {H}x{W} pixels are more than {MOST / 1e9:.0f} GB: choose "
            "a smaller `image_size`"
        )

    def read(path: Path) -> Picture:
        picture = read_picture(path, None, size)
        h, w, _ = picture.pixels.shape
        if (h, w) != (H, W):
            raise DataError(
                f"{paths[0]} has {H}x{W} pixels (height x width) and {path} has {h}x{w}: choose "
                "an `image_size` to resize them"
            )
        return picture

    with ThreadPoolExecutor() as threads:
        pictures = list(threads.map(read, paths))
    transparent = sum(picture.transparent for picture in pictures)
    if transparent:
        notice(f"{transparent} of {len(paths)} pictures are transparent: laid over white")
    grey = sum(picture.pixels.shape[2] == 1 for picture in pictures)
    if 0 < grey < len(paths):
        notice(f"{grey} of {len(paths)} pictures are grey, the others in colour: all count as that")
    C = 1 if grey == len(paths) else 3
    pixels = np.empty((len(paths), H, W, C), dtype=np.uint8)
    for k, picture in enumerate(pictures):
        pixels[k] = picture.pixels  # a grey one three times
    return pixels


# ---------------------------------------------------------------------------------------- .npz


def _read_npz(path: Path) -> list[np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for names in ARRAYS:
                present = [name for name in names if name in held]
                if len(present) == 4 or present == list(names[:2]):
                    return [_read_array(archive, path, held[name]) for name in present]
    except QuatgradError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive can raise anything
        raise DataError(f"{path} is damaged ({brief(error)}): write it again") from error
    raise DataError(
        f"{path} has {brief(sorted(held)[:20])}, not X and y, or X, y, X_test and y_test"
    )


def _read_array(archive: zipfile.ZipFile, path: Path, name: str) -> np.ndarray:
    """One array of an archive, which is refused before it fills the memory."""
    info = archive.getinfo(name)
    if info.file_size > max(PLENTY, RATIO * info.compress_size):
        raise DataError(f"{path}: {name} unpacks to {info.file_size / 1e6:.0f} MB, as no data do")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = reader(file, max_header_size=1000)
        if dtype.hasobject:
            raise DataError(
                f"{path}: {name} holds Python objects, which are not loaded: save texts as str"
            )
        if prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise DataError(f"{path}: {name} does not have the size that it claims: write it again")
        array = np.frombuffer(file.read(), dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")
