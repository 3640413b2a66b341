"""Small official files, plain or packed with xz, known by the SHA-256 of their content."""

import hashlib
import lzma
import os
from collections.abc import Mapping
from pathlib import Path

from quatgrad.data.fetch import data_root, first_complete
from quatgrad.errors import DataError

LIMIT = 1 << 26  # bytes that a file may unpack to


def read_files(
    name: str, sums: Mapping[str, str], data_dir: str | os.PathLike[str] | None, advice: str
) -> dict[str, bytes]:
    """The content of the files of DIR/name, or DIR, each plain or as FILE.xz; `data_root` has DIR.

    sums: file -> SHA-256 of its content. Raises `DataError` for one that is missing or another.
    """
    root, _ = data_root(data_dir)

    def lacking(folder: Path) -> list[str]:
        return [file for file in sums if _find(folder, file) is None]

    folder = first_complete(name, [root / name, root], lacking, advice)
    contents = {}
    for file, expected in sums.items():
        path = _find(folder, file)
        assert path is not None  # it was there
        contents[file] = _content(path, advice)
        came = hashlib.sha256(contents[file]).hexdigest()
        if came != expected:
            raise DataError(
                f"{path} is not the official file of {name}: the SHA-256 of its content is "
                f"{came[:16]}..., not {expected[:16]}...; {advice}"
            )
    return contents


def _find(folder: Path, file: str) -> Path | None:
    return next((p for p in (folder / file, folder / f"{file}.xz") if os.path.isfile(p)), None)


def _content(path: Path, advice: str) -> bytes:
    """At most `LIMIT` bytes."""
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            content: bytes = file.read(LIMIT + 1)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read: {error}; {advice}") from error
    if len(content) > LIMIT:
        raise DataError(f"{path} holds more than {LIMIT >> 20} MB, as no official file does")
    return content
