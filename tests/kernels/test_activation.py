"""The sum of maps that are large enough for all threads; small ones are in the ladder."""

import numpy as np
import pytest

from quatgrad.kernels.numba_cpu.layers.activation import add


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adds_large_maps_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300, 301)).astype(dtype)
    for x, y in ((a, b), (a, b.T[:300, :300].repeat(2, axis=1)[:, :301]), (a, b[0]), (a.T, b.T)):
        z = add(x, y)
        assert z.dtype == dtype
        assert (z == x + y).all()
