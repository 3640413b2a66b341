"""Datasets of one's own, from arrays or lists: images, series or tables.

    dataset = from_arrays(X, y)                      a fifth of X becomes the test images
    dataset = from_arrays(X, y, X_test, y_test)

X is uint8 or float; y has integers of any kind or texts. Mean and deviation come from the training
images and are part of the encoding, so that they are kept with whatever is trained on them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quatgrad.backend import notice
from quatgrad.data.dataset import Augment, Dataset, Split
from quatgrad.data.encode import Encoding, colour_encoding
from quatgrad.data.identity import hashes
from quatgrad.errors import DataError, OptionError, brief, unknown
from quatgrad.random import generator
from quatgrad.task import CLASSES, Series

TEST_SHARE = 0.2
PIECE, NUMBERS = 1024, 1 << 26  # images that are looked at together, or pixels of large ones
#: What X may be -> its shapes, and what they are called.
KINDS = {
    "images": "(N, height, width) or (N, height, width, channels)",
    "series": "(N, time) or (N, time, channels)",
    "table": "(N, features)",
}


def from_arrays(
    X: Any,
    y: Any,
    X_test: Any = None,
    y_test: Any = None,
    *,
    name: str = "own",
    kind: str | None = None,
    encoder: str | None = None,
    statistics: str | None = None,
    test_share: float | None = None,
    seed: int = 0,
    augment: Augment | None = None,
) -> Dataset:
    """A `Dataset` of arrays or lists.

    kind        one of `KINDS`; None: a table if X has 2 axes, else images
    encoder     one of `ENCODERS`; None: what fits the channels, with a notice that says why
    statistics  see `data.load`; None: mean and deviation of the training images
    test_share  without X_test: this share of each class is for testing, drawn by `seed`; None:
                `TEST_SHARE`

    The classes are the labels that occur in y, in order. Raises `DataError` for data that do not
    fit each other, or cannot be trained on; `OptionError` for an impossible option.
    """
    if kind is not None and kind not in KINDS:
        raise OptionError(unknown("kind of data", kind, KINDS))
    images, labels = labelled(X, y, kind)
    if (X_test is None) != (y_test is None):
        raise OptionError("`X_test` and `y_test` belong together: give both or none")
    if X_test is None:
        is_test = split_off(labels, test_share, seed)
        test_images, test_labels = images[is_test], labels[is_test]
        images, labels = images[~is_test], labels[~is_test]
    elif test_share is not None:
        raise OptionError(f"`test_share` is for data without test images, and {name} has some")
    else:
        test_images, test_labels = labelled(X_test, y_test, kind, "_test")
        # Whole numbers may fit bytes in one part alone.
        if images.dtype != test_images.dtype and np.asarray(X).dtype == np.asarray(X_test).dtype:
            images, test_images = images.astype(np.float32), test_images.astype(np.float32)
        _check_alike(images, test_images)
    classes = _classes(labels, test_labels)
    train = Split(images, np.searchsorted(classes, labels))
    test = Split(test_images, np.searchsorted(classes, test_labels))
    _notice_twins(name, train, test)
    encode = encoding_of(name, images, kind, encoder, statistics)
    task = Series() if kind == "series" else CLASSES
    names = tuple(map(str, classes.tolist()))
    return Dataset(name, train, test, names, encode, augment, task=task)


def labelled(
    X: Any, y: Any, kind: str | None = None, which: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, C), uint8 or float32, and their labels (N,), int64 or texts, as they fit."""
    images, labels = _as_images(X, kind, f"X{which}"), _as_labels(y, f"y{which}")
    if len(images) != len(labels):
        raise DataError(f"`X{which}` has {len(images)} images and `y{which}` {len(labels)} labels")
    return images, labels


def split_off(labels: np.ndarray, share: float | None = None, seed: int = 0) -> np.ndarray:
    """Which images are for testing, bool (N,): round(share n) of the n of each class, at least 1.

    Without a share it is `TEST_SHARE`. They are drawn from `generator(seed, "own", "test")`. Raises
    `DataError` if nothing of a class would be left to train on.
    """
    share = TEST_SHARE if share is None else share
    if not 0 < share < 1:
        raise OptionError(f"`test_share` is more than 0 and less than 1; got {share!r}")
    rng = generator(seed, "own", "test")
    is_test = np.zeros(len(labels), dtype=bool)
    for value in np.unique(labels):
        (rows,) = np.nonzero(labels == value)
        n = max(1, round(share * len(rows)))
        if n >= len(rows):
            raise DataError(
                f"class {brief(value)} has {len(rows)} images, of which {n} would be for testing, "
                "and none to train on: add some, or give test images apart"
            )
        is_test[rng.permutation(rows)[:n]] = True
    return is_test


