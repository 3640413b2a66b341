"""Answers are kept where they are right, stand on their own, and build the engine of lesson 13."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mine
import package_parts
import run
from checkers import lesson03, lesson12

LESSONS = Path(mine.__file__).parent


@pytest.fixture
def my(tmp_path, monkeypatch):
    """A folder of answers."""
    monkeypatch.setenv(mine.FOLDER, str(tmp_path / "my"))
    return tmp_path / "my"


def solved_functions(script, folder):
    """A module with a lesson's imports, its answers, and the functions of it that they call."""
    answers, parts = run.answers(script), ["import numpy as np"]
    called = " ".join(answers.values())
    for cell in script.read_text().split("# %%"):
        code = "\n".join(line for line in cell.splitlines()[1:] if not line.startswith("#"))
        parts += [line for line in code.splitlines() if line.startswith(("from ", "import "))]
        parts += [answers.get(name, source) for name, source, *_ in run._named(code)
                  if source.startswith("def ") and f"{name}(" in called]  # fmt: skip
    path = folder / f"solved_{script.stem}.py"
    path.write_text("\n\n".join(part for part in parts if "checkers" not in part))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keep_solutions(folder):
    """Pass the checkers of all that lesson 13 builds on."""
    for number in sorted(set(package_parts.LESSON.values())):
        (script,) = run.lessons([f"{number:02}"])
        module = solved_functions(script, folder)
        checkers = importlib.import_module(f"checkers.lesson{number:02}")
        for name in (n for n, at in package_parts.LESSON.items() if at == number):
            getattr(checkers, name)(getattr(module, name))


def bias_gradient(g):
    return g.sum(axis=0)


def test_what_is_right_is_kept_and_used_and_what_is_wrong_is_not(my, capsys):
    right = bias_gradient
    assert mine.whose(mine.mine("bias_gradient")) == "the package's"
    lesson03.bias_gradient(right)
    assert capsys.readouterr().out == "bias_gradient: correct\n    kept as my/bias_gradient.py\n"
    kept = (my / "bias_gradient.py").read_text()
    assert mine.whose(mine.mine("bias_gradient")) == "yours"

    def wrong(g):
        return g.mean(axis=0)

    wrong.__name__ = "bias_gradient"
    lesson03.bias_gradient(wrong)
    assert "kept" not in capsys.readouterr().out
    assert (my / "bias_gradient.py").read_text() == kept


@pytest.mark.parametrize(("content", "why"), [
    ("def bias_gradient(g):\n    return g.mean(axis=0)\n", "is wrong by now"),
    ("def bias_gradient(g)\n", "SyntaxError"),
    ("x = 1\n", "KeyError"),
    ("raise ValueError('no')\n", "ValueError: no"),
    ("\0\0\0", "cannot be used"),
])  # fmt: skip
def test_a_damaged_file_gives_one_line_and_the_package_s_is_taken(my, capsys, content, why):
    my.mkdir()
    (my / "bias_gradient.py").write_text(content)
    assert mine.mine("bias_gradient") is package_parts.bias_gradient
    line = capsys.readouterr().out
    assert why in line
    assert line.count("\n") == 1
    assert line.endswith("the package's is taken. Lesson 3 writes it anew.\n")


def test_an_answer_that_needs_a_variable_of_its_notebook_is_right_but_not_kept(my, capsys):
    space = {"table": np.arange(3)}
    path = my.parent / "notebook.py"
    path.write_text("def bias_gradient(g):\n    return g.sum(axis=table[0])\n")
    exec(compile(path.read_text(), str(path), "exec"), space)
    lesson03.bias_gradient(space["bias_gradient"])
    assert capsys.readouterr().out == (
        "bias_gradient: correct\n    not kept in my/: it uses table of the notebook; "
        "give it to the function instead\n"
    )


def test_a_variable_of_the_notebook_may_have_the_name_of_an_argument_or_attribute(my, capsys):
    path = my.parent / "notebook.py"
    path.write_text("def bias_gradient(g):\n    return [sum(row) for row in g.T]\n")
    space = {"g": object(), "T": object(), "row": object()}
    exec(compile(path.read_text(), str(path), "exec"), space)
    lesson03.bias_gradient(space["bias_gradient"])
    assert "kept as my/bias_gradient.py" in capsys.readouterr().out
    assert (my / "bias_gradient.py").read_text().count("import") == 0


def test_what_an_answer_calls_is_kept_with_it(my):
    (script,) = run.lessons(["12"])
    module = solved_functions(script, my.parent)
    lesson12.largest_of_all(module.largest_of_all)
    text = (my / "largest_of_all.py").read_text()
    assert "def largest(" in text
    assert "import numpy as np" in text


def test_the_package_s_parts_pass_the_checkers_of_the_answers(my, capsys):
    for name, number in package_parts.LESSON.items():
        checkers = importlib.import_module(f"checkers.lesson{number:02}")
        assert getattr(checkers, name).verdict(getattr(package_parts, name)) == "correct"


def test_the_reader_s_engine_trains_a_ticket(my, capsys):
    keep_solutions(my.parent)
    assert sorted(path.stem for path in my.iterdir()) == sorted(package_parts.LESSON)
    text = run.lessons(["13"])[0].read_text()
    engine = text[text.index("# ## Your own engine") :]
    head = """
import numpy as np
from mine import mine, whose
from quatgrad import data
from quatgrad.kernels.reference import HAMILTON
digits = data.load("digits")
"""

    engine = engine.replace("epochs=4", "epochs=2")
    run_it = [sys.executable, "-c", head + engine]
    env = os.environ | {"PYTHONPATH": f"{LESSONS}{os.pathsep}{LESSONS.parent}"}
    done = subprocess.run(run_it, env=env, capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert [line.split(" is ")[1] for line in told[:6]] == ["yours"] * 6
    weights, right = zip(*[line.split(" weights left, ") for line in told[6:]], strict=True)
    assert [int(n) for n in weights] == [912, 456, 228, 114]
    assert all(float(share.split("%")[0]) > 75 for share in right[:3])
