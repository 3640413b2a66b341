"""BCCD: blood cells under a microscope, red ones, white ones and platelets, with their boxes.

Read from bccd.zip, or from the folder BCCD as it was published, in which are the files that
`quatgrad.data.voc` describes. 364 pictures of 640 x 480 pixels: 205 for training, 87 for
validation and 72 for the test, as they were split officially. They are read at a quarter of their
sides. Two boxes without a size are left out.

Source: github.com/Shenggan/BCCD_Dataset; pictures by cosmicad and akshaylamba. MIT licence.
"""

import hashlib
import os
import zipfile
from pathlib import Path

from quatgrad.data import voc
from quatgrad.data.boxed import from_boxes
from quatgrad.data.dataset import Dataset
from quatgrad.data.fetch import data_root, first_complete
from quatgrad.data.packed import BAD_ZIP
from quatgrad.errors import DataError

SIZE = (120, 160)  # H, W
CLASSES = ("RBC", "WBC", "Platelets")
SPLITS = ("train", "test", "val")
#: SHA-256 over those of all files, in the order in which `voc.files` names them.
SUM = "f9daef338ccb833870e933f0aa4afcff717849998970ec5eb4575cdfd4621892"
ADVICE = (
    "get the folder BCCD of github.com/Shenggan/BCCD_Dataset into DIR/bccd and give --data-dir "
    "DIR or set QUATGRAD_DATA=DIR"
)


def load(data_dir: str | os.PathLike[str] | None = None, encoder: str = "rgb_gray") -> Dataset:
    """205 training, 87 validation and 72 test pictures, uint8 (N, 120, 160, 3), of 3 classes.

    Raises `DataError` for files that are missing or not the official ones.
    """
    root, _ = data_root(data_dir)
    places = [root / "bccd", root, root / "BCCD_Dataset"]
    place = first_complete(
        "bccd", places, lambda p: [] if _forms(p) else ["bccd.zip, and a folder BCCD"], ADVICE
    )
    path = _forms(place)[0]
    try:
        folder = zipfile.Path(path) / "BCCD" if path.suffix == ".zip" else path
        came = _sum(folder)
    except (OSError, *BAD_ZIP) as error:
        raise DataError(f"{path} cannot be read: {error}; {ADVICE}") from error
    if came != SUM:
        raise DataError(
            f"{path} does not hold the official files of bccd: the SHA-256 over their own is "
            f"{came[:16]}..., not {SUM[:16]}...; {ADVICE}"
        )
    train, test, held = (voc.read_split(folder, name, CLASSES, SIZE, drop=True) for name in SPLITS)
    return from_boxes("bccd", CLASSES, train, test, held, encoder)


def _forms(place: Path) -> list[Path]:
    """What there is of the zip and the folder."""
    return [p for p in (place / "bccd.zip", place / "BCCD") if p.exists()]


def _sum(folder: voc.Folder) -> str:
    sha = hashlib.sha256()
    for name in SPLITS:
        for path in voc.files(folder, name):
            sha.update(hashlib.sha256(voc.content(path)).digest())
    return sha.hexdigest()
