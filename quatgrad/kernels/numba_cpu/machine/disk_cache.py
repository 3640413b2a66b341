"""Compiled kernels on the disk.

Numba's own cache looks at the file of a function, and not at those of the functions that it calls:
after a change of one source, compiled callers went on with the old one. Here a folder is named by
the digest of all sources, and of what compiled them. In it each kernel, for each signature and
processor, is a file of its own, whole or not there at all, with the digest of its content. So any
number of processes may write, and what is damaged is compiled again.
"""

import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from quatgrad.backend import notice

#: Folders of other sources that stay when a new one is made, so that one may go back and forth.
OTHERS = 3
_DIGEST = 32  # bytes

_problems: list[str] = []  # after the first, nothing is written


class KernelCache(FunctionCache):
    """The compiled forms of one function, as Numba asks for them and gives them."""

    def __init__(self, py_func: Callable[..., Any]):
        self._py_func, self._name = py_func, repr(py_func)

    @property
    def cache_path(self) -> str:
        """Where the files are."""
        return str(_folder())

    def flush(self) -> None:
        """Nothing is forgotten: a key of all sources is never old."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for the signature; None if there is nothing, or nothing whole."""
        target_context.refresh()
        key, folder = self._key(sig, target_context.codegen()), _folder()
        try:
            data = self._path(folder, key).read_bytes() if folder else b""
        except OSError:
            return None
        body = data[_DIGEST:]
        if hashlib.sha256(body).digest() != data[:_DIGEST]:
            return None
        known, payload = pickle.loads(body)
        return CompileResult._rebuild(target_context, *payload) if known == key else None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; where that fails, say so once, and go on without."""
        folder = _folder()
        if not folder or _problems:
            return
        key = self._key(sig, data.codegen)
        body = dumps((key, data._reduce()))
        try:
            folder.mkdir(exist_ok=True)  # another version may have removed it
            _write(self._path(folder, key), hashlib.sha256(body).digest() + body)
        except OSError as error:
            _problems.append(str(error))
            notice(f"compiled kernels are not kept ({error}): the next process compiles them again")

    def _key(self, sig: Any, codegen: Any) -> Any:
        """The function, the signature, the processor, and the bytes of what it closes over."""
        f = self._py_func
        return f.__module__, f.__qualname__, self._index_key(sig, codegen)

    def _path(self, folder: Path, key: Any) -> Path:
        name = self._py_func.__name__
        return folder / f"{name}-{hashlib.sha256(str(key).encode()).hexdigest()[:16]}"


def keeps_fewer_than(number: int) -> bool:
    """Are there so few compiled kernels on the disk, and a folder for more?"""
    folder = _folder()
    return folder is not None and sum(1 for _ in folder.iterdir()) < number


def _write(path: Path, data: bytes) -> None:
    """The file, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


@cache
def _folder() -> Path | None:
    """Where compiled kernels are kept, the first place that can be written to; or None."""
    name = f"quatgrad-{_key()}"
    for place, reason in _places():
        folder = place / name
        try:
            new = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        if new:
            _remove_old(place, folder)
        if reason:
            notice(f"compiled kernels are kept in {place}: {reason}")
        return folder
    notice(
        "compiled kernels are not kept, because no folder can be written to: each process takes "
        "up to a minute to compile them; set NUMBA_CACHE_DIR to a folder of yours"
    )
    return None


def _places() -> Iterator[tuple[Path, str]]:
    """(place, why it is not where one would look, or ""), the best first."""
    wanted, reason = vars(config)["CACHE_DIR"], ""
    if wanted:
        yield Path(wanted), ""
        reason = f"{wanted}, which NUMBA_CACHE_DIR says, cannot be written to"
    yield Path(__file__).parent.parent / "__pycache__", reason
    of_user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    if of_user.is_absolute():  # else there is no home
        yield of_user, reason
    try:
        mine = Path(tempfile.gettempdir()) / f"quatgrad-{_user()}"
        mine.mkdir(mode=0o700, exist_ok=True)
        owner = mine.lstat()
    except OSError:
        return
    # What lies there is run: nobody else may have written it.
    if owner.st_uid == _user() and not owner.st_mode & 0o022 and not mine.is_symlink():
        yield mine, reason or "neither the package nor the user's cache can be written to"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


@cache
def _key() -> str:
    """A digest of all compiled sources that CPUs run, and of what compiles them how."""
    package = Path(__file__).parents[3]
    compiler = sys.version, numba.__version__, llvmlite.__version__, vars(config)["BOUNDSCHECK"]
    digest = hashlib.sha256(repr(compiler).encode())
    folders = package / "kernels", package / "sparse" / "compiled"
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        if "cupy_gpu" not in path.parts:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _remove_old(place: Path, mine: Path) -> None:
    """Remove the folders of other sources but the last few."""
    others = [p for p in place.glob("quatgrad-" + "[0-9a-f]" * 16) if p != mine]
    others.sort(key=lambda p: p.stat().st_mtime)
    for folder in others[: max(0, len(others) - OTHERS)]:
        shutil.rmtree(folder, ignore_errors=True)
