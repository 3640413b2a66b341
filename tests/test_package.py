"""The package as a newcomer meets it: its parts, and python -m quatgrad."""

import subprocess
import sys

import pytest

import quatgrad


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
