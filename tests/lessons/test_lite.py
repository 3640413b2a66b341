"""The lessons for a browser: which ones, for which kernel, and with all that they import."""

import ast

import pytest

pytest.importorskip("nbformat")

import lite


def test_lessons_0_to_7_install_quatgrad_first_and_are_else_the_same():
    paths = lite.lessons()
    assert [path.name[:2] for path in paths] == [f"{n:02}" for n in range(8)]
    notebook = lite.for_browser(paths[0])
    assert notebook.cells[0].source == "%pip install -q quatgrad"
    assert notebook.cells[1].source.startswith("# 0. A derivative is a slope")
    assert notebook.metadata.kernelspec.name == "python"


def test_everything_that_a_lesson_imports_from_beside_it_is_there(tmp_path):
    lite.write_files(tmp_path / "files")
    folders = {path.parent.name for path in lite.HERE.glob("*/__init__.py")}
    beside = {path.stem for path in lite.HERE.glob("*.py")} | folders
    there = {path.stem for path in (tmp_path / "files").iterdir()}
    for path in (tmp_path / "files").rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {node.module.split(".")[0] for node in ast.walk(tree)
                    if isinstance(node, ast.ImportFrom) and node.module}  # fmt: skip
        assert imported & beside <= there, path
    for notebook in lite.lessons():
        for cell in lite.for_browser(notebook).cells[1:]:
            for name in beside - there:
                assert f"from {name} " not in cell.source, notebook
    assert not list((tmp_path / "files").rglob("__pycache__"))
