"""Without Numba the package computes with NumPy, and lessons 0 to 7 run, as in a browser.

A browser's Python (Pyodide) has NumPy, SciPy, scikit-learn, matplotlib, Pillow, msgspec and
safetensors; lessons 0 to 5 need none of these but NumPy and matplotlib.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "lessons").glob("0[0-7]_*.py"))
COMPILERS = ("numba", "llvmlite", "cupy")
ALL_ELSE = ("scipy", "sklearn", "msgspec", "safetensors", "filelock", "tqdm", "optuna", "torch")

WITHOUT = """
import sys
for name in {blocked}:
    sys.modules[name] = None  # `import name` raises, and find_spec says that it is not there
"""
RUN = """
import contextlib, io, runpy
import matplotlib.pyplot as plt
for path in {paths}:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(path, run_name="__main__")
    plt.close("all")
    print(path[-20:], said.getvalue().count("not answered yet"))
"""


def python(code, blocked):
    """What a new process prints that has none of the blocked modules."""
    env = {"MPLBACKEND": "agg", "QUATGRAD_LESSONS_STILL": "1", "QUATGRAD_LESSONS_MY": "",
           "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lessons")])}  # fmt: skip
    run = [sys.executable, "-c", WITHOUT.format(blocked=blocked) + code]
    done = subprocess.run(run, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("paths", "blocked"), [
    (LESSONS, COMPILERS), (LESSONS[:6], COMPILERS + ALL_ELSE),
], ids=["0 to 7", "0 to 5, with NumPy alone"])  # fmt: skip
def test_lessons_run_to_their_end(paths, blocked):
    said = python(RUN.format(paths=[str(path) for path in paths]), blocked).splitlines()
    assert len(said) == len(paths)
    assert all(int(line.split()[-1]) >= 2 for line in said), said


def test_the_backend_is_numpy_and_numba_is_refused_in_words():
    code = """
import quatgrad
print(quatgrad.get_backend())
try:
    quatgrad.set_backend("numba")
except quatgrad.errors.BackendError as error:
    print(error)
"""
    said = python(code, COMPILERS).splitlines()
    assert said == ["numpy", "backend numba: Numba is not installed; numpy needs nothing else"]


def test_a_network_trains():
    code = """
from quatgrad import data, models
from quatgrad.train import Recipe, train
net = models.create("lenet-300-100", "quaternion", width=60, image_size=(4, 4))
recipe = Recipe(epochs=2, batch_size=50, lr=0.1)
print(train(net, data.load("digits"), recipe, progress=False)[-1].test_accuracy > 0.5)
"""
    assert python(code, COMPILERS) == "True\n"


def test_the_wheel_asks_a_browser_for_nothing_that_it_has_not():
    """Pyodide's packages, and filelock and tqdm, which are pure Python."""
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    here = {line.split(">")[0] for line in wanted if "Emscripten" not in line}
    assert here == {"msgspec", "numpy", "safetensors", "scipy", "scikit-learn", "matplotlib",
                    "pillow", "tqdm", "filelock"}  # fmt: skip
    assert [line.split(">")[0] for line in wanted if "Emscripten" in line] == ["numba"]
