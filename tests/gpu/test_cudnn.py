"""Convolutions by cuDNN: which problems they make of arrays, and plans for all of a ResNet's.

A plan can be made for a GPU that is only described, where cuDNN and its frontend are installed.
What a plan computes is seen on a GPU alone; here NumPy solves the problem as it is stated.
"""

import ctypes
import importlib
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import cudnn_on_cpu
import cupy_on_cpu
import numpy as np
import pytest

from quatgrad import Tensor, models, nn, no_grad, ops
from quatgrad.arrays import BFLOAT16_BITS, asarray, to_numpy
from quatgrad.backend import PRECISIONS, get_precision, set_precision, use_precision
from quatgrad.errors import OptionError
from quatgrad.kernels import cupy_gpu, reference, use_kernels
from quatgrad.kernels.cupy_gpu import cudnn
from quatgrad.kernels.reference import out_size
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD

#: An H200 in cuDNN's words. Its parser names a field that is missing.
H200 = {
    "deviceName": "NVIDIA H200", "cudaDeviceId": 0, "deviceVer": 900, "driverVer": 12090,
    "pciDeviceId": 0, "isTccDriver": 0, "multiProcessorCount": 132, "warpSize": 32,
    "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
    "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
    "l2CacheSize": 62914560, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
    "memoryBusWidth": 6144, "totalGlobalMem": 150754820096, "supportCoopLaunch": 1,
}  # fmt: skip


@cache
def driver(folder):
    """NVIDIA's driver, or one that refuses every call: newer cuDNNs do not load without."""
    try:
        return ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    except OSError:
        if not (shutil.which("gcc") and shutil.which("nm")):
            pytest.skip("no NVIDIA driver, and no gcc to make one that does nothing")
    libraries = Path(cudnn_folder()).glob("*.so.9")
    symbols = subprocess.run(["nm", "-D", "--undefined-only", *libraries],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    names = sorted(set(re.findall(r"\bU (cu[A-Z]\w+)", symbols)))
    code = "\n".join(f"int {name}(void) {{ return 100; }}" for name in names)  # no device
    path = folder / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o"]
    subprocess.run([*command, str(path)], input=code, text=True, check=True)
    return ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


def cudnn_folder():
    return next(iter(importlib.import_module("nvidia.cudnn").__path__)) + "/lib"


@pytest.fixture
def described(tmp_path_factory):
    """What makes cuDNN plan for an H200 that is not there."""
    frontend = pytest.importorskip("cudnn", reason="cuDNN's frontend is not installed")
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="CuPy is not installed")
    try:
        frontend.backend_version()
        pathfinder.load_nvidia_dynamic_lib("cublasLt")
    except RuntimeError as error:
        pytest.skip(f"cuDNN or cuBLAS is not installed: {error}")
    driver(tmp_path_factory.getbasetemp())
    properties = frontend.create_device_properties(json.dumps(H200))
    return {"device_property": properties, "sm_version": 90}


@cache
def convolutions(name, **network):
    """(image's size / map's, w (U, V, P, Q) expanded, stride, padding) of each in a ResNet."""
    found = []

    def add(conv, shrunk):
        four, (U, V, P, Q) = conv.weight.components, conv.weight.shape[-4:]
        found.append((shrunk, (U, V, four * P, four * Q), *conv.window.moves))

    net, shrunk = models.create(name, num_classes=100, **network), 1
    add(net.stem, shrunk)
    for stage in net.stages:
        for block in stage.modules:
            for conv in block.shortcut.modules[:1]:
                add(conv, shrunk)
            for conv in (m for n, m in vars(block).items() if n.startswith("conv")):
                add(conv, shrunk)
                shrunk *= conv.window.stride[0]
    return found


def problems(x, w, stride, padding, precision):
    (N, H, W, P), (U, V, _, Q) = x, w
    y = N, *out_size((H, W), (U, V), stride, padding), Q
    for kind in cudnn.OPERANDS:
        yield cudnn.Problem(kind, x, (Q, U, V, P), y, stride, padding, precision)


