"""Whoever waits for a kernel to be compiled is told so, once."""

from types import SimpleNamespace

import numba
import numpy as np
import pytest

from quatgrad import backend
from quatgrad.kernels.numba_cpu import jit


@pytest.fixture
def terminal(monkeypatch):
    """Sets whether somebody looks, who was told nothing yet."""

    def set_to(looks):
        there = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: looks))
        monkeypatch.setattr(jit, "sys", there)

    backend.notice.cache_clear()
    yield set_to
    backend.notice.cache_clear()


def compiled(module):
    """A new function of a module, compiled because it is called."""

    def f(x):
        return x + 1

    f.__module__ = module
    assert numba.njit(f)(np.float32(1)) == 2


def test_the_first_kernel_that_is_compiled_is_announced_and_no_other(terminal, capsys):
    terminal(True)
    compiled("quatgrad.kernels.numba_cpu.anything")
    compiled("quatgrad.kernels.numba_cpu.layers.another")
    assert capsys.readouterr().err.count("compiling kernels for this processor") == 1


def test_functions_of_others_are_not_ours_to_speak_of(terminal, capsys):
    terminal(True)
    compiled("somebody.elses")
    assert not capsys.readouterr().err


def test_a_log_file_is_not_told(terminal, capsys):
    terminal(False)
    compiled("quatgrad.kernels.numba_cpu.anything")
    assert not capsys.readouterr().err
