"""What the tests of identities share: samples, and equality within so many eps."""

import numpy as np
import pytest
from hypothesis import strategies as st

from quatgrad import quaternion as alg

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
SEEDS = st.integers(0, 2**32 - 1)
ONE, I, J, K = np.eye(4)


def normals(seed, dtype, *shape):
    """Normal numbers of that shape: quaternions, vectors, whatever."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def units(seed, dtype, *shape):
    """Unit quaternions: uniform, a few of them half turns, near one another, 1 or -1."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((*shape, 4))
    q[rng.random(shape) < 0.1, 0] = 0
    near = rng.random(shape) < 0.2
    q[near] = [1, 0, 0, 0] + q[near] * 10 ** rng.uniform(-18, 0, (near.sum(), 1))
    real = rng.random(shape) < 0.1
    q[real] = rng.choice([-1, 1], (real.sum(), 1)) * ONE
    return alg.normalize(q).astype(dtype)


def close(a, b, eps, scale=1.0):
    """|a - b| <= eps units in the last place of `scale`; a NaN is close to nothing."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    error = np.abs(np.float64(a) - np.float64(b))
    assert (error <= eps * np.finfo(a.dtype).eps * np.float64(scale)).all(), (
        f"{(error / np.float64(scale)).max() / np.finfo(a.dtype).eps:.3g} eps"
    )


def same_rotation(p, q, eps):
    """Close, up to the sign of each quaternion."""
    close(np.where((p * q).sum(axis=-1, keepdims=True) < 0, -p, p), q, eps)
