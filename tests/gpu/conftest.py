"""Fixtures that choose the backend "cupy": on a stand-in for CuPy, or on a GPU."""

import shutil
import sys
from functools import partial

import cudnn_on_cpu
import cupy_on_cpu
import pytest

from quatgrad import use_backend
from quatgrad.backend import notice, use_precision
from quatgrad.errors import BackendError
from quatgrad.kernels.cupy_gpu import cuda, cudnn


@pytest.fixture
def forget():
    """What was compiled and planned with one CuPy serves no other."""
    caches = cuda._function, cudnn._find, cudnn._handle
    for cache in (*caches, notice):
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def stand_in(forget, monkeypatch):
    """CuPy's stand-in as the backend, without cuDNN."""
    if not shutil.which("g++"):
        pytest.skip("kernels run on the CPU by g++, which is not installed")
    monkeypatch.setitem(sys.modules, "cupy", cupy_on_cpu.cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", cupy_on_cpu.special)
    monkeypatch.setitem(sys.modules, "cudnn", None)  # not to be imported
    with use_backend("cupy"), use_precision("float32"):  # a command may change both
        yield cupy_on_cpu.cupy


@pytest.fixture
def solved(stand_in, monkeypatch):
    """CuPy's stand-in, and NumPy in cuDNN's place; the problems that were solved, as a list."""
    seen = []

    def execute(problem, a, b, out):
        seen.append(problem)
        solve = partial(cudnn_on_cpu.solve, problem)
        out[...] = cupy_on_cpu.function(solve)(a, b)

    monkeypatch.setattr(cudnn, "_find", lambda problem: True)
    monkeypatch.setattr(cudnn, "_handle", lambda: "a handle")
    monkeypatch.setattr(cudnn, "_execute", execute)
    return seen


@pytest.fixture
def gpu(forget):
    """A GPU as the backend; elsewhere the test is skipped, with the reason."""
    try:
        with use_backend("cupy"):
            yield
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["stand_in", pytest.param("gpu", marks=pytest.mark.cupy)])
def device(request):
    """Both of them, by name."""
    request.getfixturevalue(request.param)
    return request.param
