"""Where a GPU cannot be used, or is too small, one line says what to do."""

import sys
from types import SimpleNamespace

import cupy_on_cpu
import numpy as np
import pytest

from quatgrad import Tensor, models, set_backend
from quatgrad.errors import BackendError
from quatgrad.kernels.cupy_gpu import cudnn
from quatgrad.lth.command import cli
from quatgrad.optim import SGD
from quatgrad.train import TrainStep


@pytest.fixture
def runtime(monkeypatch):
    """The stand-in's CUDA runtime, to be changed; CuPy is there, the backend not yet chosen."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_on_cpu.cupy)
    fake = SimpleNamespace(**vars(cupy_on_cpu.cupy.cuda.runtime))
    monkeypatch.setattr(cupy_on_cpu.cupy.cuda, "runtime", fake)
    return fake


def refuse(message):
    def call(*args):
        raise cupy_on_cpu.CUDARuntimeError(message)

    return call


def test_a_cupy_for_a_newer_cuda_than_the_driver(runtime):
    runtime.getDeviceCount = refuse("cudaErrorInsufficientDriver")
    runtime.runtimeGetVersion, runtime.driverGetVersion = lambda: 13_010, lambda: 12_080
    with pytest.raises(BackendError) as error:
        set_backend("cupy")
    assert "this CuPy is for CUDA 13, the driver for CUDA 12" in str(error.value)
    assert "pip install 'quatgrad[cuda12]'" in str(error.value)


def test_no_driver_and_no_device(runtime):
    runtime.getDeviceCount, runtime.driverGetVersion = refuse("no driver here"), lambda: 0
    with pytest.raises(BackendError, match=r"no usable NVIDIA GPU \(no driver here\), or choose"):
        set_backend("cupy")
    runtime.getDeviceCount = lambda: 0
    with pytest.raises(BackendError, match="no NVIDIA GPU; choose `backend` numba"):
        set_backend("cupy")


def test_cupy_without_cudas_compiler(runtime, monkeypatch):
    def ones(n):
        raise RuntimeError("CuPy failed to load libnvrtc.so.12: no such file\nmore lines")

    monkeypatch.setattr(cupy_on_cpu.cupy, "ones", ones)
    with pytest.raises(BackendError) as error:
        set_backend("cupy")
    assert "failed to load libnvrtc.so.12" in str(error.value)
    assert "pip install 'quatgrad[cuda12]'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("installed", "said"), [(13, "is for CUDA 13, CuPy for 12"), (12, "")])
def test_a_cudnn_for_another_cuda(stand_in, monkeypatch, capsys, installed, said):
    monkeypatch.setattr(cudnn, "_installed", lambda cuda: cuda == installed)
    assert cudnn._handle() is None  # and where it fits, the stand-in has no frontend
    line = capsys.readouterr().err
    assert said in line
    assert ("cuDNN is not installed" in line) == (not said)
    assert "pip install 'quatgrad[cudnn12]'" in line


def test_out_of_memory_says_what_to_lower(stand_in, monkeypatch, capsys, tmp_path):
    def empty(*args):
        raise cupy_on_cpu.OutOfMemoryError("Out of memory allocating 12,345 bytes")

    monkeypatch.setattr(stand_in, "empty", empty)
    code = cli.main(["--preset", "smoke", "--backend", "cupy", "--out", str(tmp_path)])
    assert code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "Out of memory allocating 12,345 bytes" in said
    assert "choose a smaller --batch-size" in said


def test_out_of_memory_says_what_batch_fits(stand_in, monkeypatch, capsys, tmp_path):
    real = stand_in.empty

    def empty(shape, dtype=float):
        if np.prod(shape) > limit:
            raise cupy_on_cpu.OutOfMemoryError("Out of memory allocating 12,345 bytes.")
        return real(shape, dtype)

    net = models.create("conv-2", num_classes=4, image_size=(8, 8), width=8)
    step = TrainStep(net, SGD(net.parameters()))
    x = np.zeros((64, 8, 8, 4), np.float32)
    limit = 24 * 8 * 8 * 8 * 9  # the patches of 24 images, or of 48 at the first layer
    monkeypatch.setattr(stand_in, "empty", empty)
    with pytest.raises(MemoryError, match=r"12,345 bytes\. A batch of 16 fits\."):
        step(x, np.zeros(64, np.int64), 0.1)
    limit = 1
    with pytest.raises(MemoryError, match="Not even a batch of 2 fits"):
        step(x, np.zeros(64, np.int64), 0.1)


def test_what_moves_to_the_device_is_copied_once_and_in_order(stand_in):
    a = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    with cupy_on_cpu.counted() as counts:
        t = Tensor(a)
    a[:] = 0
    assert counts["to_device"] == 1
    assert t.data.flags.c_contiguous
    np.testing.assert_array_equal(t.numpy(), np.arange(6).reshape(2, 3))
