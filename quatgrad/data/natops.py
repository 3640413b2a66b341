"""NATOPS: signals for aircraft, eight joints of the arms in space, 51 moments, 6 gestures.

Read from the two official files, plain or packed with xz. They are text: a line for each gesture,
its series separated by colons, the numbers of a series by commas, the class last.

Source: N. Ghouaiel, P.-F. Marteau, M. Dupont, AALTD 2016; gestures by Song, Demirdjian & Davis
2011; distributed by the UEA archive of time series.
"""

import os

import numpy as np

from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import Encoding
from quatgrad.data.own import moments
from quatgrad.data.packed import read_files
from quatgrad.errors import DataError, brief
from quatgrad.task import Series

SERIES, STEPS = 24, 51
FILES = {
    "NATOPS_TRAIN.ts": "3567f0aa297e89327215ee1147537e06f7bdc51f48ac8d2c39aaa34fb1eab1b7",
    "NATOPS_TEST.ts": "3a9a41a948c30d19db6b9e0ec44d946d42199c4f8724c2aa6e8b71b28612404e",
}
CLASSES = ("I have command", "all clear", "not clear", "spread wings", "fold wings", "lock wings")
ADVICE = (
    "get NATOPS_TRAIN.ts and NATOPS_TEST.ts (UEA archive, timeseriesclassification.com) into "
    "DIR/natops and give --data-dir DIR or set QUATGRAD_DATA=DIR"
)


def load(data_dir: str | os.PathLike[str] | None = None, encoder: str = "vectors") -> Dataset:
    """180 training and 180 test gestures, as images one pixel wide: float32 (N, 51, 1, 24).

    A joint is three channels in a row, and with the encoder "vectors" a pure quaternion: 32
    channels. Each channel is normalised by its mean and deviation in training.
    """
    texts = read_files("natops", FILES, data_dir, ADVICE)
    train, test = (parse(text, file, len(CLASSES), (SERIES, STEPS)) for file, text in texts.items())
    mean, std = moments(train[0])
    encode = Encoding(encoder, (STEPS, 1, SERIES), tuple(mean), tuple(std))
    return Dataset("natops", Split(*train), Split(*test), CLASSES, encode, task=Series())


def parse(
    content: bytes, file: str, classes: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Series float32 (N, T, 1, C) and classes int64 (N,), counted from 0, of a .ts file.

    shape: (C, T). Raises `DataError`, with the line, for one that does not fit.
    """
    lines = content.decode("latin-1").splitlines()
    start = next((n for n, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if start is None:
        raise DataError(f"{file} has no line @data, as files .ts have")
    images, labels = [], []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if line.strip():
            try:
                *series, label = line.split(":")
                images.append(_numbers(series, shape))
                labels.append(_class(label, classes))
            except ValueError as error:
                raise DataError(f"{file}, line {number}: {brief(str(error))}") from error
    if not images:
        raise DataError(f"{file} has no series after its line @data")
    return np.stack(images)[:, :, None], np.array(labels, np.int64)


def _numbers(series: list[str], shape: tuple[int, int]) -> np.ndarray:
    """(T, C)."""
    sizes = sorted({len(s.split(",")) for s in series})
    if (len(series), sizes) != (shape[0], [shape[1]]):
        raise ValueError(f"{len(series)} series of {sizes} numbers, not {shape[0]} of {shape[1]}")
    a = np.array([s.split(",") for s in series]).astype(np.float32)
    if not np.isfinite(a).all():
        raise ValueError("a number is not finite")
    return a.T


def _class(label: str, classes: int) -> int:
    k = float(label)
    if k not in range(1, classes + 1):
        raise ValueError(f"the class is {label.strip()}, not 1 to {classes}")
    return int(k) - 1
