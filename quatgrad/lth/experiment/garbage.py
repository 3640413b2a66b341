"""Garbage: stages that no run refers to, and what killed processes left."""

import shutil
import time
from pathlib import Path

from quatgrad.errors import RunError
from quatgrad.files import lock, temporary_files
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.store import files
from quatgrad.lth.store.records import StageFile

#: A temporary file that is older belongs to nobody: writing one takes seconds.
OLD = 3600.0


def garbage(out: Path) -> list[Path]:
    """Stages that are not linked from a run, nor a parent of one that is; old temporary files."""
    needed: set[str] = set()
    waiting = [p.resolve().name for run in runs_in(out) for p in run.links]
    while waiting:
        name = waiting.pop()
        stage_file = out / "stages" / name / "stage.json"
        if name not in needed and stage_file.exists():
            waiting += StageFile.read(stage_file).parents.values()
        needed.add(name)
    stages = [p for p in sorted((out / "stages").glob("*")) if p.name not in needed]
    runs = [p for run in runs_in(out) for p in (run.path, *run.path.glob("trial*/*/"))]
    temporary = [
        p for folder in (*runs, *(out / "stages").glob("*")) for p in temporary_files(folder)
    ]
    old = [p for p in temporary if time.time() - p.lstat().st_mtime > OLD]
    return stages + [p for p in old if p.parent not in stages]


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.lstat().st_size for p in files if p.is_file())


def remove(path: Path) -> bool:
    """Remove a piece of garbage; False if somebody is at work in it."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    try:
        with lock(path):
            # First that it is done: what a kill leaves of it is no finished stage.
            (path / files.DONE).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
        if path.exists():  # Windows deletes no open file: that of the lock was one
            shutil.rmtree(path)
    except RunError:
        return False
    return True
