"""The command quatgrad-lessons: the lessons, copied into a folder and opened in JupyterLab."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from quatgrad.errors import DataError
from quatgrad.lth.command.run_command import run_command

PACKAGE = Path(__file__).parent
#: In the wheel; in the repository.
PLACES = PACKAGE / "lesson_files", PACKAGE.parent / "lessons"


def source() -> Path:
    """Where the lessons are; `DataError` if they were not installed."""
    for place in PLACES:
        if (place / "00_slope.ipynb").exists():
            return place
    raise DataError("the lessons are not installed: install quatgrad from its wheel, or in a clone")


def copy(folder: Path) -> int:
    """Copy what is not there yet, and count it: no answer of a student is written over or given on.

    Answers that passed are in my/.
    """
    lessons, new = source(), 0
    for path in sorted(lessons.rglob("*")):
        there = folder / path.relative_to(lessons)
        apart = {"__pycache__", "my"} & set(path.relative_to(lessons).parts)
        if path.is_file() and not apart and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)
            new += 1
    return new


def command(arguments: Sequence[str]) -> int:
    """Copy, and open."""
    p = argparse.ArgumentParser(prog="quatgrad-lessons", description=__doc__)
    p.add_argument("folder", nargs="?", default="quatgrad-lessons", type=Path, help="copied to it")
    p.add_argument("--no-open", action="store_true", help="copy, and open nothing")
    given = p.parse_args(arguments)
    print(f"{copy(given.folder)} files copied to {given.folder}; what was there is as it was")
    if given.no_open:
        return 0
    if find_spec("jupyterlab") is None:
        print('JupyterLab opens them: pip install "quatgrad[lessons]", then the same command again')
        return 0
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", str(given.folder)])


def main() -> int:
    """The command."""
    return run_command("quatgrad-lessons", command)
