"""Garbage: stages that nothing links to, and what killed processes left.

What cannot be judged stays: a folder of runs that cannot be read ends the search with an error, and
what stands among the stages without the name of one is nobody's garbage.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from quatgrad.errors import RunError
from quatgrad.files import LOCK, lock, temporary_files
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.store import files
from quatgrad.lth.store.records import StageFile

#: A temporary file that is older belongs to nobody: writing one takes seconds.
OLD = 3600.0
#: How the folder of a stage is called: see `Stage.name`.
STAGE = re.compile(r"(dense|(level|control)_\d+)-(.+-)?[0-9a-f]{12}")


def garbage(out: Path) -> list[Path]:
    """Stages that nothing in `out` needs, and old temporary files."""
    wanted = needed(out)
    folders = [p for p in sorted((out / "stages").glob("*")) if not p.is_symlink()]
    stages = [p for p in folders if STAGE.fullmatch(p.name) and p.name not in wanted]
    runs = [p for run in runs_in(out) for p in (run.path, *run.path.glob("trial*/*/"))]
    temporary = [p for folder in (*runs, *folders) for p in temporary_files(folder)]
    return stages + [p for p in temporary if _is_old(p) and p.parent not in stages]


def needed(out: Path) -> set[str]:
    """The names of the stages that links in `out` lead to, and of all that those are made from.

    Every link counts, whatever its folder lacks: a run without its config.json keeps its stages.
    Raises `RunError` where a folder or stage cannot be read: what it needs is unknown.
    """
    stages = out / "stages"
    names: set[str] = set()
    waiting = [*_linked(out, os.path.realpath(stages), set())]
    while waiting:
        name = waiting.pop()
        path = stages / name / "stage.json"
        # A stage that has just been begun has no stage.json yet; its parents are linked, too.
        if name not in names and (files.exists(path) or files.is_final(path.parent)):
            waiting += StageFile.read(path).parents.values()
        names.add(name)
    return names


def _linked(folder: Path, stages: str, seen: set[str]) -> Iterator[str]:
    """The names of the stages that links in `folder`, and in all folders there, lead to."""
    real = os.path.realpath(folder)
    if real in seen or f"{real}{os.sep}".startswith(stages + os.sep):
        return
    seen.add(real)
    try:
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_symlink():
                to = os.path.normpath(os.path.join(real, os.readlink(entry.path)))
                for path in (to, os.path.realpath(entry.path)):
                    if path.startswith(stages + os.sep):
                        yield path[len(stages) + 1 :].split(os.sep)[0]
            if entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path):
                yield from _linked(Path(entry.path), stages, seen)
    except FileNotFoundError:  # nothing was ever run here; or a link has just got its name
        if os.path.isdir(folder):
            yield from _linked(folder, stages, seen - {real})
    except OSError as error:
        raise RunError(
            f"{folder} cannot be read ({error.strerror}): which stages it needs is unknown, so "
            "none is removed; ask its owner to do it"
        ) from error


def _is_old(path: Path) -> bool:
    """Is a temporary file that old? One that is gone by now is not."""
    try:
        return time.time() - path.lstat().st_mtime > OLD
    except FileNotFoundError:
        return False


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder, in which somebody may be at work."""
    names = [os.path.join(folder, name) for folder, _, some in os.walk(path) for name in some]
    total = 0
    for name in names if path.is_dir() else [path]:
        with suppress(FileNotFoundError):  # a temporary file that has its own name by now
            total += os.lstat(name).st_size
    return total


def remove(path: Path) -> bool:
    """Remove a piece of garbage; False if somebody needs it by now, is at work in it, or owns it.

    Whoever needs a stage makes a link to it before taking its lock: who has the lock sees the link.
    """
    try:
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return True
        with lock(path):
            if path.name in needed(path.parent.parent):
                return False
            # First that it is done: what a kill leaves of it is no finished stage. Last the lock.
            (path / files.DONE).unlink(missing_ok=True)
            for entry in sorted(path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()
        with suppress(OSError):  # somebody trains it anew by now
            path.rmdir()
    except (OSError, RunError):
        return False
    return True
