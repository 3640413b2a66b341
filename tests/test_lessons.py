"""Every lesson runs, blank and solved, and its notebook shows what its script says.

The scripts are the source; `make lessons` runs them and writes the notebooks with their outputs.
"""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

import run  # noqa: E402 - needs the three above

LESSONS = run.lessons()
ROOT = run.HERE.parent
lesson = pytest.mark.parametrize("script", LESSONS, ids=lambda path: path.stem)
# jupyter_client and zmq, not ours
noisy = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def cells(notebook, kind=None):
    return [c.source for c in notebook.cells if kind in (None, c.cell_type)]


def code_lines(source):
    return [line for line in source.splitlines() if line.strip() and line.strip()[0] != "#"]


def exercises(script):
    return [name for cell in cells(jupytext.read(script), "code") for name in run.blanks(cell)]


def printed(cell):
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def test_there_are_lessons():
    assert LESSONS


@lesson
@noisy
def test_blank_it_runs_and_says_that_each_exercise_is_open(script):
    notebook = jupytext.read(script)
    run.execute(notebook)
    stored = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    for now, kept in zip(notebook.cells, stored.cells, strict=True):
        if "inspect.getsource(" in now.source:  # of the package, which goes on
            assert printed(now) == printed(kept), "run make lessons"
    verdicts = run.verdicts(notebook)
    assert [name for name, _ in verdicts] == exercises(script)
    assert all(verdict.startswith("not answered yet") for _, verdict in verdicts)


@lesson
@noisy
def test_solved_it_runs_and_says_that_each_answer_is_correct(script):
    notebook = run.solved(jupytext.read(script), script)
    run.execute(notebook)
    assert run.verdicts(notebook) == [(name, "correct") for name in exercises(script)]


@lesson
def test_the_notebook_is_that_of_the_script_small_and_with_its_outputs(script):
    path = script.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    assert cells(notebook) == cells(jupytext.read(script)), "run make lessons"
    assert path.stat().st_size < 500_000
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs), "a lesson has a picture"
    for cell in notebook.cells:  # what is printed is one text, however the kernel sent it
        kinds = [out.output_type for out in cell.get("outputs", [])]
        assert ("stream", "stream") not in pairwise(kinds)
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]


@lesson
def test_two_or_three_exercises_each_with_a_checker_and_an_answer(script):
    assert 2 <= len(exercises(script)) <= 3
    assert sorted(exercises(script)) == sorted(run.answers(script))
    assert not [name for name, source in run.answers(script).items() if run.blanks(source)]
    for cell in cells(jupytext.read(script), "code"):
        for name in run.blanks(cell):
            assert f"\ncheck.{name}(" in cell


@lesson
def test_something_is_built_and_equal_to_the_package_whose_source_is_shown(script):
    text = script.read_text()
    assert "inspect.getsource(" in text
    assert [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
    assert 'plt.style.use("quatgrad.style")' in text


@lesson
def test_a_lesson_is_small_and_opens_with_a_question(script):
    notebook = jupytext.read(script)
    assert notebook.cells[0].cell_type == "markdown", "is the header closed with # ---?"
    title, question = cells(notebook)[0].split("\n\n")[:2]
    assert re.match(rf"# {int(script.name[:2])}\. ", title)
    assert re.fullmatch(r"\*\*.*\?\*\*", question.replace("\n", " "))
    assert all(len(text.split()) <= 200 for text in cells(notebook, "markdown")), "a screen"
    assert all(len(code_lines(source)) <= 30 for source in cells(notebook, "code")), "a screen"
    assert len(script.read_text().splitlines()) <= 330


@lesson
def test_links_lead_somewhere_and_checkers_are_its_own(script):
    text = script.read_text()
    links = re.findall(r"\]\(([^)#\s]+)\)", text)
    assert not [link for link in links if "://" not in link and not (run.HERE / link).exists()]
    modules = {node.module: node for node in ast.walk(ast.parse(text))
               if isinstance(node, ast.ImportFrom)}  # fmt: skip
    assert [alias.name for alias in modules["checkers"].names] == [f"lesson{script.name[:2]}"]
    assert not [name for name in modules if name.startswith("checkers.")]


@lesson
def test_what_is_drawn_is_said_and_how_is_in_pictures(script):
    text = script.read_text()
    assert not re.findall(r"plt\.(?!style)\w+|\bax(?:es)?\.\w+\(", text)
    number = script.name[:2]
    assert not re.findall(rf"from pictures import (?!lesson{number} )lesson\d+", text)


def test_every_picture_is_drawn_by_a_lesson():
    texts = {script.name[:2]: script.read_text() for script in LESSONS}
    for path in sorted((run.HERE / "pictures").glob("lesson*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert f"show.{node.name}(" in texts[path.stem[-2:]]
                assert node.end_lineno - node.lineno < 30, f"{node.name} is too long to be read"


def slides_and_later(script):
    """(the function that a slider draws with, the top-level statements after it) of a lesson."""
    body = ast.parse(script.read_text()).body
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    for n, node in enumerate(body):
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "slider":
            yield functions[call.args[0].id], body[n:]


@lesson
def test_what_a_slider_draws_with_is_not_given_another_value_later(script):
    for draw, later in slides_and_later(script):
        names = {node.id for node in ast.walk(draw) if isinstance(node, ast.Name)}
        own = {node.id for node in ast.walk(draw)
               if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
        own |= {argument.arg for argument in draw.args.args}
        inner = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
        bound = {node.id for statement in later if not isinstance(statement, inner)
                 for node in ast.walk(statement)
                 if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
        bound |= {node.name for node in later if isinstance(node, ast.FunctionDef)}
        assert not (names - own) & bound, "whoever pulls the slider at the end gets another picture"


def test_the_readme_maps_every_lesson_and_its_links_lead_somewhere():
    readme = (run.HERE / "README.md").read_text()
    links = re.findall(r"\]\(([^)#\s]+)\)", readme)
    assert not [link for link in links if "://" not in link and not (run.HERE / link).exists()]
    assert {path.with_suffix(".ipynb").name for path in LESSONS} <= set(links)


def test_solving_puts_each_answer_in_the_place_of_its_blank(tmp_path, monkeypatch):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "00_x.py").write_text("a = 1\n\n\ndef f(x):\n    return x\n")
    monkeypatch.setattr(run, "HERE", tmp_path)
    source = "import os\n\na = ...\n\n\ndef f(x):\n    ...\n\n\nprint(f(a), os.name)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    assert run.blanks(source) == ["a", "f"]
    (solved,) = cells(run.solved(notebook, Path("00_x.py")))
    assert solved == "import os\n\na = 1\n\n\ndef f(x):\n    return x\n\n\nprint(f(a), os.name)"
    assert cells(notebook) == [source]


@noisy
def test_a_lesson_that_reaches_for_the_network_fails():
    from nbclient.exceptions import CellExecutionError

    call = "import socket\nsocket.create_connection(('127.0.0.1', 9))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(call)])
    with pytest.raises(CellExecutionError, match="a lesson needs no network"):
        run.execute(notebook)
