"""Nothing is needed that Windows lacks: without it all imports, trains, and goes on after a kill.

No test runs on Windows itself. Here the modules and functions of other systems are taken away, and
an error says where a text is read without its encoding, which Windows would not guess right.
"""

import subprocess
import sys
import time

PRELUDE = """
import os, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="quatgrad")
import filelock  # it has a lock of its own for Windows
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for function in ("preadv", "pread", "pwrite", "fork", "getuid", "sched_getaffinity", "killpg"):
    if hasattr(os, function):
        delattr(os, function)
"""
IMPORT_ALL = """
import importlib, pkgutil, quatgrad
for module in pkgutil.walk_packages(quatgrad.__path__, "quatgrad."):
    if not module.name.startswith("quatgrad.kernels.cupy_gpu"):  # it needs a GPU
        importlib.import_module(module.name)
"""
TRAIN = """
from quatgrad.lth.command.cli import main
sys.exit(main(sys.argv[1:]))
"""


def python(code, *arguments):
    strict = ("-X", "warn_default_encoding", "-W", "ignore")
    return subprocess.Popen(
        [sys.executable, *strict, "-c", PRELUDE + code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_everything_is_imported():
    process = python(IMPORT_ALL)
    assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_a_run_on_the_digits_goes_on_after_a_kill(tmp_path):
    command = ["--preset", "smoke", "--epochs", "30", "--levels", "1", "--out", str(tmp_path)]
    process = python(TRAIN, *command)
    while process.poll() is None and not list(tmp_path.glob("stages/*/start.npz")):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode < 0, "it ended before it was killed"
    process = python(TRAIN, *command)
    output, error = process.communicate()
    assert process.returncode == 0, error
    assert "weights" in output
    assert len(list(tmp_path.glob("stages/*/done"))) == 4  # two networks, dense and one level
