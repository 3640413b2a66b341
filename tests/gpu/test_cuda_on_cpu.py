"""The CPU that plays GPU: it computes what a kernel says, and finds what a GPU would not."""

import shutil

import cuda_on_cpu
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not installed")

SUM = """
extern "C" __global__ void reversed(const float* x, float* y, int n) {
    __shared__ float shared[64];
    shared[threadIdx.x] = x[blockIdx.x * n + threadIdx.x];
    BARRIER
    y[blockIdx.x * n + threadIdx.x] = shared[n - 1 - threadIdx.x];
}
"""
BUTTERFLY = """
extern "C" __global__ void sums(const double* x, double* y, bool early) {
    double sum = x[threadIdx.x];
    if (early && threadIdx.x % 32 == 5) return;
    for (int lane = 16; lane; lane /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lane);
    y[threadIdx.x] = sum;
}
"""


def run(code, name, *args, grid=(1,), block=(64,)):
    cuda_on_cpu.launch(code, (), name, grid, block, args, lambda a: a)


def test_threads_of_a_block_share_memory_and_wait():
    x = np.arange(3 * 64, dtype=np.float32)
    y = np.empty_like(x)
    run(SUM.replace("BARRIER", "__syncthreads();"), "reversed", x, y, np.int32(64), grid=(3,))
    np.testing.assert_array_equal(y.reshape(3, 64), x.reshape(3, 64)[:, ::-1])


def test_a_missing_barrier_shows_every_time():
    x = 1 + np.arange(64, dtype=np.float32)
    y = np.empty_like(x)
    run(SUM.replace("BARRIER", ""), "reversed", x, y, np.int32(64))
    assert (y != x[::-1]).any()


def test_lanes_of_a_warp_exchange_numbers():
    x, y = np.arange(64.0), np.empty(64)
    run(BUTTERFLY, "sums", x, y, np.bool_(False))
    np.testing.assert_array_equal(y, np.repeat(x.reshape(2, 32).sum(axis=1), 32))


def test_lanes_that_never_meet_are_found():
    with pytest.raises(AssertionError, match="wait for each other at different places"):
        run(BUTTERFLY, "sums", np.arange(64.0), np.empty(64), np.bool_(True))


def test_arguments_are_those_the_kernel_declares():
    x = np.zeros(64, np.float32)
    code = SUM.replace("BARRIER", "__syncthreads();")
    with pytest.raises(AssertionError, match=r"argument 1 of reversed is float64, not float\*"):
        run(code, "reversed", x, x.astype(np.float64), np.int32(64))
    with pytest.raises(AssertionError, match="argument 2 of reversed is 64, not a NumPy int"):
        run(code, "reversed", x, x, 64)
    with pytest.raises(AssertionError, match="is not contiguous"):
        run(code, "reversed", x, np.zeros(128, np.float32)[::2], np.int32(64))
    with pytest.raises(AssertionError, match="takes 3 arguments; got 2"):
        run(code, "reversed", x, x)
    with pytest.raises(AssertionError, match="a grid of"):
        run(code, "reversed", x, x, np.int32(64), grid=(1, 70_000))
