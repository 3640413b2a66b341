"""The official files of ImageNet64, converted once to plain ones that can be read in any order.

    imagenet64-converted/
        train_images.npy     uint8 (N, 64, 64, 3)      test_images.npy
        train_labels.npy     int64 (N,), 0 ... 999     test_labels.npy
        train_checksums.npy  uint32 (N,), the CRC-32   test_checksums.npy
                             of each image
        contents.json        sizes and SHA-256 sums of what was read and of what was written

There is no SHA-256 of the images, because it would take minutes to compare. `contents.json` proves
the checksums, and each image is compared with its checksum when it is read. The folder appears by
one rename, when all of it is on the disk. If a conversion is killed, the next one deletes its
folder `.imagenet64-converting`.
"""

import hashlib
import io
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from tqdm import tqdm

from quatgrad.backend import notice
from quatgrad.data.dataset import Split
from quatgrad.data.disk import ImagesOnDisk, read_header
from quatgrad.data.identity import refuse_twins
from quatgrad.data.pickles import InFile, read_pickle
from quatgrad.errors import DataError, RunError, brief
from quatgrad.files import flush_to_disk, lock, whole_folder, write_whole

SHAPE = (64, 64, 3)
SPLITS = {"train": tuple(f"train_data_batch_{i}" for i in range(1, 11)), "test": ("val_data",)}
ROW = 64 * 64 * 3  # bytes of an image
PIECE = 1024  # images that are converted together
CLASSES = 1000
ADVICE = (
    "ImageNet needs a login, so nothing is downloaded: register at https://image-net.org, get "
    "'Downsampled image data', Train (64x64) part 1 and 2 and Val (64x64), unpack "
    "the 11 files to DIR/imagenet64, and give --data-dir DIR or set QUATGRAD_DATA=DIR"
)


class Sum(msgspec.Struct, omit_defaults=True):
    """What is known of a file."""

    bytes: int
    sha256: str | None = None
    changed: int | None = None  # when the file was last written, in ns


class Contents(msgspec.Struct):
    """`contents.json`: the official files and the converted ones, by name."""

    read: dict[str, Sum]
    written: dict[str, Sum]


class Batch(NamedTuple):
    """An official file: its images, or the place of them in the file, and labels 0 ... 999."""

    path: Path
    data: InFile | np.ndarray
    labels: np.ndarray


def convert(source: Path, target: Path) -> Path:
    """Convert the official files in `source` to the folder `target`, unless it is there already.

    The memory needed does not grow with the number of images. One process converts; others wait for
    it. Returns `target`.

    Raises `DataError` if a file is damaged or no official file, if the disk is full, or if `target`
    was made from other files than those in `source`.
    """
    try:
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with lock(target.parent, wait=True):
                if not target.is_dir():  # unless another process was quicker
                    _convert(source, target)
        _check_sources(source, target)
    except (OSError, RunError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{source} cannot be converted to {target}: {reason}; nothing of "
            "it was kept: make room, or choose another --data-dir, and run the same command again"
        ) from error
    return target


def read_split(folder: Path, which: str) -> Split:
    """The split `which` of the converted files in `folder`; its images stay on the disk.

    Raises `DataError`, with the file and what is wrong, if a file is missing or its size or (not
    for images) its SHA-256 has changed.
    """
    written = _read_contents(folder).written
    try:
        labels, checksums = (
            _read_checked(folder / f"{which}_{what}.npy", written)
            for what in ("labels", "checksums")
        )
        path = folder / f"{which}_images.npy"
        _check_size(path, written)
        return Split(ImagesOnDisk(path, checksums), labels)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


# ----------------------------------------------------------------------------- official files


def _read_batch(path: Path) -> Batch:
    """One official file, checked: rows of all red, all green, all blue; labels 1 ... 1000."""
    content = read_pickle(path, ADVICE, "data", "labels", leave_long=True)
    data, labels = content["data"], content["labels"]
    if not isinstance(data, InFile | np.ndarray):
        raise _wrong(path, f"'data' is {type(data).__name__}, not an array of bytes")
    if len(data.shape) != 2 or data.shape[1] != ROW:
        side = {3 * n * n: n for n in (8, 16, 32)}.get(data.shape[-1]) if data.shape else None
        known = f": they are images of {side}x{side}" if side else ""
        raise _wrong(path, f"'data' is bytes {brief(data.shape)}, not (N, {ROW}){known}")
    if not data.shape[0]:
        raise _wrong(path, "it holds no images")
    if not isinstance(labels, list) or len(labels) != data.shape[0]:
        count = f"{len(labels)} entries" if isinstance(labels, list) else "no list"
        raise _wrong(path, f"'labels' has {count} for {data.shape[0]} images")
    for label in labels:
        if type(label) is not int or not 1 <= label <= CLASSES:
            raise _wrong(path, f"'labels' has {brief(repr(label))}, not a class 1 ... {CLASSES}")
    return Batch(path, data, np.array(labels, dtype=np.int64) - 1)


def _pieces(batch: Batch) -> Iterator[np.ndarray]:
    """The images of a file, uint8 (at most PIECE, 64, 64, 3)."""
    with open(batch.path, "rb") as file:
        for k in range(0, len(batch.labels), PIECE):
            n = min(PIECE, len(batch.labels) - k)
            if isinstance(batch.data, InFile):
                file.seek(batch.data.offset + k * ROW)
                rows = np.frombuffer(file.read(n * ROW), dtype=np.uint8)
            else:
                rows = batch.data[k : k + n]
            images = rows.reshape(n, 3, 64, 64).transpose(0, 2, 3, 1)  # (n, 64, 64, 3)
            yield np.ascontiguousarray(images)