def every_problem(precision):
    """Of the ResNets: real ones, of colours and of quaternions, and quaternion ones; batches
    of both sizes that are timed, and CIFAR's last; ImageNet64."""
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        for algebra, channels in (("real", 3), ("real", 4), ("quaternion", 4)):
            convs = convolutions(name, algebra=algebra, in_channels=channels)
            for N, size in ((128, 32), (512, 32), (80, 32), (128, 64)):
                for shrunk, w, *how in convs:
                    x = N, size // shrunk, size // shrunk, w[2]
                    yield from problems(x, w, *how, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_convolution_of_every_resnet_has_a_plan(described, precision):
    found = set(every_problem(precision))
    assert len(found) == 360
    for problem in found:
        assert cudnn.build(problem, **described).get_workspace_size() <= cudnn.WORKSPACE


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [(5, 7, 9, 3), (2, 8, 8, 20)])
def test_odd_channels_and_strides_have_plans(described, shape, precision):
    for problem in problems(shape, (3, 3, shape[3], 36), (2, 1), (0, 1), precision):
        cudnn.build(problem, **described)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [512, 79])
def test_matrix_products_of_a_head_have_plans(described, batch, precision):
    for M, K, N in ((batch, 512, 100), (batch, 100, 512), (512, batch, 100)):
        shapes = (M, 1, 1, K), (N, 1, 1, K), (M, 1, 1, N)
        cudnn.build(cudnn.Problem("forward", *shapes, (1, 1), (0, 0), precision), **described)


def test_a_problem_without_an_engine_is_an_error(described):
    import cudnn as frontend

    impossible = cudnn.Problem("forward", (1, 4, 4, 4), (4, 9, 9, 4), (1, 4, 4, 4),
                               (1, 1), (0, 0), "float32")  # fmt: skip
    with pytest.raises((frontend.cudnnGraphNotSupportedError, RuntimeError)):
        cudnn.build(impossible, **described)


def test_all_libraries_are_found(described, forget, capsys):
    """There is a handle, or what is missing is the GPU alone."""
    if not cudnn._handle():
        assert "cudnnHandle Create failed" in capsys.readouterr().err


def test_the_frontend_takes_no_pytorch_along(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with cudnn._without_torch(), pytest.raises(ImportError):
        importlib.import_module("torch")
    assert "torch" not in sys.modules
    monkeypatch.setitem(sys.modules, "torch", json)  # who has it already keeps it
    with cudnn._without_torch():
        assert importlib.import_module("torch") is json


# --------------------------------------------------------------------- problems, by NumPy


@pytest.mark.parametrize("four", [1, 4], ids=["real", "quaternion"])
def test_kernels_state_their_problem_right(solved, four):
    rng = np.random.default_rng(0)
    size, stride, padding = (3, 2), (2, 1), (1, 0)
    x = rng.standard_normal((2, 7, 6, 3 * four)).astype(np.float32)
    w = rng.standard_normal(((4,) if four == 4 else ()) + (*size, 3, 5)).astype(np.float32)
    g = rng.standard_normal((2, 4, 5, 5 * four)).astype(np.float32)
    for suffix, args in (
        ("", (x, w, stride, padding)),
        ("_dx", (g, w, x.shape, stride, padding)),
        ("_dw", (x, g, w.shape, stride, padding)),
    ):
        there = (asarray(a) if isinstance(a, np.ndarray) else a for a in args)
        y = to_numpy(getattr(cupy_gpu, "conv2d" + suffix)(*there))
        expected = getattr(reference, "conv2d" + suffix)(*args)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5, err_msg=suffix)
    assert [p.kind for p in solved] == ["forward", "dx", "dw"]
    assert {p.precision for p in solved} == {"float32"}


def test_bfloat16_is_the_nearest(stand_in):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(1000) * 10.0 ** rng.integers(-20, 20, 1000)).astype(np.float32)
    x[:6] = [0, 1, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, np.nan]  # two ties, to even
    bits = cudnn.to_bf16(asarray(x))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(to_numpy(bits)[:4], [0, 0x3F80, 0x3F80, 0x3F82])
        np.testing.assert_array_equal(to_numpy(bits)[6:], cudnn_on_cpu.narrow(x[6:]))
    back = to_numpy(cudnn.from_bf16(bits))
    np.testing.assert_allclose(back, x, rtol=2**-8)
    np.testing.assert_array_equal(cudnn.to_bf16(asarray(back)).get(), to_numpy(bits))


