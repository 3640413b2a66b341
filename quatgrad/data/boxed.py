"""Pictures with boxes: a dataset of them, and how boxes move when a picture is mirrored.

    dataset = from_boxes("cells", ("red", "white"), (pictures, boxes), (more, their_boxes))

Of each picture its boxes are an array (M, 5): class, x0, y0, x1, y1 in its pixels, M = 0 allowed.
"""

from collections.abc import Sequence

import numpy as np

from quatgrad import boxes
from quatgrad.data.dataset import Dataset, Split, Together
from quatgrad.data.encode import Encoding
from quatgrad.data.own import moments
from quatgrad.errors import DataError, brief
from quatgrad.task import Detection

#: Pictures uint8 (N, H, W, C), and the boxes of each.
Part = tuple[np.ndarray, Sequence[np.ndarray]]


def from_boxes(
    name: str,
    classes: Sequence[str],
    train: Part,
    test: Part,
    validation: Part | None = None,
    encoder: str = "rgb_gray",
) -> Dataset:
    """A `Dataset` for detectors. Pictures are of one size, colours normalised by those of training.

    In training each picture is mirrored at random, from left to right and upside down. Raises
    `DataError` for boxes that have no size, leave their picture, or are of no class, and where
    there is none to train on, or to test with.
    """
    given = {"training": train, "test": test} | ({"validation": validation} if validation else {})
    parts = {
        which: (np.asarray(pictures), [] if own is None else own)
        for which, (pictures, own) in given.items()
    }
    shape = parts["training"][0].shape[1:]
    splits = {}
    for which, (pictures, own) in parts.items():
        if len(pictures) != len(own):
            raise DataError(
                f"{name}: {len(pictures)} {which} pictures have {len(own)} arrays of boxes: give "
                "one for each picture"
            )
        if pictures.shape[1:] != shape:
            raise DataError(f"{name}: {which} pictures are {pictures.shape[1:]}, others {shape}")
        labels = _labels(own, f"{name}: {which}")
        boxes.check(labels, shape[:2], len(classes), f"{name}, {which}")
        if not (labels[..., 0] >= 0).any():
            raise DataError(f"{name}: the {which} pictures have no box, so nothing can be measured")
        splits[which] = Split(pictures, labels)
    mean, std = moments(parts["training"][0])
    encode = Encoding(encoder, shape, tuple(mean), tuple(std))
    task = Detection(len(classes), sum(map(len, train[1])) / len(train[0]))
    first, held = (splits["training"], splits["test"]), splits.get("validation")
    return Dataset(name, *first, tuple(classes), encode, Together(flip), held, task)


def _labels(own: Sequence[np.ndarray], what: str) -> np.ndarray:
    """As of `boxes.padded`."""
    try:
        arrays = [np.asarray(a, np.float32) for a in own]
    except (ValueError, TypeError) as error:
        raise DataError(f"{what}: the boxes of a picture are no array: {brief(error)}") from error
    for n, a in enumerate(arrays):
        if a.size and (a.ndim != 2 or a.shape[1] != 5):
            raise DataError(
                f"{what}: the boxes of picture {n} have shape {a.shape}, not (M, 5): class, x0, "
                "y0, x1, y1"
            )
    return boxes.padded([a.reshape(-1, 5) for a in arrays])


def flip(
    images: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Half of the pictures mirrored from left to right, half upside down, with their boxes.

    images (N, H, W, C), labels (N, M, 5) as of `quatgrad.boxes`. Each picture takes the next two
    numbers of the generator, so the batch size changes nothing.
    """
    mirrored, turned = (generator.random((len(images), 2)) < 0.5).T
    H, W = images.shape[1:3]
    images, labels = images.copy(), labels.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    images[turned] = images[turned, ::-1]
    for chosen, low, side in ((mirrored, 1, W), (turned, 2, H)):
        there = (labels[..., 0] >= 0) & chosen[:, None]
        labels[there, low], labels[there, low + 2] = (
            side - labels[there, low + 2],
            side - labels[there, low],
        )
    return images, labels
