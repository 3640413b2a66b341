"""Files and folders that are whole or absent, and folders in which one process works at a time.

New content is written under a temporary name, flushed to the disk and renamed. So a reader finds
the old content or the new, even if the writing process is killed. Temporary names have host and
process in them: on a disk of several hosts, where locks may lock nothing, nobody takes another's.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBADF, EEXIST, ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import BinaryIO

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from quatgrad.backend import notice
from quatgrad.errors import RunError

HOST = re.sub(r"[^\w.-]", "_", platform.node() or "host")[:64]
#: What file systems say that have no locks: Lustre without -o flock, NFS without its lock daemon.
NO_LOCKS = (ENOSYS, EBADF, ENOLCK, ENOTSUP, EOPNOTSUPP)
MINUTE = 60.0
LOCK = ".lock"  # a file in a folder in which a process works; deleted when it is ready


def write_whole(path: Path, content: bytes) -> None:
    """Write a file. `OSError` if that is impossible; the old content is still there then."""
    if path.exists() and not path.is_file():  # a device would be replaced, where that is allowed
        raise OSError(EEXIST, "there is something that is no file")
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
    """A name beside `path` that no other process of any host uses."""
    return path.with_name(f".{path.name[:32]}.{HOST}.{os.getpid()}.tmp")


def temporary_files(folder: Path) -> list[Path]:
    """The temporary files in a folder: their processes are writing, or were killed."""
    return sorted(folder.glob(".*.tmp"))


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes, on this host, are dead."""
    for path in temporary_files(folder):
        host_and_process = path.name.removesuffix(".tmp").rpartition(".")
        is_own = host_and_process[0].endswith(f".{HOST}") and host_and_process[2].isdecimal()
        if is_own and not path.is_dir() and not _is_alive(int(host_and_process[2])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where os.kill ends it; locks lock there, so it is another's
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return process != os.getpid()


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
    try:
        try:
            guard = _acquired(path)
        except Timeout:
            if not wait:
                raise RunError(
                    f"another process is at work in {folder}; wait for it, or choose another folder"
                ) from None
            notice(f"waiting for another process to finish {folder}")
            guard = _acquired(path, timeout=-1)
    except OSError as error:
        raise RunError(
            f"cannot work in {folder}: {error.strerror}; choose another folder"
        ) from error
    try:
        yield
    finally:
        if not isinstance(guard, SoftFileLock):
            with suppress(OSError):  # Windows deletes no open file; `release` deletes it there
                path.unlink()
        guard.release()


def _acquired(path: Path, timeout: float = 0) -> BaseFileLock:
    """The lock of a file; on a file system without locks, the file itself is the lock."""
    guard: BaseFileLock = FileLock(path, fallback_to_soft=False)
    is_new = not path.exists()
    try:
        guard.acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        notice(
            f"{path.parent} is on a file system without locks ({error.strerror}): files named "
            f"{LOCK} stand for them. If a process was killed on another host, delete its {LOCK}"
        )
        if is_new and not path.stat().st_size:  # not another's file, which would have its name
            path.unlink()
        guard = SoftFileLock(path)
        guard.acquire(timeout=timeout)
    return guard


@contextmanager
def lock_between_hosts(path: Path) -> Iterator[None]:
    """The same for a block of seconds at most, by the file `path`, on every file system.

    After a minute the process that made it is taken for one that was killed.
    """
    guard = SoftFileLock(path)
    try:
        guard.acquire(timeout=MINUTE)
    except Timeout:
        path.unlink(missing_ok=True)
        guard.acquire()
    try:
        yield
    finally:
        guard.release()
