"""Read a pickle that came over the network as data, never as a program.

A pickle is a program for a small machine. One of its instructions calls any Python function by its
name, so `pickle.load` of a foreign file runs whatever its author wanted. The readers here know only
the five names with which a NumPy array is stored. Four of them are replaced by harmless classes, so
that even NumPy's own constructors see no unchecked input.
"""

import codecs
import io
import os
import pickle
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from quatgrad.errors import DataError

LONG = 1 << 20  # bytes: `leave_long` loads shorter strings as usual


class InFile(NamedTuple):
    """An array of bytes in C order that was not read: it starts at `offset` of the file."""

    offset: int
    shape: tuple[int, ...]


def read_pickle(path: Path, advice: str, *keys: str, leave_long: bool = False) -> dict[str, Any]:
    """The values of `keys` in the dictionary in the pickle `path`.

    They are uint8 arrays (read-only), bytes, str, int, list or dict; Python 2 strings are read as
    bytes. With `leave_long`, an array of `LONG` bytes or more is not read; it is an `InFile`, so
    that the memory needed does not grow with the number of images.

    Raises `DataError`, which names the file and ends with `advice`, if the file cannot be read,
    is damaged, is not a dictionary with these keys, or names any other function or class. Such a
    function or class is neither imported nor run.
    """
    try:
        with open(path, "rb") as file:
            reader = _LeavingReader if leave_long else _Reader
            source: Any = _LeavingFile(file) if leave_long else file
            content = reader(source, encoding="bytes").load()
        if not isinstance(content, dict):
            raise DataError(f"it holds a {type(content).__name__}, not a dictionary")
        values = {_text(key): value for key, value in content.items()}
        for key in keys:
            if key not in values:
                raise DataError(f"it has no '{key}', only {sorted(values)}")
        return {key: _plain(values[key]) for key in keys}
    except DataError as error:
        raise DataError(f"{path} was refused: {error}; {advice}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is damaged or truncated ({error!r}); {advice}") from error


# ------------------------------------------------------------------------------- what is known


class _Array:
    """In place of `numpy.ndarray`: takes the state of an array, which `value` checks later."""

    def __init__(self, *arguments: Any) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def value(self) -> np.ndarray | InFile:
        """The array; `DataError` if it is not one of bytes."""
        _version, shape, dtype, is_fortran, raw = self.state
        if not (isinstance(dtype, _DType) and dtype.code in ("u1", b"u1")) or is_fortran:
            raise DataError("it holds an array that is not uint8 in C order")
        if not isinstance(raw, _Left):
            return np.frombuffer(raw, dtype=np.uint8).reshape(shape)
        if prod(shape) != raw.size:
            raise DataError(f"it holds an array {shape} of {raw.size} bytes")
        return InFile(raw.offset, shape)


class _DType:
    """In place of `numpy.dtype`: has its code. The state is the byte order: a byte has none."""

    def __init__(self, code: Any, *flags: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        """Nothing to keep."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # NumPy 2
    ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes for Python 2
}


def _find_class(self: Any, module: str, name: str) -> Any:
    if (module, name) not in _KNOWN:
        raise DataError(
            f"it asks to load {module}.{name}, which image data has no use for and which was "
            "not run: the file is not what it claims to be"
        )
    return _KNOWN[module, name]


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, _Array) else value


# --------------------------------------------------------------------------------- the readers


class _Reader(pickle.Unpickler):
    find_class = _find_class


class _LeavingReader(pickle._Unpickler):
    """The unpickler that is written in Python: it puts on its stack whatever the file's `read`
    returns, which may be a `_Left` in place of the bytes.
    """

    find_class = _find_class


class _Left(NamedTuple):
    """In place of `size` bytes at `offset` of the file."""

    offset: int
    size: int


class _LeavingFile:
    """A file whose `read` skips long strings and returns a `_Left` for them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.readline, self.readinto = file.readline, file.readinto  # type: ignore[attr-defined]

    def read(self, n: int) -> Any:
        """The next `n` bytes, or a `_Left` in place of them."""
        offset = self.file.tell()
        if offset + n > self.size:
            raise EOFError(f"{n} bytes are missing")
        if n < LONG:
            return self.file.read(n)
        self.file.seek(n, io.SEEK_CUR)
        return _Left(offset, n)