# ------------------------------------------------------------------------------- how it is seen


def encoding_of(
    name: str, images: np.ndarray, kind: str | None, encoder: str | None, statistics: str | None
) -> Encoding:
    """The encoding of training images: with their own mean and deviation, or named ones."""
    H, W, C = images.shape[1:]
    if encoder is None:
        encoder, why = _choose(H, W, C, kind)
        notice(f"{name}: encoder {encoder}: {why}")
    if statistics is not None:
        if C != 3 or images.dtype != np.uint8:
            raise OptionError(
                f"statistics {statistics!r} are for colours of 0 to 255, and {name} has "
                f"{images.dtype} images of {C} channels: leave them out"
            )
        return colour_encoding(encoder, (H, W, C), statistics)
    mean, std = moments(images)
    return Encoding(encoder, (H, W, C), tuple(mean), tuple(std))


def _choose(H: int, W: int, C: int, kind: str | None) -> tuple[str, str]:
    """An encoder, and why."""
    if C == 3 and kind == "series":
        return "zero_real", "the three numbers of a moment are the imaginary parts"
    if C == 3 and (H, W) != (1, 1):
        return "rgb_gray", "the three colours of a pixel, and its brightness, are one quaternion"
    if C == 1 and H % 2 == 0 and W % 2 == 0:
        return "blocks", "four grey pixels that touch are one quaternion"
    if C == 1 and W % 4 == 0:
        return "consecutive", "four numbers in a row are one quaternion"
    if C == 4:
        return "channels", "the four channels are one quaternion"
    if C == 1:
        return "channels", f"a number is the real part alone, as 4 does not divide {H}x{W}"
    return "channels", f"{C} numbers are {-(-C // 4)} quaternions, filled up with zeros"


