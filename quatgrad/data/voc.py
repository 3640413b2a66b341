"""Pictures with boxes as Pascal VOC has them, in a folder or in a zip.

    ImageSets/Main/NAME.txt   the IDs of the split NAME, one in a line
    JPEGImages/ID.jpg         a picture
    Annotations/ID.xml        its boxes

XML is read as text and without entities, so that none can grow or reach for other files.

Source: Everingham et al., "The Pascal visual object classes challenge", 2010.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from quatgrad.data.boxed import Part
from quatgrad.data.packed import BAD_ZIP
from quatgrad.data.pictures import read_picture
from quatgrad.errors import DataError, brief

Folder = Path | zipfile.Path
LARGEST = 1 << 24  # bytes of a picture or an annotation


def read_split(
    folder: Folder, name: str, classes: Sequence[str], size: tuple[int, int], drop: bool = False
) -> Part:
    """The pictures of a split, uint8 (N, H, W, 3), resized to `size` (H, W), and their boxes there.

    With `drop` boxes without a size are left out. Raises `DataError` for a file that is missing or
    damaged, and for a box without a size, outside its picture, or of another class.
    """
    pictures, boxes = [], []
    _, *paths = files(folder, name)
    for path, note in zip(paths[::2], paths[1::2], strict=True):
        pixels = read_picture(path, 3, content=content(path)).pixels
        H, W = pixels.shape[:2]
        found = parse(_text(note), str(note), classes, (H, W), drop)
        y, x = size[0] / H, size[1] / W
        boxes.append((found * (1, x, y, x, y)).astype(np.float32))
        small = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC)
        pictures.append(np.asarray(small))
    return np.stack(pictures), boxes


def files(folder: Folder, name: str) -> Iterator[Folder]:
    """The file that lists a split; then the picture and the annotation of each ID."""
    listed = folder / "ImageSets" / "Main" / f"{name}.txt"
    ids = [line.split()[0] for line in _text(listed).splitlines() if line.strip()]
    if not ids:
        raise DataError(f"{listed} names no picture")
    yield listed
    for id_ in ids:
        if "/" in id_ or "\\" in id_:
            raise DataError(f"{listed} names {brief(id_)}, which is no file of JPEGImages")
        yield folder / "JPEGImages" / f"{id_}.jpg"
        yield folder / "Annotations" / f"{id_}.xml"


def parse(
    text: str, file: str, classes: Sequence[str], size: tuple[int, int], drop: bool = False
) -> np.ndarray:
    """The boxes (M, 5) of an annotation: class, x0, y0, x1, y1, of a picture of `size` (H, W).

    Errors as of `read_split`.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{file} defines entities, as no annotation does: it is not read")
    try:
        found = [_box(each, classes) for each in ElementTree.fromstring(text).iter("object")]
    except ElementTree.ParseError as error:
        raise DataError(f"{file} is no XML: {error}") from error
    except ValueError as error:
        raise DataError(f"{file}: {brief(error, 200)}") from error
    H, W = size
    kept = []
    for number, (k, x0, y0, x1, y1) in enumerate(found, 1):
        where = f"{file}: box {number}, ({x0:g}, {y0:g}, {x1:g}, {y1:g}),"
        if not (0 <= x0 <= W and 0 <= x1 <= W and 0 <= y0 <= H and 0 <= y1 <= H):
            raise DataError(f"{where} is not inside the picture of {W} x {H} pixels")
        if x0 < x1 and y0 < y1:
            kept.append((k, x0, y0, x1, y1))
        elif not drop:
            raise DataError(f"{where} has no size: remove it, or mend its numbers")
    return np.array(kept, np.float64).reshape(-1, 5)


def _box(each: ElementTree.Element, classes: Sequence[str]) -> tuple[float, ...]:
    """(class, x0, y0, x1, y1); `ValueError` says what is not as it must be."""
    name = (each.findtext("name") or "").strip()
    if name not in classes:
        raise ValueError(f"a box is of {brief(repr(name))}; the classes are {', '.join(classes)}")
    corners = []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        number = each.findtext(f"bndbox/{side}") or ""
        try:
            corners.append(float(number))
        except ValueError:
            raise ValueError(f"{side} of a box of {name} is {brief(number)!r}, no number") from None
    return (float(classes.index(name)), *corners)


def content(path: Folder) -> bytes:
    """The bytes of a file, if it is not larger than any picture."""
    try:
        with path.open("rb") as file:
            found: bytes = file.read(LARGEST + 1)
    except (OSError, ValueError, EOFError, *BAD_ZIP) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(found) > LARGEST:
        raise DataError(f"{path} has more than {LARGEST >> 20} MB")
    return found


def _text(path: Folder) -> str:
    try:
        return content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason})") from error
