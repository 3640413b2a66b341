"""A sample of the mutants; QUATGRAD_MUTANTS=2000 tries as many of every format."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mutants
import pytest

COUNT = os.environ.get("QUATGRAD_MUTANTS", "40")


@pytest.mark.parametrize("format", [*mutants.FORMATS, "hostile"])
def test_mutants_are_refused_in_a_line_or_read(format):
    command = [sys.executable, mutants.__file__, format, "--count", COUNT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["wrong"] == []
    assert numbers["refused"] + numbers["read"] == int(COUNT)
    assert numbers["refused"] > int(COUNT) / 3
    assert numbers["message"] <= 450  # and the path of a file
    assert numbers["seconds"] < 5
    assert numbers["peak_mb"] < 400


def test_what_is_wrong_is_found(tmp_path, monkeypatch):
    """A reader that raises something else, and one that sees no change."""
    trial = mutants.Trial()
    monkeypatch.setattr(mutants, "everything", lambda name, root: 1 / 0)
    trial.run("a", "mnist", Path(tmp_path), None)
    monkeypatch.setattr(mutants, "everything", lambda name, root: 5)
    trial.run("b", "mnist", Path(tmp_path), 5)
    trial.run("c", "mnist", Path(tmp_path), 6)
    assert trial.numbers["wrong"] == [
        "a: ZeroDivisionError division by zero",
        "c: read as other data",
    ]
