"""Read a pickle that came over the network as data, never as a program.

A pickle is a program for a small machine, and one of its instructions calls any Python function
by name: `pickle.load` of a file from elsewhere runs what its author likes. The reader here knows
five names, those that a NumPy array of bytes is stored with. Four of them stand for harmless
classes of ours, so that not even NumPy's own constructors see unchecked input.
"""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.errors import DataError


def read_pickle(path: Path, advice: str) -> dict[str, Any]:
    """The dictionary in the pickle `path`: str keys; uint8 arrays, bytes, str, int, list, dict.

    Python 2 strings are read as bytes; keys are turned into str. Arrays are read-only.

    Raises `DataError`, which names the file and ends with `advice`, if the file cannot be read,
    is damaged, is not a dictionary, or asks for any other function or class: nothing of what it
    asks for is imported or run.
    """
    try:
        with open(path, "rb") as file:
            content = _Reader(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise DataError(f"it holds a {type(content).__name__}, not a dictionary")
        return {_text(key): _plain(value) for key, value in content.items()}
    except DataError as error:
        raise DataError(f"{path} was refused: {error}; {advice}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is damaged or truncated ({error!r}); {advice}") from error


class _Array:
    """Stands for `numpy.ndarray`: takes the state of an array of bytes, and of nothing else."""

    def __init__(self, *arguments: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if not (isinstance(dtype, _DType) and dtype.code in ("u1", b"u1")) or is_fortran:
            raise DataError("it holds an array that is not uint8 in C order")
        self.value = np.frombuffer(raw, dtype=np.uint8).reshape(shape)


class _DType:
    """Stands for `numpy.dtype`: remembers its code. The state is byte order: a byte has none."""

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


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise DataError(
                f"it asks to load {module}.{name}, which image data has no use for and which was "
                "not run: the file is not what it claims to be"
            )
        return _KNOWN[module, name]


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value
