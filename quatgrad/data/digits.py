"""The 8x8 handwritten digits that come with scikit-learn: no download, a network in seconds.

1797 grey images with pixels 0 to 16 (how many of the 4x4 points of a bitmap were ink), 10 classes
of 174 to 183. Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI
Machine Learning Repository (1998).
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from quatgrad.data.dataset import Dataset, Split, stratified
from quatgrad.data.encode import Encoding
from quatgrad.errors import DataError
from quatgrad.random import generator

TEST_IMAGES = 360  # 36 of each class; 1437 are left to train on


def load(encoder: str = "blocks") -> Dataset:
    """The digits: 1437 training and 360 test images, uint8 (N, 8, 8, 1), encoded (N, 4, 4, 4).

    The split does not depend on a seed: 36 test images of each class, always drawn from
    `generator(0, "digits", "test")`. The encoder sees (x - mean) / std with the mean and standard
    deviation of all training pixels. No augmentation: a mirrored digit is no digit.

    Raises `OptionError` for an encoder that does not take grey images.
    """
    rows = np.loadtxt(_file(), delimiter=",")  # 64 pixels and a label
    images = rows[:, :64].reshape(-1, 8, 8, 1).astype(np.uint8)
    labels = rows[:, 64].astype(np.int64)

    is_test = np.zeros(len(labels), dtype=bool)
    is_test[stratified(labels, TEST_IMAGES, generator(0, "digits", "test"))] = True
    train = Split(images[~is_test], labels[~is_test])
    test = Split(images[is_test], labels[is_test])

    mean, std = float(images[~is_test].mean()), float(images[~is_test].std())
    encode = Encoding(encoder, (8, 8, 1), (mean,), (std,))
    return Dataset("digits", train, test, tuple("0123456789"), encode)


def _file() -> Path:
    """Where scikit-learn keeps the digits: found without importing it, which takes a second."""
    spec = find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        path = Path(place, "datasets", "data", "digits.csv.gz")
        if path.exists():
            return path
    raise DataError(
        "the digits come with scikit-learn, as its file datasets/data/digits.csv.gz, which is not "
        "there: pip install --force-reinstall scikit-learn"
    )
