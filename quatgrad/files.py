"""Files and folders that are whole or absent, and folders in which one process works at a time.

New content is written under a temporary name, flushed to the disk and renamed. So a reader finds
the old content or the new, even if the writing process is killed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from quatgrad.backend import notice
from quatgrad.errors import RunError

LOCK = ".lock"  # a file in a folder in which a process works; deleted when it is ready


def write_whole(path: Path, content: bytes) -> None:
    """Write a file. `OSError` if that is impossible; the old content is still there then."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            flush_to_disk(file)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # after a success it is gone already
            temporary.unlink()


def flush_to_disk(file: BinaryIO) -> None:
    """Return when all that was written to `file` is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def temporary_path(path: Path) -> Path:
    """A name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def temporary_files(folder: Path) -> list[Path]:
    """The temporary files in a folder: their processes are writing, or were killed."""
    return sorted(folder.glob(".*.tmp"))


@contextmanager
def whole_folder(path: Path, scratch: Path) -> Iterator[Path]:
    """Make the folder `path`: the block fills `scratch`, which is then renamed to `path`.

    `scratch` is removed first, if a killed process left one, and after an error in the block. Only
    one process may be in the block: see `lock`.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Only one process is in such a block for a folder. If it is killed, the folder is free again.

    If another process is in it: `RunError`; with `wait`, a notice, and the block starts when the
    other process has left it.
    """
    path = folder / LOCK
    guard = FileLock(path)
    try:
        try:
            guard.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise RunError(
                    f"another process is at work in {folder}; wait for it, or choose another folder"
                ) from None
            notice(f"waiting for another process to finish {folder}")
            guard.acquire()
    except OSError as error:
        raise RunError(
            f"cannot work in {folder}: {error.strerror}; choose another folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; `release` deletes it there
            path.unlink()
        guard.release()
