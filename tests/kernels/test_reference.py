"""The specification against its own definitions: loops in plain Python, and adjointness."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import backend
from quatgrad.errors import BackendError
from quatgrad.kernels import gemm, kernel, numba_cpu, reference, use_kernels
from quatgrad.kernels.registry import kernels_of

SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.integers(1, 3)
PAIRS = st.tuples(SMALL, SMALL)


@st.composite
def geometries(draw):
    """N, H, W, P, Q, window, stride and padding with at least one output pixel."""
    N, P, Q = draw(SMALL), draw(SMALL), draw(SMALL)
    H, W = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = tuple(
        draw(st.integers(1, min(4, n + 2 * p))) for n, p in zip((H, W), padding, strict=True)
    )
    return N, H, W, P, Q, size, draw(PAIRS), padding


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def dot(a, b):
    assert a.shape == b.shape
    return float((a * b).sum())


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


# ------------------------------------------------------------------------------- algebra

ONE, I, J, K = np.eye(4)


def test_units_multiply_as_hamilton_carved():
    h = reference.hamilton
    assert reference.HAMILTON.dtype == np.int8
    for unit in (I, J, K):
        close(h(unit, unit), -ONE)
    close(h(h(I, J), K), -ONE)
    for unit in (ONE, I, J, K):
        close(h(ONE, unit), unit)
        close(h(unit, ONE), unit)
    close(h(I, J), K)
    close(h(J, I), -K)


def test_table_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        reference.HAMILTON[0, 0, 0] = 2


def multiply(w, x):
    """w x with w = (r, i, j, k) on the left, written out as in the paper."""
    r, i, j, k = w
    xr, xi, xj, xk = x
    return np.array([
        r * xr - i * xi - j * xj - k * xk,
        i * xr + r * xi - k * xj + j * xk,
        j * xr + k * xi + r * xj - i * xk,
        k * xr - j * xi + i * xj + r * xk,
    ])  # fmt: skip


@given(SEEDS)
def test_hamilton_is_the_product_written_out(seed):
    p, q = numbers(seed, 2, 4)
    close(reference.hamilton(p, q), multiply(p, q))


@given(SEEDS, SMALL, SMALL)
def test_expand_is_the_block_matrix_of_the_paper(seed, P, Q):
    w = numbers(seed, 4, P, Q)
    r, i, j, k = (a.T for a in w)  # the paper's inputs are columns, ours are rows
    paper = np.block([
        [r, -i, -j, -k],
        [i,  r, -k,  j],
        [j,  k,  r, -i],
        [k, -j,  i,  r],
    ])  # fmt: skip
    close(reference.expand(w), paper.T)


@given(SEEDS, SMALL, SMALL, SMALL)
def test_hamilton_linear_is_its_definition(seed, N, P, Q):
    x, w = numbers(seed, N, 4 * P), numbers(seed + 1, 4, P, Q)
    y = reference.hamilton_linear(x, w)
    for n, q in product(range(N), range(Q)):
        expected = sum(multiply(w[:, p, q], x[n, p::P]) for p in range(P))
        close(y[n, q::Q], expected)
    close(y, x @ reference.expand(w))


@given(SEEDS, st.sampled_from([(), (2,), (2, 3)]), SMALL, SMALL)
def test_fold_is_the_adjoint_of_expand(seed, lead, P, Q):
    w, W = numbers(seed, 4, *lead, P, Q), numbers(seed + 1, *lead, 4 * P, 4 * Q)
    close(dot(reference.expand(w), W), dot(w, reference.fold(W)))


@given(SEEDS, SMALL, SMALL, SMALL)
def test_hamilton_linear_gradients_are_adjoints(seed, N, P, Q):
    x, w = numbers(seed, N, 4 * P), numbers(seed + 1, 4, P, Q)
    g = numbers(seed + 2, N, 4 * Q)
    yg = dot(reference.hamilton_linear(x, w), g)
    close(yg, dot(x, reference.hamilton_linear_dx(g, w)))
    close(yg, dot(w, reference.hamilton_linear_dw(x, g)))


# --------------------------------------------------------------------- patches, convolution


def window_of(x, n, i, j, size, stride, padding):
    """(u, v, pixel) of every offset at which window (i, j) meets the map of image n."""
    for u, v in product(range(size[0]), range(size[1])):
        h, w = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
        if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
            yield u, v, x[n, h, w]


@given(SEEDS, geometries())
def test_patches_are_their_definition(seed, geometry):
    N, H, W, P, _, *window = geometry
    x = numbers(seed, N, H, W, P)
    got = reference.patches(x, *window)
    expected = np.zeros(got.shape)
    for n, i, j in np.ndindex(got.shape[:3]):
        for u, v, pixel in window_of(x, n, i, j, *window):
            expected[n, i, j, u, v] = pixel
    close(got, expected)


@given(SEEDS, geometries())
def test_unpatches_is_the_adjoint_of_patches(seed, geometry):
    N, H, W, C, _, size, stride, padding = geometry
    x = numbers(seed, N, H, W, C)
    taken = reference.patches(x, size, stride, padding)
    P = numbers(seed + 1, *taken.shape)
    close(dot(taken, P), dot(x, reference.unpatches(P, x.shape, stride, padding)))


@given(SEEDS, geometries())
def test_conv2d_is_its_definition(seed, geometry):
    N, H, W, P, Q, *window = geometry
    x, w = numbers(seed, N, H, W, P), numbers(seed + 1, *window[0], P, Q)
    y = reference.conv2d(x, w, *window[1:])
    assert y.shape == (N, *reference.out_size((H, W), *window), Q)
    for n, i, j in np.ndindex(y.shape[:3]):
        expected = np.zeros(Q)
        for u, v, pixel in window_of(x, n, i, j, *window):
            expected += pixel @ w[u, v]
        close(y[n, i, j], expected)


@given(SEEDS, geometries())
def test_quaternion_conv2d_is_its_definition(seed, geometry):
    N, H, W, P, Q, *window = geometry
    x, w = numbers(seed, N, H, W, 4 * P), numbers(seed + 1, 4, *window[0], P, Q)
    y = reference.conv2d(x, w, *window[1:])
    assert y.shape == (N, *reference.out_size((H, W), *window), 4 * Q)
    for n, i, j in np.ndindex(y.shape[:3]):
        for q in range(Q):
            expected = np.zeros(4)
            for u, v, pixel in window_of(x, n, i, j, *window):
                for p in range(P):
                    expected += multiply(w[:, u, v, p, q], pixel[p::P])
            close(y[n, i, j, q::Q], expected)


@pytest.mark.parametrize("quaternion", [False, True], ids=["real", "quaternion"])
@given(seed=SEEDS, geometry=geometries())
def test_convolution_gradients_are_adjoints(quaternion, seed, geometry):
    N, H, W, P, Q, size, stride, padding = geometry
    lead, four = ((4,), 4) if quaternion else ((), 1)
    x, w = numbers(seed, N, H, W, four * P), numbers(seed + 1, *lead, *size, P, Q)
    y = reference.conv2d(x, w, stride, padding)
    g = numbers(seed + 2, *y.shape)
    dx = reference.conv2d_dx(g, w, x.shape, stride, padding)
    dw = reference.conv2d_dw(x, g, w.shape, stride, padding)
    close(dot(y, g), dot(x, dx))
    close(dot(y, g), dot(w, dw))


# ------------------------------------------------------------------------------- pooling


@given(SEEDS, geometries())
def test_max_pool_is_its_definition(seed, geometry):
    N, H, W, C, _, *window = geometry
    x = np.random.default_rng(seed).integers(-2, 3, (N, H, W, C)).astype(np.float64)
    y, winner = reference.max_pool(x, *window)
    g = numbers(seed, *y.shape)
    dx = np.zeros(x.shape)
    (_, V), (s, t), (a, b) = window
    for n, i, j, c in np.ndindex(y.shape):
        best, won = -np.inf, 0
        for u, v, pixel in window_of(x, n, i, j, *window):
            if pixel[c] > best:  # strictly: the first of equals wins
                best, won = pixel[c], u * V + v
        assert y[n, i, j, c] == best
        assert winner[n, i, j, c] == won
        if best > -np.inf:  # else the window met only padding
            dx[n, i * s + won // V - a, j * t + won % V - b, c] += g[n, i, j, c]
    assert winner.dtype == np.int32
    close(reference.max_pool_dx(g, winner, x.shape, *window), dx)


def test_max_pool_gives_nan_and_names_the_first():
    x = np.array([3, np.nan, np.nan, 5.0]).reshape(1, 2, 2, 1)
    y, winner = reference.max_pool(x, (2, 2), (2, 2), (0, 0))
    assert np.isnan(y.item())
    assert winner.item() == 1


@given(SEEDS, geometries())
def test_avg_pool_is_its_definition(seed, geometry):
    N, H, W, C, _, *window = geometry
    x = numbers(seed, N, H, W, C)
    y = reference.avg_pool(x, *window)
    for n, i, j in np.ndindex(y.shape[:3]):
        total = sum((pixel for *_, pixel in window_of(x, n, i, j, *window)), np.zeros(C))
        close(y[n, i, j], total / (window[0][0] * window[0][1]))
    g = numbers(seed + 1, *y.shape)
    close(dot(y, g), dot(x, reference.avg_pool_dx(g, x.shape, *window)))


# ---------------------------------------------------------------------------- batch norm

LEADS = st.sampled_from([(2,), (7,), (2, 3), (3, 2, 2)])


@given(SEEDS, LEADS, SMALL)
def test_batch_norm_is_its_definition(seed, lead, C):
    x, (scale, shift) = numbers(seed, *lead, C), numbers(seed + 1, 2, C)
    y, mean, var = reference.batch_norm(x, scale, shift, 1e-3)
    for c in range(C):
        values = x[..., c].ravel()
        m = sum(values) / len(values)
        v = sum((values - m) ** 2) / len(values)
        close((mean[c], var[c]), (m, v))
        close(y[..., c], scale[c] * (x[..., c] - m) / (v + 1e-3) ** 0.5 + shift[c])
    close(reference.batch_norm_eval(x, mean, var, scale, shift, 1e-3), y)


@given(SEEDS, LEADS, SMALL)
def test_batch_norm_dx_is_the_derivative(seed, lead, C):
    """Against the complex-step derivative of the formula, which has no truncation error."""
    x, (scale, shift) = numbers(seed, *lead, C), numbers(seed + 1, 2, C)
    g, dx = numbers(seed + 2, 2, *x.shape)
    dscale, dshift = numbers(seed + 3, 2, C)

    def loss(x, scale, shift):
        axes = tuple(range(x.ndim - 1))
        centred = x - x.mean(axis=axes)
        var = (centred * centred).mean(axis=axes)
        return (g * (scale * centred / np.sqrt(var + 0.1) + shift)).sum()

    step = 1e-30
    slope = loss(x + 1j * step * dx, scale + 1j * step * dscale, shift + 1j * step * dshift)
    _, mean, var = reference.batch_norm(x, scale, shift, 0.1)
    grads = reference.batch_norm_dx(g, x, mean, var, scale, 0.1)
    along = sum(dot(a, b) for a, b in zip(grads, (dx, dscale, dshift), strict=True))
    close(slope.imag / step, along)


# ------------------------------------------------------------------------------ the ladder


def test_kernels_come_from_the_best_rung_that_has_them():
    with backend.use_backend("numba"):
        assert kernel("patches") is numba_cpu.patches
        assert kernel("cross_entropy") is reference.cross_entropy
    with backend.use_backend("numpy"):
        assert kernel("patches") is gemm.patches
        assert kernel("max_pool") is reference.max_pool


def test_use_kernels_steps_down_and_back_even_after_an_error():
    before = kernel("patches")
    with use_kernels("reference"):
        assert kernel("patches") is reference.patches
        assert kernel("conv2d") is reference.conv2d
    with use_kernels("gemm"):
        assert kernel("conv2d") is gemm.conv2d
        assert kernel("max_pool") is reference.max_pool
    with pytest.raises(KeyError), use_kernels("reference"):
        raise KeyError
    assert kernel("patches") is before


@pytest.mark.parametrize("rung", ["reference", "gemm", "numba_cpu"])
@pytest.mark.parametrize("name", ["cache", "array_module", "Pair", "window", "Products", "np"])
def test_what_a_module_imports_or_needs_itself_is_no_kernel(rung, name):
    with use_kernels(rung), pytest.raises(BackendError, match=f"no kernel '{name}'"):
        kernel(name)


def test_a_kernel_stands_on_its_rung_under_its_own_name():
    for rung in ("reference", "gemm", "numba_cpu", "cupy_gpu"):
        for name, f in kernels_of(rung).items():
            assert f.__name__ == name
            lent = rung == "cupy_gpu" and name.startswith(
                "hamilton_linear"
            )  # made by gemm.Products
            assert f.__module__.startswith(f"quatgrad.kernels.{'gemm' if lent else rung}"), name


def test_importing_quatgrad_loads_no_numba_and_no_cupy():
    late = "{'numba', 'cupy', 'quatgrad.kernels.numba_cpu', 'quatgrad.kernels.cupy_gpu'}"
    code = f"import sys, quatgrad; print({late} & {{*sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_unknown_names_are_errors_that_list_the_known():
    with pytest.raises(BackendError, match="no kernel 'conv3d'"):
        kernel("conv3d")
    with pytest.raises(BackendError, match=r"unknown rung 'cuda'.*reference"), use_kernels("cuda"):
        pass
    with pytest.raises(BackendError, match=r"unknown backend 'torch'.*numba"):
        backend.set_backend("torch")
