"""Convolutions by cuDNN: which problems they make of arrays, and plans for all of a ResNet's.

A plan can be made for a GPU that is only described, where cuDNN and its frontend are installed.
What a plan computes is seen on a GPU alone; here NumPy solves the problem as it is stated.
"""

import json

import cudnn_on_cpu
import numpy as np
import pytest

from quatgrad import models
from quatgrad.backend import (
    PRECISIONS,
    asarray,
    get_precision,
    set_precision,
    to_numpy,
    use_precision,
)
from quatgrad.errors import OptionError
from quatgrad.kernels import cupy_gpu, reference
from quatgrad.kernels.cupy_gpu import plans
from quatgrad.kernels.reference import out_size

#: An H200 in cuDNN's words. Its parser names a field that is missing.
H200 = {
    "deviceName": "NVIDIA H200", "cudaDeviceId": 0, "deviceVer": 900, "driverVer": 12090,
    "pciDeviceId": 0, "isTccDriver": 0, "multiProcessorCount": 132, "warpSize": 32,
    "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
    "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
    "l2CacheSize": 62914560, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
    "totalGlobalMem": 150754820096, "supportCoopLaunch": 1,
}  # fmt: skip


@pytest.fixture
def described():
    """What makes cuDNN plan for an H200 that is not there."""
    cudnn = pytest.importorskip("cudnn", reason="cuDNN's frontend is not installed")
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="CuPy is not installed")
    try:
        cudnn.backend_version()
        pathfinder.load_nvidia_dynamic_lib("cublasLt")
    except RuntimeError as error:
        pytest.skip(f"cuDNN or cuBLAS is not installed: {error}")
    properties = cudnn.create_device_properties(json.dumps(H200))
    return {"device_property": properties, "sm_version": 90}


def convolutions(name, N, size):
    """(x, w, stride, padding) of all convolutions of a ResNet, w (U, V, P, Q)."""

    def of(conv, size):
        x = N, size, size, conv.weight.shape[2]
        return x, conv.weight.shape, conv.stride, conv.padding

    net = models.create(name, num_classes=100)
    yield of(net.stem, size)
    for stage in net.stages:
        for block in stage.modules:
            before = size
            for conv in (m for n, m in vars(block).items() if n.startswith("conv")):
                yield of(conv, size)
                size //= conv.stride[0]
            for conv in block.shortcut.modules[:1]:
                yield of(conv, before)


def problems(x, w, stride, padding, precision):
    (N, H, W, P), (U, V, _, Q) = x, w
    y = N, *out_size((H, W), (U, V), stride, padding), Q
    for kind in plans.OPERANDS:
        yield plans.Problem(kind, x, (Q, U, V, P), y, stride, padding, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_every_convolution_of_a_resnet_has_a_plan(described, name, precision):
    found = set()
    for conv in convolutions(name, 512, 32):
        found.update(problems(*conv, precision))
    assert len(found) > 25
    for problem in found:
        assert plans.build(problem, **described).get_workspace_size() <= plans.WORKSPACE


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [(5, 7, 9, 3), (2, 8, 8, 20)])
def test_odd_channels_and_strides_have_plans(described, shape, precision):
    for problem in problems(shape, (3, 3, shape[3], 36), (2, 1), (0, 1), precision):
        plans.build(problem, **described)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [512, 79])
def test_matrix_products_of_a_head_have_plans(described, batch, precision):
    for M, K, N in ((batch, 512, 100), (batch, 100, 512), (512, batch, 100)):
        shapes = (M, 1, 1, K), (N, 1, 1, K), (M, 1, 1, N)
        plans.build(plans.Problem("forward", *shapes, (1, 1), (0, 0), precision), **described)


def test_a_problem_without_an_engine_is_an_error(described):
    import cudnn

    impossible = plans.Problem("forward", (1, 4, 4, 4), (4, 9, 9, 4), (1, 4, 4, 4),
                               (1, 1), (0, 0), "float32")  # fmt: skip
    with pytest.raises((cudnn.cudnnGraphNotSupportedError, RuntimeError)):
        plans.build(impossible, **described)


# --------------------------------------------------------------------- problems, by NumPy


@pytest.mark.parametrize("four", [1, 4], ids=["real", "quaternion"])
def test_kernels_state_their_problem_right(solved, four):
    rng = np.random.default_rng(0)
    size, stride, padding = (3, 2), (2, 1), (1, 0)
    x = rng.standard_normal((2, 7, 6, 3 * four)).astype(np.float32)
    w = rng.standard_normal(((4,) if four == 4 else ()) + (*size, 3, 5)).astype(np.float32)
    g = rng.standard_normal((2, 4, 5, 5 * four)).astype(np.float32)
    name = "hamilton_conv2d" if four == 4 else "conv2d"
    for suffix, args in (
        ("", (x, w, stride, padding)),
        ("_dx", (g, w, x.shape, stride, padding)),
        ("_dw", (x, g, size, stride, padding)),
    ):
        there = (asarray(a) if isinstance(a, np.ndarray) else a for a in args)
        y = to_numpy(getattr(cupy_gpu, name + suffix)(*there))
        expected = getattr(reference, name + suffix)(*args)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5, err_msg=name + suffix)
    assert [p.kind for p in solved] == ["forward", "dx", "dw"]
    assert {p.precision for p in solved} == {"float32"}


def test_bfloat16_is_the_nearest(stand_in):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(1000) * 10.0 ** rng.integers(-20, 20, 1000)).astype(np.float32)
    x[:6] = [0, 1, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, np.nan]  # two ties, to even
    bits = plans.to_bf16(asarray(x))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(to_numpy(bits)[:4], [0, 0x3F80, 0x3F80, 0x3F82])
        np.testing.assert_array_equal(to_numpy(bits)[6:], cudnn_on_cpu.narrow(x[6:]))
    back = to_numpy(plans.from_bf16(bits))
    np.testing.assert_allclose(back, x, rtol=2**-8)
    np.testing.assert_array_equal(plans.to_bf16(asarray(back)).get(), to_numpy(bits))


@pytest.mark.parametrize("name", ["conv2d", "hamilton_conv2d"])
def test_bfloat16_rounds_factors_and_results(solved, name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 5, 8)).astype(np.float32)
    shape = (3, 3, 8, 8) if name == "conv2d" else (4, 3, 3, 2, 2)
    w = rng.standard_normal(shape).astype(np.float32)
    with use_precision("bf16"):
        y = to_numpy(getattr(cupy_gpu, name)(asarray(x), asarray(w), (1, 1), (1, 1)))
    exact = getattr(reference, name)(x, w, (1, 1), (1, 1))
    assert solved[0].precision == "bf16"
    assert y.dtype == np.float32
    assert not (y.view(np.uint32) & 0xFFFF).any()  # bfloat16 numbers
    assert 0 < abs(y - exact).max() < 0.02 * abs(exact).max()


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
