"""Numbers in a file of MATLAB (version 5 of the form, which is that of version 7 too).

SciPy's reader knows all that can stand in such a file, and a damaged one can end the process. Here
only arrays of real numbers are known; what else is there is passed over.

    file      128 bytes, of which the last four say version and byte order; elements
    element   type, size in bytes, content; or of four bytes or less size and type in one number
    matrix    the elements flags, dimensions, name, real part

Source: MAT-File Format, MathWorks.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod

import numpy as np

MATRIX, COMPRESSED = 14, 15
_CODES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8")
NUMBERS = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), _CODES, strict=True))
CLASSES = range(6, 16)  # double, single, whole numbers of 1 to 8 bytes
COMPLEX = 1 << 11


def read(content: bytes, names: Collection[str], limit: int) -> dict[str, np.ndarray]:
    """The arrays of these names, float64; `ValueError` for a file that is damaged or another.

    limit: bytes to which all of it may unpack.
    """
    if content[124:128] != b"\0\1IM":
        raise ValueError("it is no file of MATLAB 5 to 7 with little bytes first")
    found = {}
    for kind, body in _elements(content[128:]):
        if kind == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(body, limit + 1)
            limit -= len(unpacked)
            if limit < 0:
                raise ValueError("it unpacks to more than an official file does")
            kind, body = next(_elements(unpacked), (0, b""))
        if kind == MATRIX:
            name, array = _matrix(body, names)
            if array is not None:
                found[name] = array
    return found


def _elements(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each."""
    at = 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from("<II", raw, at)
        start = at + 8
        if kind >> 16:  # a small one
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if size > len(raw) - start or (start == at + 4 and size > 4):
            raise ValueError(f"an element of {size} bytes is longer than what there is")
        yield kind, raw[start : start + size]
        padded = size if kind == COMPRESSED else size + -size % 8
        at = at + 8 if start == at + 4 else start + padded


def _matrix(raw: bytes, names: Collection[str]) -> tuple[str, np.ndarray | None]:
    """Name and numbers; None for what is not wanted, or no array of real numbers."""
    parts = _elements(raw)
    flags, sizes, title, numbers = (next(parts, (0, b"")) for _ in range(4))
    name = title[1].decode("latin-1")
    if name not in names:
        return name, None
    if len(flags[1]) != 8 or len(sizes[1]) % 4:
        raise ValueError(f"{name} has no flags, or no dimensions")
    about = struct.unpack("<I", flags[1][:4])[0]
    if about & 0xFF not in CLASSES or about & COMPLEX or numbers[0] not in NUMBERS:
        raise ValueError(f"{name} is no array of real numbers")
    shape = tuple(np.frombuffer(sizes[1], "<i4").tolist())
    dtype = np.dtype(f"<{NUMBERS[numbers[0]]}")
    if min(shape, default=-1) < 0 or prod(shape) * dtype.itemsize != len(numbers[1]):
        raise ValueError(f"{name} is {shape}, and has {len(numbers[1])} bytes")
    return name, np.frombuffer(numbers[1], dtype).reshape(shape, order="F").astype(np.float64)
