"""Notices: one line on standard error, once, unless the user wants none."""

import logging

import pytest

from quatgrad import backend
from quatgrad.backend import (
    PRECISIONS,
    get_precision,
    notice,
    set_backend,
    set_precision,
    use_backend,
    use_precision,
)
from quatgrad.errors import OptionError
from quatgrad.lth.command.cli import main


@pytest.fixture
def logger():
    logger = logging.getLogger("quatgrad")
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_a_notice_is_one_line_once(capsys):
    for _ in range(2):
        notice("a test, 100 %s")
    assert capsys.readouterr().err == "quatgrad: a test, 100 %s\n"


def test_a_user_can_silence_notices(logger, capsys):
    logger.setLevel(logging.ERROR)
    notice("a test that nobody sees")
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------------- precision


@pytest.fixture
def anything(monkeypatch):
    """A machine that says of every backend that it can run it."""
    monkeypatch.setattr(backend, "check", lambda name: None)
    with use_backend("numba"):
        yield


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("precision", sorted(set(PRECISIONS) - {"float32"}))
def test_a_cpu_has_one_precision(name, precision, anything):
    with use_backend(name):
        for choose in (set_precision, lambda p: use_precision(p).__enter__()):
            with pytest.raises(OptionError, match=f"{precision} is for a GPU.* backend is {name}"):
                choose(precision)
        set_precision("float32")
        assert get_precision() == "float32"


def test_a_gpu_has_all_of_them_and_a_cpu_after_it_one(anything):
    set_backend("cupy")
    for precision in PRECISIONS:
        set_precision(precision)
        assert get_precision() == precision
    with use_backend("numba"):
        assert get_precision() == "float32"
    assert get_precision() == "bf16"
    with use_precision("tf32"):
        assert get_precision() == "tf32"
    assert get_precision() == "bf16"
    set_backend("numpy")
    assert get_precision() == "float32"


@pytest.mark.parametrize("how", ["--precision bf16", "--precision tf32 --backend numpy"])
def test_the_command_refuses_it_in_one_line_and_writes_nothing(how, tmp_path, capsys):
    out = tmp_path / "runs"
    with use_backend("numba"):  # and back to the one before
        assert main(["run", "--preset", "smoke", "--out", str(out), *how.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "is for a GPU" in line
    assert not out.exists()
