"""Synthetic images in the official formats: for tests, and for experiments without a download."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.data import cifar, convert, mnist
from quatgrad.errors import DataError, OptionError, unknown
from quatgrad.random import generator

NOISE = 32  # grey levels

Write = Callable[[Path, np.ndarray, np.ndarray], None]  # (file, images, labels)


def make(
    name: str,
    directory: str | Path,
    train: int = 500,
    test: int = 200,
    num_classes: int | None = None,
    seed: int = 0,
) -> Path:
    """x[h, w, c] = 128 + 64 cos(2 pi (u h / H + v w / W) + phi) + noise: each class has its waves.

    u, v (0 ... 3 periods) and phi are drawn for each class and colour c; the noise of a pixel is
    uniform, -32 to 32. All classes are equally frequent, and a network learns them in a few steps.

    Writes `train` and `test` images in the format of the dataset `name` ("mnist", "cifar10",
    "cifar100", "imagenet64") into `directory`, and returns `directory`, from which
    `data.load(name, directory)` reads them. `num_classes`: only the first so many classes occur.

    Raises `OptionError` for an unknown name or an impossible number, `DataError` if there are
    files of this dataset already.
    """
    if name not in _MAKERS:
        raise OptionError(unknown("dataset that can be made", name, _MAKERS))
    folder, files, shape, classes, write = _MAKERS[name]
    used = classes if num_classes is None else num_classes
    if not 1 <= used <= classes or train < len(files) - 1 or test < 1:
        raise OptionError(
            f"{name} can be made with 1 to {classes} classes, at least {len(files) - 1} training "
            f"and 1 test images; got {used}, {train} and {test}"
        )
    target = Path(directory) / folder
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"{name} cannot be made in {target}: {error.strerror}; choose another folder"
        ) from error
    waves = _waves(shape, min(used, max(train, test)), seed)
    parts = [*np.array_split(np.arange(train) % used, len(files) - 1), np.arange(test) % used]
    for file, labels in zip(files, parts, strict=True):
        rng = generator(seed, "made", file)
        labels = rng.permutation(labels)
        write(target / file, _images(labels, waves, rng), labels)
    if name in cifar.LAYOUTS:
        _write_names(target, cifar.LAYOUTS[name])
    return Path(directory)


def _waves(shape: tuple[int, int, int], classes: int, seed: int) -> np.ndarray:
    """The image of each class without noise: int16 (classes, H, W, C)."""
    H, W, C = shape
    rng = generator(seed, "made", "waves")
    u, v = rng.integers(0, 4, (2, classes, 1, 1, C))
    phi = rng.uniform(0, 2 * np.pi, (classes, 1, 1, C))
    h, w = np.arange(H)[:, None, None] / H, np.arange(W)[:, None] / W
    angle = (2 * np.pi * (u * h + v * w) + phi).astype(np.float32)
    return (128 + 64 * np.cos(angle)).astype(np.int16)


def _images(labels: np.ndarray, waves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    images = np.empty((len(labels), *waves.shape[1:]), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):  # one by one: a batch may be large
        image[:] = waves[label] + rng.integers(-NOISE, NOISE + 1, image.shape, dtype=np.int8)
    return images


# ----------------------------------------------------------------------------------- the formats


def _write_mnist(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    _write_idx(file, images[..., 0])
    _write_idx(Path(str(file).replace("images-idx3", "labels-idx1")), labels.astype(np.uint8))


def _write_idx(file: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    file.write_bytes(header + array.tobytes())


def _write_cifar(labels_key: str) -> Write:
    def write(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
        _write_pickle(file, {b"data": _planes(images), labels_key.encode(): labels.tolist()})

    return write


def _write_names(folder: Path, layout: cifar.Layout) -> None:
    names = [b"class_%d" % k for k in range(layout.num_classes)]
    _write_pickle(folder / layout.meta, {layout.names_key.encode(): names})


def _write_imagenet64(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    content = {"data": _planes(images), "labels": (labels + 1).tolist()}
    _write_pickle(file, content | {"mean": np.full(convert.ROW, 128.0)})


def _planes(images: np.ndarray) -> np.ndarray:
    """Rows of all red, all green, all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def _write_pickle(path: Path, content: Any) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=3)


def _cifar(name: str) -> tuple[str, Sequence[str], tuple[int, int, int], int, Write]:
    layout = cifar.LAYOUTS[name]
    files = (*layout.train, layout.test)
    return layout.folder, files, cifar.SHAPE, layout.num_classes, _write_cifar(layout.labels_key)


#: name -> folder, files (the last for testing), shape of an image, classes, how a file is written
_MAKERS: dict[str, tuple[str, Sequence[str], tuple[int, int, int], int, Write]] = {
    "mnist": ("mnist", (mnist.TRAIN_IMAGES, mnist.TEST_IMAGES), mnist.SHAPE, 10, _write_mnist),
    **{name: _cifar(name) for name in cifar.LAYOUTS},
    "imagenet64": (
        "imagenet64",
        (*convert.SPLITS["train"], *convert.SPLITS["test"]),
        convert.SHAPE,
        convert.CLASSES,
        _write_imagenet64,
    ),
}