def moments(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel; the deviation of a constant one counts as 1."""
    n, C = images[..., 0].size, images.shape[3]
    step = max(1, min(PIECE, NUMBERS // images[0].size))
    pieces = [slice(k, k + step) for k in range(0, len(images), step)]
    rows = (images[p].reshape(-1, C).astype(np.float64) for p in pieces)
    mean = np.sum([piece.sum(0) for piece in rows], axis=0) / n
    rows = (images[p].reshape(-1, C) - mean for p in pieces)
    std = np.sqrt(np.sum([(piece**2).sum(0) for piece in rows], axis=0) / n)
    return mean.tolist(), np.where(std > 0, std, 1.0).tolist()


# ------------------------------------------------------------------------------- what is taken


def _as_images(X: Any, kind: str | None, what: str) -> np.ndarray:
    """X as images (N, H, W, C), uint8 or float32."""
    a = _as_numbers(X, what)
    if not a.ndim:
        raise DataError(f"`{what}` is one number, and not one for each image")
    kind = kind or ("table" if a.ndim == 2 else "images")
    shapes = {
        ("images", 3): (*a.shape, 1),
        ("images", 4): a.shape,
        ("series", 2): (len(a), 1, *a.shape[1:], 1),
        ("series", 3): (*a.shape[:2], 1, *a.shape[2:]),
        ("table", 2): (len(a), 1, 1, *a.shape[1:]),
    }
    if (kind, a.ndim) not in shapes:
        raise DataError(f"`{what}` has shape {a.shape}, and {kind} are {KINDS[kind]}")
    if 0 in a.shape:
        raise DataError(f"`{what}` has shape {a.shape}: there is nothing in it")
    if a.ndim == 4 and a.shape[1] in (1, 3, 4) and a.shape[3] not in (1, 3, 4):
        raise DataError(
            f"`{what}` has shape {a.shape}, the channels before the pixels it seems: give "
            f"{what}.transpose(0, 2, 3, 1)"
        )
    return np.ascontiguousarray(a.reshape(shapes[kind, a.ndim]))


def _as_numbers(X: Any, what: str) -> np.ndarray:
    """X as an array of uint8 or float32, all finite."""
    if isinstance(X, list | tuple):
        shapes = [np.shape(x) for x in X]
        other = next((k for k, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            raise DataError(
                f"`{what}`[0] has shape {shapes[0]} and `{what}`[{other}] has {shapes[other]}: "
                "make them of one size"
            )
    a = np.asarray(X)
    if a.dtype.kind not in "buif":
        raise DataError(f"`{what}` holds {a.dtype}; it must hold numbers")
    if a.dtype == np.uint8 or a.dtype == bool:
        return a.astype(np.uint8)
    if a.ndim > 2 and a.dtype.kind in "iu" and a.size and a.min() >= 0 and a.max() <= 255:
        return a.astype(np.uint8)
    with np.errstate(over="ignore"):
        x = a.astype(np.float32)
    if not np.isfinite(x).all():
        row = np.argwhere(~np.isfinite(x))[0].tolist()
        raise DataError(f"`{what}`{row} is {a[tuple(row)]}, which is no finite float32")
    _notice_lost_digits(a, x, what)
    return x


def _notice_lost_digits(a: np.ndarray, x: np.ndarray, what: str) -> None:
    """Say so where numbers differ by less than float32 can tell: a time in seconds, a long id."""
    if a.dtype == np.float32 or a.ndim != 2 or not a.size:
        return
    spread = a.astype(np.float64).std(axis=0)
    coarse = (spread > 0) & (np.spacing(abs(x).max(axis=0)) > spread / 100)
    if coarse.any():
        notice(
            f"`{what}`[:, {coarse.argmax()}] has large numbers that differ by little, less than "
            "float32 can tell: subtract their mean first"
        )


def _as_labels(y: Any, what: str) -> np.ndarray:
    """Labels as int64 or texts, (N,)."""
    is_list = isinstance(y, list | tuple)
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise DataError(f"`{what}` is no array ({error}): give one label for each image") from error
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"`{what}` has shape {labels.shape}; it must have one label for each image, as "
            "argmax(axis=1) makes of rows of probabilities"
        )
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"`{what}` has bytes that are no UTF-8: give texts") from error
    if labels.dtype.kind == "O" or (is_list and labels.dtype.kind == "U"):
        values = list(y) if is_list else labels.tolist()
        if not all(isinstance(v, str) for v in values):
            raise DataError(f"`{what}` mixes texts with other things: give texts or whole numbers")
        labels = np.array(values, dtype=str)
    if labels.dtype.kind in "bui":
        if labels.size and labels.max() > np.iinfo(np.int64).max:
            raise DataError(f"`{what}` holds {labels.max()}, which is too large for a label")
        return labels.astype(np.int64)
    if labels.dtype.kind != "U":
        raise DataError(
            f"`{what}` holds {labels.dtype}; labels are whole numbers or texts: y.astype(int)"
        )
    return labels


def _classes(labels: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """The labels that occur, in order."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DataError(f"all images are of class {brief(classes[0])}: there is nothing to learn")
    if (labels.dtype.kind == "U") != (test_labels.dtype.kind == "U"):
        raise DataError("`y` and `y_test` are of two kinds: give numbers or texts in both")
    unknown_ones = np.setdiff1d(test_labels, classes)
    if len(unknown_ones):
        raise DataError(
            f"{brief(unknown_ones[0])} occurs as a class of test images, but no training image "
            "is of it"
        )
    return classes


def _check_alike(images: np.ndarray, test_images: np.ndarray) -> None:
    if images.shape[1:] != test_images.shape[1:] or images.dtype != test_images.dtype:
        raise DataError(
            f"training images are {images.dtype} {images.shape[1:]} and test images "
            f"{test_images.dtype} {test_images.shape[1:]}: make them alike"
        )


def _notice_twins(name: str, train: Split, test: Split) -> None:
    seen = set(hashes(train.images[:]).tolist())
    twins = sum(number in seen for number in hashes(test.images[:]).tolist())
    if twins:
        notice(
            f"{name}: {twins} of the {len(test)} test images are training images, too: accuracy "
            "on these says nothing"
        )


def resized(images: np.ndarray, size: tuple[int, int] | None, names: Sequence[str]) -> np.ndarray:
    """Images uint8 (N, H, W, C), or grey ones (N, H, W), of another size (H, W)."""
    if size is None or images.shape[1:3] == size:
        return images
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise OptionError(
            f"`image_size` is for pictures of bytes; {names[0]} holds {images.dtype} "
            f"{images.shape[1:]}"
        )
    from PIL import Image

    def one(image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        small = np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC))
        return small.reshape(*size, -1)

    return np.stack([one(image) for image in images])
