"""Lessons that run in a browser: write a JupyterLite site, which needs no server but for files.

    make lite        build/lite/site, with lessons 0 to 7; python -m http.server -d ... shows it

The kernel is Python compiled to WebAssembly (Pyodide), which the browser fetches, with NumPy,
matplotlib and scikit-learn; Numba is not there, and the backend is numpy. quatgrad is the wheel
that is built here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "lite"
NUMBERS = range(8)  # lessons that need no compiled kernel
PARTS = ("checkers", "pictures", "solutions", "slider.py", "mine.py", "package_parts.py", "view.py")
INSTALL = "%pip install -q quatgrad"
KERNEL = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}


def lessons() -> list[Path]:
    """The notebooks that a browser can run."""
    return [path for n in NUMBERS for path in HERE.glob(f"{n:02}_*.ipynb")]


def for_browser(path: Path) -> nbformat.NotebookNode:
    """The notebook for the browser's kernel, with a first cell that installs quatgrad there."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(INSTALL, id="install"))
    notebook.metadata["kernelspec"] = KERNEL
    return notebook


def write_files(folder: Path) -> None:
    """What the reader sees: the notebooks, and what they import beside quatgrad."""
    folder.mkdir(parents=True)
    for path in lessons():
        nbformat.write(for_browser(path), folder / path.name)
    for part in PARTS:
        if (HERE / part).is_dir():
            shutil.copytree(HERE / part, folder / part, ignore=shutil.ignore_patterns("__pyc*"))
        else:
            shutil.copyfile(HERE / part, folder / part)


def main() -> int:
    """Build the wheel, write the files, and let JupyterLite make a site of them."""
    shutil.rmtree(BUILD, ignore_errors=True)
    write_files(BUILD / "files")
    run = [sys.executable, "-m"]
    wheel = [*run, "build", "--wheel", "--outdir", str(BUILD / "pypi"), str(HERE.parent)]
    subprocess.run(wheel, check=True, stdout=subprocess.DEVNULL)
    site = [*run, "jupyter", "lite", "build", "--contents", "files", "--output-dir", "site"]
    subprocess.run(site, check=True, cwd=BUILD)
    print(f"python -m http.server -d {BUILD / 'site'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
