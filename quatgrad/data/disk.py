"""Images that stay on the disk, because the memory cannot hold them."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quatgrad.errors import DataError, brief

#: The beginning of a .npy file in the form that `numpy.save` writes.
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<dtype>[|<>][a-z]\d)', "
    rb"'fortran_order': False, 'shape': \((?P<shape>\d[\d, ]*)\), \} *\n",
    re.DOTALL,
)


def read_header(file: BinaryIO) -> tuple[str, tuple[int, ...]]:
    """Dtype and shape of the .npy file whose array comes next in `file`. `ValueError` if none does.

    `numpy.load` is for files that one trusts: it compiles the header, and opens archives.
    """
    start = file.read(256)
    found = HEADER.match(start)
    if not found or found.end() != 10 + int.from_bytes(found["length"], "little"):
        raise ValueError("its header is damaged")
    file.seek(found.end())
    shape = tuple(int(n) for n in found["shape"].decode().split(",") if n.strip())
    return found["dtype"].decode(), shape


class ImagesOnDisk:
    """images[n] for an array or a slice n: uint8 (N, H, W, C), read from `path` at that moment.

    path       a .npy file of uint8 (M, H, W, C)
    checksums  uint32 (M,), the CRC-32 of each image, which is compared when the image is read
    rows       int64 (N,): the images that belong to this object, of the M in the file; None: all

    The file is read, not mapped: pages of a mapped file count as memory of the process until the
    system takes them back.

    Raises `DataError` if the file has no such array, and when a damaged image is read.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self, path: Path | str, checksums: np.ndarray, rows: np.ndarray | None = None
    ) -> None:
        try:
            with open(path, "rb") as file:
                dtype, shape = read_header(file)
                self._offset = file.tell()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a .npy file: {brief(error)}") from error
        if dtype != "|u1" or len(shape) != 4 or shape[0] != len(checksums):
            raise DataError(
                f"{path} holds {dtype} {shape}; it must hold uint8 (N, H, W, C) with "
                f"N = {len(checksums)}, the number of its checksums"
            )
        self.path, self._checksums = Path(path), checksums
        self._rows = np.arange(shape[0]) if rows is None else rows
        self.shape = (len(self._rows), *shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def checksums(self) -> np.ndarray:
        """CRC-32 of each image, uint32 (N,)."""
        return self._checksums[self._rows]

    def take(self, indices: np.ndarray, axis: int = 0) -> ImagesOnDisk:
        """The images `indices`, in that order; nothing is read yet."""
        return ImagesOnDisk(self.path, self._checksums, self._rows[indices])

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        rows = self._rows[index]
        images = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        try:
            with open(self.path, "rb", buffering=0) as file:
                for k in np.argsort(rows):  # in the order of the file: faster on a disk
                    self._read(file, int(rows[k]), images[k].data)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read any more: {error.strerror}") from error
        return images

    def _read(self, file: io.FileIO, row: int, image: memoryview) -> None:
        file.seek(self._offset + row * image.nbytes)
        file.readinto(image)
        came, meant = zlib.crc32(image), self._checksums[row]
        if came != meant:
            raise DataError(
                f"{self.path}: image {row} is damaged, its CRC-32 is {came:08x}, not {meant:08x}; "
                f"delete {self.path.parent} to have it converted again"
            )