@pytest.mark.parametrize("shape", [(3, 3, 8, 8), (4, 3, 3, 2, 2)], ids=["real", "quaternion"])
def test_bfloat16_rounds_factors_and_results(solved, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 5, 8)).astype(np.float32)
    w = rng.standard_normal(shape).astype(np.float32)
    with use_precision("bf16"):
        y = to_numpy(cupy_gpu.conv2d(asarray(x), asarray(w), (1, 1), (1, 1)))
    exact = reference.conv2d(x, w, (1, 1), (1, 1))
    assert solved[0].precision == "bf16"
    assert y.dtype == np.float32
    assert not (y.view(np.uint32) & 0xFFFF).any()  # bfloat16 numbers
    assert 0 < abs(y - exact).max() < 0.02 * abs(exact).max()


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_convolution_rounds_each_factor_once(solved, monkeypatch, algebra, planned):
    """Two maps and, twice, the weight; without a plan the rounded maps are made wide again.

    A quaternion weight is expanded, and its gradient folded, to and from bits at once.
    """
    if not planned:
        monkeypatch.setattr(cudnn, "_find", lambda problem: None)
    rng = np.random.default_rng(0)
    conv = (nn.Conv2d if algebra == "real" else nn.QConv2d)(8, 8, 3, padding=1, rng=rng)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32), requires_grad=True)
    with use_precision("bf16"), cupy_on_cpu.counted() as counts:
        conv(x).sum().backward()
    real = algebra == "real"
    assert counts["kernel to_bf16"] == (4 if planned and real else 2)
    assert counts["kernel from_bf16"] == (2 + real if planned else 4)  # the results, or the factors
    found = to_numpy(x.grad)
    with use_precision("float32"):
        x.grad = None
        conv(x).sum().backward()
    true = to_numpy(x.grad)
    assert 0 < abs(found - true).max() < 0.02 * abs(true).max() or not planned
    np.testing.assert_allclose(found, true, rtol=0, atol=0.02 * abs(true).max())


def test_float64_and_no_images_take_matrix_products(solved):
    for x in (np.ones((1, 4, 4, 4)), np.ones((0, 4, 4, 4), np.float32)):
        w = np.ones((3, 3, 4, 4), x.dtype)
        assert cupy_gpu.conv2d(asarray(x), asarray(w), (1, 1), (1, 1)).dtype == x.dtype
    assert not solved


def test_the_precision_is_part_of_the_problem(solved):
    x, w = (asarray(np.ones(shape, np.float32)) for shape in ((1, 4, 4, 4), (3, 3, 4, 4)))
    with use_precision("tf32"):
        cupy_gpu.conv2d(x, w, (1, 1), (1, 1))
    assert get_precision() == "float32"
    assert solved[0].precision == "tf32"
    with pytest.raises(
        OptionError, match="unknown precision 'half': choose one of float32, tf32, bf16"
    ):
        set_precision("half")


def test_without_cudnn_one_notice(stand_in, capsys):
    x, w = (asarray(np.ones(shape, np.float32)) for shape in ((1, 4, 4, 4), (3, 3, 4, 4)))
    for padding in ((0, 0), (1, 1)):
        cupy_gpu.conv2d(x, w, (1, 1), padding)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cuDNN is not installed" in said
    assert "pip install 'quatgrad[cudnn12]'" in said


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_units_give_the_same_numbers(solved, monkeypatch, algebra, precision):
    """A network with its convolutions, norms and sums as one, and apart: bit for bit the same.

    In bf16 maps between units are rounded as well: nearly the same.
    """
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 4)).astype(np.float32)

    def trained():
        net = models.create("resnet8", algebra, num_classes=4, image_size=(8, 8), width=8)
        optimizer = SGD(net.parameters(), 0.9, nesterov=True, weight_decay=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(net(Tensor(images)), np.arange(4)).backward()
            optimizer.step(0.01)
        return net.state_dict()

    with use_precision(precision):
        with cupy_on_cpu.counted() as together:
            one = trained()
        with monkeypatch.context() as m, cupy_on_cpu.counted() as apart:
            fused = import_module("quatgrad.nn.conv_norm_act")
            m.setattr(fused, "_is_fusable", lambda *args: False)
            two = trained()
    if precision == "bf16":
        a, b = (np.concatenate([v.ravel() for v in state.values()]) for state in (one, two))
        assert 0 < np.linalg.norm(a - b) < 0.01 * np.linalg.norm(b)
    else:
        for name, a in one.items():
            assert a.tobytes() == two[name].tobytes(), name
    assert together["kernel relu"] == together["kernel relu_dx"] == 0
    assert apart["kernel relu"] > 1
    assert apart["kernel relu_dx"] > 1


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_unit_reads_its_weight_once(solved, algebra):
    """In bf16: for the product forwards and the one back."""
    rng = np.random.default_rng(0)
    conv = (nn.Conv2d if algebra == "real" else nn.QConv2d)(8, 8, 3, bias=False, rng=rng)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32), requires_grad=True)
    with use_precision("bf16"), cupy_on_cpu.counted() as counts:
        nn.conv_norm_act(conv, nn.BatchNorm2d(8), x, ops.relu).sum().backward()
    assert [p.kind for p in solved] == ["forward", "dx", "dw"]
    assert counts["kernel expand"] == (algebra == "quaternion")
    assert counts["kernel to_bf16"] == 2 + (algebra == "real")  # x and g


