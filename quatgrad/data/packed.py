"""Small official files, plain, packed with xz or in one zip, known by their SHA-256."""

import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from quatgrad.data.fetch import data_root, first_complete
from quatgrad.errors import DataError

LIMIT = 1 << 26  # bytes that a file may unpack to
#: Damaged, without the file, encrypted, or packed in a way that Python has not.
BAD_ZIP = (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, zlib.error)


def read_files(
    name: str, sums: Mapping[str, str], data_dir: str | os.PathLike[str] | None, advice: str
) -> dict[str, bytes]:
    """The content of the files of DIR/name, or DIR; `data_root` has DIR.

    Each is there plain, as FILE.xz, or in NAME.zip. sums: file -> SHA-256 of its content. Raises
    `DataError` for one that is missing or another.
    """
    root, _ = data_root(data_dir)

    def lacking(folder: Path) -> list[str]:
        return [file for file in sums if _find(folder, file, name) is None]

    folder = first_complete(name, [root / name, root], lacking, advice)
    contents = {}
    for file, expected in sums.items():
        path = _find(folder, file, name)
        assert path is not None  # it was there
        contents[file] = _content(path, file, advice)
        came = hashlib.sha256(contents[file]).hexdigest()
        if came != expected:
            raise DataError(
                f"{path} is not the official file of {name}: the SHA-256 of its content is "
                f"{came[:16]}..., not {expected[:16]}...; {advice}"
            )
    return contents


def _find(folder: Path, file: str, name: str) -> Path | None:
    places = (folder / file, folder / f"{file}.xz", folder / f"{name}.zip")
    return next((p for p in places if os.path.isfile(p)), None)


def _content(path: Path, name: str, advice: str) -> bytes:
    """At most `LIMIT` bytes of a file, or of the file of that name in a zip."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(name) as member:
                content = member.read(LIMIT + 1)
        else:
            with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
                content = file.read(LIMIT + 1)
    except (OSError, EOFError, lzma.LZMAError, *BAD_ZIP) as error:
        raise DataError(f"{path} cannot be read: {error}; {advice}") from error
    if len(content) > LIMIT:
        raise DataError(f"{path} holds more than {LIMIT >> 20} MB, as no official file does")
    return content
