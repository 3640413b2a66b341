"""Whoever waits for a kernel to be compiled is told so, once."""

from types import SimpleNamespace

import numba
import numpy as np
import pytest

from quatgrad import backend
from quatgrad.kernels.numba_cpu import conv2d, conv2d_dw, conv2d_dx, jit
from quatgrad.kernels.numba_cpu.conv import direct, eight_products_rows, winograd, winograd_tiles
from quatgrad.kernels.numba_cpu.simd import matmul, vector


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


def test_functions_that_count_no_references_give_no_array():
    """Whoever called them would release one that nobody has taken."""
    for x, w in (
        (np.ones((2, 8, 8, 64), "f"), np.ones((4, 3, 3, 16, 16), "f")),
        (np.ones((2, 8, 8, 96), "f"), np.ones((4, 1, 1, 24, 24), "f")),
        (np.ones((2, 8, 8, 8), "f"), np.ones((3, 3, 8, 8), "f")),
    ):
        how = (1, 1), (w.shape[-3] // 2,) * 2
        y = conv2d(x, w, *how)
        conv2d_dx(y, w, x.shape, *how)
        conv2d_dw(x, y, w.shape, *how)
    modules = (direct, eight_products_rows, matmul, vector, winograd, winograd_tiles)
    functions = {f for m in modules for f in vars(m).values() if hasattr(f, "targetoptions")}
    leaves = [f for f in functions if f.targetoptions.get("_nrt") is False]
    given = {str(s.return_type) for f in leaves for s in f.nopython_signatures}
    assert len(leaves) > 20
    assert any("int64" in kind for kind in given)
    assert not any("array" in kind for kind in given)