def test_another_precision_reads_bits_as_numbers(solved):
    """A map made in bf16 meets weights that are not rounded, once float32 is asked for."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32), requires_grad=True)
    conv, norm = nn.Conv2d(8, 8, 3, bias=False, rng=rng), nn.BatchNorm2d(8)
    with use_precision("bf16"):
        y = nn.conv_norm_act(conv, norm, x, ops.relu)
    assert y._array.dtype == BFLOAT16_BITS
    found, expected = (nn.conv_norm_act(conv, norm, v, ops.relu) for v in (y, y.detach()))
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert found._array.dtype == np.float32


def test_a_leaf_holds_numbers(solved):
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32))
    conv, norm = nn.Conv2d(8, 8, 3, bias=False, rng=rng), nn.BatchNorm2d(8)
    with use_precision("bf16"):
        y = nn.conv_norm_act(conv, norm, x, ops.relu)
        with no_grad():
            z = nn.conv_norm_act(conv, norm, x, ops.relu)
    assert z._array.dtype == np.float32
    np.testing.assert_array_equal(z.numpy(), y.numpy())
    z.data = y  # which is bits
    z.update(lambda a: a.__imul__(2))
    np.testing.assert_array_equal(z.numpy(), 2 * y.numpy())
    y.backward(z)


@pytest.mark.parametrize("rung", ["gemm", "reference"])
def test_lower_rungs_take_bits(solved, rung):
    """Whoever steps down by hand finds the numbers that the fast rung has stored."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32), requires_grad=True)
    conv, norm = nn.Conv2d(8, 8, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(8)
    with use_precision("bf16"):
        y = nn.conv_norm_act(conv, norm, x, ops.relu)
    with use_kernels(rung):
        found = nn.conv_norm_act(conv, norm, y, ops.relu, residual=y)
        expected = nn.conv_norm_act(conv, norm, y.detach(), ops.relu, residual=y.detach())
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        (found + y).sum().backward()
    assert np.isfinite(to_numpy(x.grad)).all()


def test_bits_are_numbers_for_all_who_ask(solved):
    """A unit hands bits to the next one, and numbers to any other operation and to its leaves."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32), requires_grad=True)
    conv, norm = nn.QConv2d(8, 8, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(8)
    with use_precision("bf16"):
        y = nn.conv_norm_act(conv, norm, x, ops.relu)
        z = nn.conv_norm_act(conv, norm, y, ops.relu, residual=y)
        (z * z).mean().backward()
    for t in (y, z):
        assert t._array.dtype == BFLOAT16_BITS
        assert t.dtype == t.data.dtype == t.numpy().dtype == t.detach().dtype == np.float32
        assert "float32" in repr(t)
        assert to_numpy((t >= 0) & (t < 100)).all()
    assert x.grad.dtype == conv.weight.grad.dtype == norm.scale.grad.dtype == np.float32
    found, x.grad = to_numpy(x.grad), None
    y = nn.conv_norm_act(conv, norm, x, ops.relu)
    (nn.conv_norm_act(conv, norm, y, ops.relu, residual=y) ** 2).mean().backward()
    true = to_numpy(x.grad)
    assert 0 < np.linalg.norm(found - true) < 0.2 * np.linalg.norm(true)  # a rectifier flips


def test_a_unit_is_what_it_stands_for(solved):
    """Only a plain convolution, a norm in training and the rectifier are taken as one."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32))
    plain, norm = nn.Conv2d(8, 8, 3, bias=False, rng=rng), nn.BatchNorm2d(8)
    others = [(nn.Conv2d(8, 8, 3, rng=rng), norm, ops.relu), (plain, norm, ops.tanh),
              (plain, nn.BatchNorm2d(8).eval(), None), (plain, nn.QVarianceNorm2d(8), None),
              (nn.Conv2d(8, 8, 3, bias=False, groups=2, rng=rng), norm, None)]  # fmt: skip
    assert str(nn.conv_norm_act(plain, norm, x, ops.relu)._node) == "ConvNormAct"
    for conv, other, then in others:
        assert str(nn.conv_norm_act(conv, other, x, then)._node) != "ConvNormAct"
