"""Products of matrices: every way a matrix may lie, smaller and larger than a panel or a block."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from quatgrad.kernels.numba_cpu.simd.matmul import matmul

# Rows of A, what is summed, columns of B: around DEPTH 128 and twice that, HEIGHT 256, COLUMNS 128,
# and lines of A that compete for the cache (multiples of 64 numbers apart) and are copied for that.
SIZES = [(1, 1, 1), (5, 300, 17), (257, 64, 33), (64, 256, 130), (300, 600, 70), (320, 257, 300)]
SIZES.append((1100, 70, 150))  # so many rows that all panels are made first


def laid(a: np.ndarray, turned: bool) -> np.ndarray:
    """The same matrices, in memory by columns if `turned`."""
    return np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2) if turned else a


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "stack"])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_equals_the_float64_product_on_any_number_of_threads(size, lead, turned):
    (M, K, N), rng = size, np.random.default_rng(0)
    a, b = (rng.normal(size=(*lead, *s)).astype(np.float32) for s in ((M, K), (K, N)))
    exact = a.astype(float) @ b.astype(float)
    a, b = (laid(x, t) for x, t in zip((a, b), turned, strict=True))
    c = matmul(a, b)
    assert c.dtype == np.float32
    assert abs(c - exact).max() < 4e-7 * np.sqrt(K) * abs(exact).max()
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert (matmul(a, b) == c).all()
    finally:
        numba.set_num_threads(threads)
