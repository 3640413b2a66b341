"""Compiled kernels on the disk: never old ones, never damaged ones, and none where none can be."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import quatgrad
from quatgrad import backend
from quatgrad.kernels.numba_cpu.jit import serial
from quatgrad.kernels.numba_cpu.machine import disk_cache


def _double(x):
    return 2 * x


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Sets the places, and forgets what was found, said and broken before."""

    def forget():
        disk_cache._folder.cache_clear()
        backend.notice.cache_clear()
        disk_cache._problems.clear()

    def set_to(*paths):
        forget()
        monkeypatch.setattr(disk_cache, "_places", lambda: iter(paths))

    set_to((tmp_path / "kept", ""))
    yield set_to
    monkeypatch.undo()
    forget()


def compiled():
    """Whether the function came from the disk, or was compiled; it is right in any case."""
    f = serial(_double)
    assert f(np.float32(3)) == 6
    return not f.stats.cache_hits


def files(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def test_the_next_process_finds_what_one_has_compiled(places, tmp_path):
    assert compiled()
    assert not compiled()
    (path,) = files(tmp_path)
    assert path.name.startswith("_double-")


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "only a digest": lambda path: path.write_bytes(path.read_bytes()[:32]),
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:99] + b"?" + path.read_bytes()[100:]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"0"),
    "text": lambda path: path.write_text("hello" * 99),
    "gone": lambda path: path.unlink(),
    "its folder gone": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_compiled_again(how, places, tmp_path, capsys):
    assert compiled()
    DAMAGE[how](files(tmp_path)[0])
    assert compiled()
    assert not compiled()
    assert not capsys.readouterr().err


def test_a_file_of_another_kernel_is_not_taken(places, tmp_path):
    def other(x):
        return 3 * x

    assert serial(other)(np.float32(3)) == 9
    (foreign,) = files(tmp_path)
    compiled()
    (mine,) = set(files(tmp_path)) - {foreign}
    mine.write_bytes(foreign.read_bytes())
    assert compiled()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_full_disk_costs_the_cache_and_nothing_else(code, places, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    assert compiled()
    assert compiled()
    assert capsys.readouterr().err.count("compiled kernels are not kept") == 1
    assert not files(tmp_path)  # nor is anything left


def test_the_first_place_that_can_be_written_to(places, tmp_path, capsys):
    (tmp_path / "a file").touch()
    nowhere = (tmp_path / "a file" / "below", "")
    places(nowhere, (tmp_path / "home", ""), (tmp_path / "last", "reason"))
    assert compiled()
    assert files(tmp_path / "home")
    assert not capsys.readouterr().err
    places(nowhere, (tmp_path / "last", "a reason"))
    assert compiled()
    assert capsys.readouterr().err.endswith(f"{tmp_path / 'last'}: a reason\n")
    places(nowhere)
    assert compiled()
    assert compiled()
    assert capsys.readouterr().err.count("no folder can be written to") == 1


def test_places(monkeypatch, tmp_path):
    def found():
        return [str(place) for place, _ in disk_cache._places()]

    monkeypatch.setattr(disk_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setitem(vars(disk_cache.config), "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/of/me")
    package, home, temporary = found()
    assert (Path(package).parent.name, Path(package).name) == ("numba_cpu", "__pycache__")
    assert home == "/home/of/me/numba"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/.cache")  # what no home becomes
    assert found() == [package, temporary]
    Path(temporary).chmod(0o777)  # somebody else may write there what would be run
    assert found() == [package]
    Path(temporary).rmdir()
    (tmp_path / "elsewhere").mkdir()
    Path(temporary).symlink_to(tmp_path / "elsewhere")
    assert found() == [package]
    monkeypatch.setitem(vars(disk_cache.config), "CACHE_DIR", "/chosen")
    assert found() == ["/chosen", package]


def test_folders_of_old_sources_do_not_pile_up(places, tmp_path):
    for n in range(9):
        old = tmp_path / "kept" / f"quatgrad-{n:016x}"
        old.mkdir(parents=True)
        os.utime(old, (n, n))
    (tmp_path / "kept" / "quatgrad-else").mkdir()
    assert compiled()
    left = sorted(p.name for p in (tmp_path / "kept").iterdir())
    kept = [f"quatgrad-{n:016x}" for n in (6, 7, 8)]
    assert left == sorted([*kept, "quatgrad-else", f"quatgrad-{disk_cache._key()}"])


# ------------------------------------------------------------------------ whole processes

RUN = """
import numpy as np
from quatgrad import quaternion as Q
print(Q.exp(np.zeros((2, 4), np.float32))[0, 0])
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, and what a process prints that computes e^0 with it."""
    package = tmp_path / "site" / "quatgrad"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(quatgrad.__file__).parent, package, ignore=ignored)

    def run(**environment):
        known = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
        known |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.run(
            [sys.executable, "-c", RUN], env=known | environment, cwd=tmp_path,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return float(process.stdout), process.stderr

    return package, run


def test_a_change_of_a_file_that_a_kernel_calls(copy):
    package, run = copy
    assert run() == (1.0, "")
    assert files(package / "kernels/numba_cpu/__pycache__")
    path = package / "kernels/numba_cpu/quaternion/elementary.py"
    text = path.read_text()
    path.write_text(text.replace("return (1 - ((low", "return 2 * (1 - ((low"))
    assert path.read_text() != text
    assert run() == (2.0, "")
    path.write_text(text)
    assert run() == (1.0, "")


def test_an_installation_that_cannot_be_written_to_and_no_home(copy, tmp_path):
    package, run = copy
    (package / "kernels/numba_cpu/__pycache__").touch()  # a file: no folder can be made there
    nobody = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    (tmp_path / "tmp").mkdir()
    number, notice = run(**nobody, TMPDIR=str(tmp_path / "tmp"))
    assert number == 1.0
    assert notice.startswith("quatgrad: compiled kernels are kept in ")
    assert notice.count("\n") == 1
    assert files(tmp_path / "tmp")
    number, notice = run(NUMBA_CACHE_DIR="/dev/null/cache", **nobody, TMPDIR="/dev/null")
    assert number == 1.0
    assert "kept in" in notice or "are not kept" in notice
    assert notice.count("\n") == 1
