"""Compiled attention of sequences longer than a vector, beside the formula."""

import numpy as np
import pytest

from quatgrad.kernels import numba_cpu, reference


def inputs(N, T, C, scale=1.0):
    rng = np.random.default_rng(0)
    return [(scale * rng.standard_normal((N, T, C))).astype(np.float32) for _ in range(4)]


def forward_and_back(kernels, q, k, v, g, lengths, heads, components, causal):
    y, a = kernels.attention(q, k, v, lengths, heads, components, causal)
    return y, a, *kernels.attention_dx(g, q, k, v, a, lengths, components)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize(
    ("T", "lengths"), [(17, (17, 16, 1)), (40, (40, 40, 40)), (50, (33, 1, 50)), (64, (64, 15, 63))]
)
def test_it_is_the_formula(T, lengths, components, causal):
    how = np.array(lengths), 3, components, causal
    for scale in (1.0, 4.0):
        given = inputs(3, T, 60, scale)
        found = forward_and_back(numba_cpu, *given, *how)
        known = forward_and_back(reference, *(x.astype(np.float64) for x in given), *how)
        for x, y in zip(found, known, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * max(1, abs(y).max()))


@pytest.mark.parametrize("causal", [False, True])
def test_a_sequence_has_its_bits_however_long_the_others_are(causal):
    given, L = inputs(2, 50, 24), 21
    together = forward_and_back(numba_cpu, *given, np.array([L, 50]), 2, 1, causal)
    alone = forward_and_back(
        numba_cpu, *(x[:1, :L].copy() for x in given), np.array([L]), 2, 1, causal
    )
    for i, (x, y) in enumerate(zip(together, alone, strict=True)):
        x = x[:1, :, :L, :L] if i == 1 else x[:1, :L]
        assert x.tobytes() == y.tobytes()
