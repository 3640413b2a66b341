"""The stand-in for CuPy refuses what CuPy refuses, and offers nothing that CuPy has not."""

import cupy_on_cpu
import numpy as np
import pytest
from cupy_on_cpu import cupy


def test_it_computes_as_numpy_and_stays_on_the_device():
    a = cupy.asarray(np.arange(6.0).reshape(2, 3))
    y = np.exp(-2 * a.T @ a)[:, 1:] + 1
    assert isinstance(y, cupy.ndarray)
    expected = np.exp(-2 * a.get().T @ a.get())[:, 1:] + 1
    np.testing.assert_array_equal(y.get(), expected)
    assert isinstance(a.sum(), cupy.ndarray)  # no number: that would be a copy to the host
    a[1] += 1
    a *= 2
    np.testing.assert_array_equal(a.get(), [[0, 2, 4], [8, 10, 12]])


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: cupy.concatenate([a, b]),
        lambda a, b: cupy.where(a > 0, a, b),
        lambda a, b: a.__setitem__(0, b),
        lambda a, b: np.asarray(a),
        lambda a, b: np.array([a, a]),
    ],
)
def test_numpy_and_device_arrays_do_not_mix(mix):
    with pytest.raises(TypeError, match=r"Unsupported type|Implicit conversion"):
        mix(cupy.asarray(np.ones(2)), np.ones(2))


def test_copies_are_counted():
    with cupy_on_cpu.counted() as counts:
        a = cupy.asarray(np.ones(3))
        a[[0, 1]].sum().item()
        cupy.asarray(a).get()
    assert counts == {"to_device": 2, "to_host": 2}


def test_cupy_has_all_that_the_stand_in_has():
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    wanted = {*cupy_on_cpu.FUNCTIONS.split(), "RawModule", "ndarray", "ogrid"}
    assert not [name for name in wanted if not hasattr(real, name)]
    special = pytest.importorskip("cupyx.scipy.special")
    assert not [name for name in cupy_on_cpu.SPECIAL.split() if not hasattr(special, name)]
    methods = {*cupy_on_cpu.METHODS.split(), "get", "item", "tolist", "data", "flags"}
    assert not [name for name in methods if not hasattr(real.ndarray, name)]
    assert callable(real.lib.stride_tricks.sliding_window_view)
    assert callable(real.linalg.eigh)
    assert callable(real.add.at)
    assert callable(real.cuda.get_current_stream)
    assert callable(real.cuda.using_allocator)
    assert callable(real.cuda.set_pinned_memory_allocator)
    assert callable(real.get_default_pinned_memory_pool().malloc)
    assert callable(real.get_default_memory_pool().free_all_blocks)
    assert callable(real.cuda.MemoryPool().malloc)
    assert callable(real.cuda.Stream.begin_capture)
    assert callable(real.cuda.Stream.end_capture)
    assert callable(real.cuda.Graph.launch)
    assert issubclass(real.cuda.memory.OutOfMemoryError, MemoryError)
    assert real.cuda.runtime.runtimeGetVersion() >= 12_000
