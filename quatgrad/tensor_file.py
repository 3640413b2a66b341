"""Arrays by name in one file, with what there is to say about them: a .safetensors file.

    8 bytes    the length of the header
    header     JSON: name -> dtype, shape, place; and "__metadata__", texts by name
    content    the numbers

The format has no code in it, and many readers. Of the metadata one text is ours, "quatgrad": JSON
with the version of this form, a SHA-256 of all that follows, and `about`, whatever the writer says.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from quatgrad.errors import DataError
from quatgrad.files import write_whole

FORM = 1  # of the text "quatgrad"; a reader refuses later ones


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        a = np.asarray(arrays[name], order="C")
        sha.update(f"{name} {a.dtype.str} {a.shape}".encode())
        sha.update(a.tobytes())
    return sha.hexdigest()


def write_tensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Write arrays and `about`, of JSON's types, whole or not at all; `DataError` if it fails."""
    whole = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    about = json.loads(json.dumps(about))  # as it will be read: its names are texts
    said = {"form": FORM, "sha256": _checksum(whole, about), "about": about}
    content = save(whole, {"quatgrad": json.dumps(said)})
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; nothing was changed there: make room, or "
            "choose another place"
        ) from error


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, about) as `write_tensors` wrote them.

    Raises `DataError` if the file is missing, damaged, changed, of a later version or of another
    program.
    """
    arrays, metadata = read_safetensors(path)
    if "quatgrad" not in metadata:
        raise DataError(
            f"{path} is a safetensors file of another program: quatgrad.interop reads weights of "
            "PyTorch"
        )
    try:
        said = json.loads(metadata["quatgrad"])
        form, checksum, about = said["form"], said["sha256"], dict(said["about"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, "its metadata are not those that quatgrad writes") from error
    if form != FORM:
        raise DataError(
            f"{path} has form {str(form)[:20]}, and this version of quatgrad reads form {FORM}: "
            "it was written by a later version; install that"
        )
    if checksum != _checksum(arrays, about):
        raise _damaged(path, "its checksum is wrong")
    return arrays, about


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) of a .safetensors file of any program; `DataError` as above."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return {name: _tensor(file, name, path) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise _damaged(path, str(error)[:200]) from error


def _tensor(file: safe_open, name: str, path: str | Path) -> np.ndarray:
    try:
        a = file.get_tensor(name)
        if a.dtype.kind not in "buif":  # once ml_dtypes is imported, bfloat16 is read as its own
            raise TypeError(f"{a.dtype}")
        return a
    except (TypeError, AttributeError) as error:  # bfloat16, and numbers of 8 bits
        raise DataError(
            f"{path}: {name[:80]} has a dtype that NumPy does not have ({error}): write it as "
            "float32 where it comes from"
        ) from error


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    text = json.dumps(about, sort_keys=True)
    return hashlib.sha256((text + digest(arrays)).encode()).hexdigest()


def _damaged(path: str | Path, why: str) -> DataError:
    return DataError(f"{path} is no whole .safetensors file ({why}): copy or download it again")
