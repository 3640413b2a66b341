"""Every lesson runs from beginning to end, and its notebook shows what its script says.

The scripts are the source; `make lessons` runs them and writes the notebooks with their outputs.
"""

import os
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

LESSONS = sorted((Path(__file__).parent.parent / "lessons").glob("[0-9][0-9]_*.py"))


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_there_are_lessons():
    assert LESSONS


@pytest.mark.parametrize("script", LESSONS, ids=lambda path: path.stem)
def test_the_notebook_is_that_of_the_script(script):
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert cells(notebook) == cells(jupytext.read(script)), "run make lessons"


@pytest.mark.parametrize("script", LESSONS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_lesson_runs(script):
    notebook = jupytext.read(script)
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.execute(cwd=script.parent)
    if os.environ.get("QUATGRAD_WRITE_LESSONS"):
        write(script.with_suffix(".ipynb"), notebook)


def write(path, notebook):
    """The notebook with outputs; cells numbered, so that the same lesson gives the same file."""
    for n, cell in enumerate(notebook.cells):
        cell.id = f"cell-{n}"
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    nbformat.write(notebook, path)
