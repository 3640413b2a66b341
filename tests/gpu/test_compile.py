"""NVRTC, CUDA's compiler, takes every source for the GPUs in use, and no kernel spills registers.

It needs no GPU: CuPy brings the call, the package nvidia-cuda-nvrtc the compiler.
"""

import re
import tomllib
from pathlib import Path

import pytest

from quatgrad.kernels import cupy_gpu
from quatgrad.kernels.cupy_gpu import cuda

SOURCES = sorted(path.stem for path in Path(cupy_gpu.__file__).parent.glob("*.cu"))


def report(name, dtype, architecture, vector=1):
    """What the compiler says of a source; an error if it does not compile."""
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy is not installed")
    try:
        nvrtc.getVersion()
    except RuntimeError as error:  # its library is a package of its own
        pytest.skip(f"NVRTC is not installed: {error}")
    # CuPy adds -ftz=true by itself.
    options = *cuda.options(dtype, vector), f"-arch={architecture}", "-ftz=true"
    options += ("--ptxas-options=-v",)
    program = nvrtc.createProgram(cuda.source(name), f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    log = nvrtc.getProgramLog(program)
    nvrtc.destroyProgram(program)
    return log


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float32", "float64", cuda.BFLOAT16_BITS])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_compiles_and_nothing_spills(name, packed, dtype, architecture):
    log = report(name, dtype, architecture, cuda.pack(dtype, 4) if packed else 1)
    kernels = set(re.findall(r"Compiling entry function '(\w+)'", log))
    assert kernels == set(re.findall(r'extern "C" __global__ void (\w+)', cuda.source(name)))
    used = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", log)
    assert len(used) >= len(kernels)
    assert {int(number) for line in used for number in line} == {0}, log


def test_a_source_that_does_not_compile_is_noticed(monkeypatch):
    monkeypatch.setattr(cuda, "source", lambda name: "this is no CUDA")
    with pytest.raises(AssertionError, match="error"):
        report("norm", "float32", "sm_90")


def test_every_source_is_packaged():
    expected = "activation augment loss norm optimizer pool precision quaternion"
    assert expected.split() == SOURCES
    package = Path(cupy_gpu.__file__).parents[2]  # the wheel has all that is in its folder
    build = tomllib.loads((package.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["packages"] == [package.name]