def _sums(batches: list[Batch]) -> dict[str, Sum]:
    """What is known of each official file; `DataError` if two are the same."""
    sums: dict[str, Sum] = {}
    for batch in tqdm(batches, "reading ImageNet64", unit="file", disable=None):
        found = _sum(batch.path)
        for name, other in sums.items():
            if other.sha256 == found.sha256:
                raise _wrong(batch.path, f"it has the content of {name}")
        sums[batch.path.name] = found
    return sums


def _wrong(path: Path, why: str) -> DataError:
    return DataError(f"{path} is not a file of ImageNet64: {why}; {ADVICE}")


# -------------------------------------------------------------------------------- converting


def _convert(source: Path, target: Path) -> None:
    splits = {
        which: [_read_batch(source / file) for file in files] for which, files in SPLITS.items()
    }
    batches = [batch for split in splits.values() for batch in split]
    with whole_folder(target, target.parent / ".imagenet64-converting") as scratch:
        _check_space(target.parent, sum(len(batch.labels) for batch in batches) * ROW)
        contents = Contents(_sums(batches), {})
        checksums: dict[str, np.ndarray] = {}
        for which, split in splits.items():
            checksums |= _write_split(scratch, which, split, contents.written)
        refuse_twins(source, checksums, ADVICE)
        _write_contents(scratch, contents)


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 1.01 * size:  # labels and checksums take 0.1 %
        raise DataError(
            f"converting ImageNet64 takes {size / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} "
            "GB are free: make room, and run the same command again"
        )


def _write_split(
    folder: Path, which: str, batches: list[Batch], written: dict[str, Sum]
) -> dict[str, np.ndarray]:
    """Write the three files of a split; the checksums of the images of each official file."""
    labels = np.concatenate([batch.labels for batch in batches])
    checksums = np.empty(len(labels), dtype=np.uint32)
    images, k = folder / f"{which}_images.npy", 0
    with (
        open(images, "wb") as file,
        tqdm(total=len(labels), desc=f"converting {which}", unit="image", disable=None) as bar,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in batches:
            for piece in _pieces(batch):
                file.write(piece.data)
                checksums[k : k + len(piece)] = [zlib.crc32(image) for image in piece]
                k += len(piece)
                bar.update(len(piece))
        flush_to_disk(file)
    written[images.name] = Sum(images.stat().st_size)
    for path, array in (
        (folder / f"{which}_labels.npy", labels),
        (folder / f"{which}_checksums.npy", checksums),
    ):
        np.save(content := io.BytesIO(), array)
        write_whole(path, content.getvalue())
        written[path.name] = _sum(path)
    ends = np.cumsum([len(batch.labels) for batch in batches])
    parts = np.split(checksums, ends[:-1])
    return {batch.path.name: part for batch, part in zip(batches, parts, strict=True)}


def _sum(path: Path) -> Sum:
    with open(path, "rb") as file:
        found = path.stat()
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Sum(found.st_size, digest, found.st_mtime_ns)


def _write_contents(folder: Path, contents: Contents) -> None:
    text = msgspec.json.format(msgspec.json.encode(contents), indent=1)
    write_whole(folder / "contents.json", text)


# ---------------------------------------------------------------------------- converted files


def _check_sources(source: Path, target: Path) -> None:
    """An official file may be gone. If it is there, it must be the one that was read.

    Its bytes are compared only if it was written after that: it takes minutes.
    """
    contents, is_newer = _read_contents(target), False
    converted = (target / "contents.json").stat().st_mtime_ns
    for name, was in contents.read.items():
        path = source / name
        if not os.path.isfile(path):
            continue
        found = path.stat()
        if found.st_size != was.bytes:
            why = f"has {found.st_size:,} bytes", f"it had {was.bytes:,}"
        elif found.st_mtime_ns == (was.changed or min(found.st_mtime_ns, converted)):
            continue
        else:
            notice(f"{path} was written after it was converted: comparing its content")
            if _sum(path).sha256 == was.sha256:
                was.changed, is_newer = found.st_mtime_ns, True
                continue
            why = "has other content", "it was another file"
        raise DataError(
            f"{path} {why[0]}, but {target} was made when {why[1]}: delete {target} to convert it "
            "again"
        )
    if is_newer:
        with suppress(OSError):  # where we may not write, it is compared each time
            _write_contents(target, contents)


def _read_contents(folder: Path) -> Contents:
    path = folder / "contents.json"
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(1 << 16), type=Contents)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, brief(error)) from error


def _read_checked(path: Path, written: dict[str, Sum]) -> np.ndarray:
    """A small .npy file; its size and SHA-256 are compared first."""
    _check_size(path, written)
    came, meant = _sum(path).sha256, written[path.name].sha256
    if came != meant:
        raise _damaged(path, f"its SHA-256 is {came}, not {brief(meant)}")
    with open(path, "rb") as file:
        try:
            dtype, shape = read_header(file)
            return np.fromfile(file, dtype).reshape(shape)
        except (ValueError, TypeError) as error:
            raise _damaged(path, brief(error)) from error


def _check_size(path: Path, written: dict[str, Sum]) -> None:
    if path.name not in written:
        raise _damaged(path.with_name("contents.json"), f"it does not know {path.name}")
    if not os.path.isfile(path):
        raise _damaged(path, "it is missing")
    came, meant = path.stat().st_size, written[path.name].bytes
    if came != meant:
        raise _damaged(path, f"it has {came:,} bytes, not {meant:,}")


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} was changed or damaged after the conversion: {why}; delete {path.parent} to have "
        "it converted again"
    )
