"""The package as a newcomer meets it: its parts, and python -m quatgrad."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import quatgrad
from quatgrad import lessons


def test_dir_names_every_part_and_each_is_there():
    for name in dir(quatgrad):
        assert getattr(quatgrad, name) is not None or name == "__spec__", name
    assert {"data", "lth", "models", "nn", "optim", "train", "load", "Network"} <= set(
        dir(quatgrad)
    )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        quatgrad.nothing  # noqa: B018


def test_the_package_says_what_it_is():
    told = subprocess.run([sys.executable, "-m", "quatgrad"], capture_output=True, text=True)
    assert told.returncode == 0
    assert told.stderr == ""
    assert told.stdout.startswith(f"quatgrad {quatgrad.__version__}, Python")
    for word in ("backend numba: ready", "backend cupy", "quatgrad-lth", "autograd", "interop"):
        assert word in told.stdout


def test_lessons_are_copied_and_no_answer_is_written_over(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert lessons.command([str(folder), "--no-open"]) == 0
    assert {"00_slope.ipynb", "checkers", "solutions", "slider.py"} <= {
        p.name for p in folder.iterdir()
    }
    answer = folder / "00_slope.py"
    answer.write_text("# mine")
    (folder / "README.md").unlink()
    assert lessons.command([str(folder), "--no-open"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 files copied")
    assert answer.read_text() == "# mine"


def test_the_readme_of_the_index_needs_no_file_of_the_repository():
    root = Path(__file__).parent.parent
    about = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    how = about["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (root / how["fragments"][0]["path"]).read_text(encoding="utf-8")
    assert text.count("![") > 2
    for rule in how["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert "![" not in text
    assert not re.findall(r"\]\((?!https?:)", text)
    assert "draws this (the picture is in the repository).\n" in text
    assert not re.findall(r":\n\n(?=[A-Z#*])(?!\*\s)", text), (
        "something is announced, and is not there"
    )
