"""Sums of float32 over many rows: right to 5 digits, whoever adds them; short ones to NumPy's bit.

Each test adds numbers that float32 cannot add one by one: a million times 0.1 is off by a percent,
and 2^25 ones are 2^24.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Tensor, nn, ops, use_backend
from quatgrad.kernels import numba_cpu, reference
from quatgrad.kernels.reference.sums import MOST
from quatgrad.kernels.registry import kernel, use_kernels
from quatgrad.quaternion import Quaternion

BACKENDS = ("numpy", "numba")
ROWS = 1 << 20
TENTH = np.float64(np.float32(0.1))  # what a float32 of 0.1 is


@pytest.fixture(params=BACKENDS)
def backend(request):
    with use_backend(request.param):
        yield request.param


def tenths(*shape):
    return np.full(shape, 0.1, np.float32)


def wants(x):
    return Tensor(x, requires_grad=True)


def close(got, true, digits=1e-5):
    got = np.asarray(getattr(got, "data", got))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.broadcast_to(true, got.shape), rtol=digits)


# ------------------------------------------------------------------------------ the kernel


LAYOUTS = {
    "contiguous": lambda x: x,
    "reversed axes": lambda x: x.T.copy().T,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "backwards": lambda x: x[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
def test_short_sums_have_numpys_bits(layout, data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axes = data.draw(st.none() | st.sets(st.integers(-len(shape), -1)).map(tuple))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = LAYOUTS[layout](rng.standard_normal(shape).astype(np.float32))
    keepdims = data.draw(st.booleans())
    how = {"axis": axes, "keepdims": keepdims}
    assert reference.sum_over(x, axes, keepdims).tobytes() == x.sum(**how).tobytes()
    x = Tensor(x)
    for name in ("sum", "mean", "var"):
        y, known = getattr(ops, name)(x, **how).data, np.asarray(getattr(x.data, name)(**how))
        assert (y.shape, y.tobytes()) == (known.shape, known.tobytes())


@pytest.mark.parametrize("rows", [MOST - 1, MOST])
def test_the_bits_are_numpys_as_far_as_it_says(rows):
    x = np.random.default_rng(0).random((rows, 3), dtype=np.float32)
    assert reference.sum_over(x, 0).tobytes() == x.sum(axis=0).tobytes()


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((768, 128), 0),
        ((12, 64, 130), (0, 1)),
        ((12, 64, 130), (-2, 0)),
        ((MOST, 17), 0),
        ((40, 5, 3, 70), 0),
        ((40, 5, 3, 70), (0, 1, 2)),
        ((MOST, 5, 1), 0),
        ((2, 50000), 0),
        ((MOST, 5, 1), (0, 1)),
        ((1, 40000), ()),
        ((64, 8, 8, 64), (1, 2)),
        ((3, 150, 7, 20), (2, 1)),
        ((3, 150, 100), -2),
        ((200, 300), 1),
        ((200, 300), None),
    ],
)
def test_compiled_sums_have_the_same_bits(shape, axis):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x.reshape(-1)[-1] = np.inf
    x[..., 0] = -0.0
    for keepdims in (False, True):
        known, y = reference.sum_over(x, axis, keepdims), numba_cpu.sum_over(x, axis, keepdims)
        assert (np.shape(y), y.tobytes()) == (np.shape(known), known.tobytes())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((ROWS, 2), 0), ((2, ROWS), 1), ((2, ROWS), -1), ((3, ROWS // 3, 2), 1), ((ROWS,), None),
     ((100, 101, 102), None), ((100, 101, 102), (0, 1)), ((100, 101, 102), (-1, 0)),
     ((MOST + 1, 2), 0), ((2, 3, 257, 257), (2, 3)), ((97, 3, 97, 97), (0, 2, 3))],
)  # fmt: skip
def test_long_sums_over_any_axes_of_any_layout(shape, axis, layout):
    x = LAYOUTS[layout]((100 + np.random.default_rng(0).random(shape)).astype(np.float32))
    for keepdims in (False, True):
        y, true = (f(x, axis, keepdims) for f in (reference.sum_over, _float64))
        assert y.shape == true.shape
        close(y, true)


def _float64(x, axis, keepdims):
    return x.sum(axis=axis, keepdims=keepdims, dtype=np.float64)


def test_axes_that_there_are_not_raise():
    for x in (tenths(3), tenths(ROWS)):
        for axis in (1, -2, (0, 0)):
            with pytest.raises(ValueError, match=r"axis|duplicate"):
                reference.sum_over(x, axis)
    for axis in (2, -3, (0, 0), (0, 2)):
        with pytest.raises(ValueError, match=r"axis|duplicate"):
            numba_cpu.sum_over(tenths(400, 100), axis)
    assert numba_cpu.sum_over(tenths(), -1) == np.float32(0.1)  # as NumPy


def test_what_is_not_finite_stays():
    x = np.ones((ROWS, 3), np.float32)
    x[5, 0], x[5, 1], x[7, 1] = np.inf, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        y = reference.sum_over(x, 0)
    np.testing.assert_array_equal(y, np.float32([np.inf, np.nan, ROWS]))


# ------------------------------------------------------------------- operations and layers


def test_reductions(backend):
    x = Tensor(tenths(ROWS, 3))
    close(x.sum(axis=0), ROWS * TENTH)
    close(x.mean(axis=0), TENTH)
    close(ops.logsumexp(x, axis=0), TENTH + np.log(ROWS))
    close(ops.softmax(x, axis=0).data[:3], 1 / ROWS)
    y = x.data.copy()
    y[::2] += 1
    close(Tensor(y).var(axis=0), 0.25)
    x = wants(tenths(ROWS, 3))
    x.max(axis=0).sum().backward()
    close(x.grad[:3], 1 / ROWS)


BROADCASTING = {
    "add": lambda x, b: x + b,
    "sub": lambda x, b: x - b,
    "mul": lambda x, b: x * b,
    "div": lambda x, b: b / x,
    "where": lambda x, b: ops.where(x.data > 0, b, x),
    "broadcast_to": lambda x, b: ops.broadcast_to(b, x.shape),
}


@pytest.mark.parametrize("name", BROADCASTING)
def test_what_was_broadcast(name, backend):
    f = BROADCASTING[name]
    b, exact = wants(tenths(2)), Tensor(tenths(512, 512, 2).astype(np.float64))
    wide = wants(b.data.astype(np.float64))
    (f(Tensor(tenths(512, 512, 2)), b) * Tensor(tenths(512, 512, 2))).sum().backward()
    (f(exact, wide) * exact).sum().backward()
    close(b.grad, wide.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "make", [nn.BatchNorm2d, nn.QVarianceNorm2d, nn.QBatchNorm2d], ids=lambda f: f.__name__
)
def test_norms(make, training, backend):
    """Running statistics, and gradients of scale and shift: those of the layer in float64."""

    def results(dtype):
        rng, norm = np.random.default_rng(0), make(4).train(training)
        for name, t in norm.named_state():
            setattr(norm, name, type(t)(t.data.astype(dtype)))
        x = 100 + rng.random((512, 512, 4))
        g = x - 99
        (norm(Tensor(x.astype(dtype))) * Tensor(g.astype(dtype))).sum().backward()
        return [a for _, t in norm.named_state() for a in (t.data, t.grad) if a is not None]

    for got, true in zip(results(np.float32), results(np.float64), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, true, atol=2e-4 * abs(true).max())


def test_losses(backend):
    z = tenths(4, ROWS)
    z[:, 0] = 5
    labels = np.zeros(ROWS, np.int64)
    one = float(ops.cross_entropy(Tensor(z[:, :1].T), labels[:1], 0.1).item())
    rows = z[:, :1].repeat(ROWS, axis=1)
    close(ops.cross_entropy(Tensor(rows).T, labels, 0.1), one)
    close(ops.mse_loss(Tensor(tenths(ROWS)), Tensor(0.0 * tenths(ROWS))), TENTH**2)


def test_an_entry_that_is_taken_often(backend):
    x = wants(tenths(3, 2))
    (x[np.zeros(ROWS, int)] * Tensor(tenths(ROWS, 2))).sum().backward()
    close(x.grad, ROWS * TENTH * np.float32([[1, 1], [0, 0], [0, 0]]))


def test_the_bias_of_modrelu(backend):
    x, b = tenths(ROWS, 4), wants(tenths(1))
    (ops.modrelu(Tensor(x), b) * Tensor(x)).sum().backward()
    close(b.grad, ROWS * 2 * TENTH)


def test_quaternions(backend):
    q = Quaternion(tenths(ROWS, 4))
    close(q.mean().components, TENTH)
    close(q.sum(axis=0).components, TENTH * ROWS)


@pytest.mark.parametrize("rung", ["reference", "gemm", "numba_cpu"])
def test_the_gradient_of_a_linear_layer(rung):
    with use_backend("numba"), use_kernels(rung):
        close(kernel("matmul")(tenths(ROWS, 2).T, tenths(ROWS, 3)), ROWS * TENTH**2, 1e-4)
        close(kernel("matmul")(tenths(2, ROWS), tenths(ROWS, 3)), ROWS * TENTH**2, 1e-4)
        for P in (1, 24) if rung == "numba_cpu" else (1,):  # and enough for eight products
            x = np.zeros((1 << 18, 4 * P), np.float32)
            x[:, :P] = 0.1  # real
            dw = kernel("hamilton_linear_dw")(x, x)
            close(dw[0], len(x) * TENTH**2, 1e-4)
            assert not dw[1:].any()


#: Images, height, width, P and Q, window, stride, padding; the last are quaternions'.
MAPS = [
    (64, 64, 64, 1, 3, 1, 1),
    (1, 512, 700, 1, 3, 2, 1),
    (1, 1, ROWS, 1, 1, 1, 0),
    (2, 200, 1000, 2, 1, 3, 2),
    (1, 512, 512, 16, 3, 1, 1),
]


@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("maps", MAPS, ids=str)
@pytest.mark.parametrize("rung", ["gemm", "numba_cpu"])
def test_the_gradient_of_a_convolution(rung, maps, components):
    N, H, W, P, size, stride, padding = maps
    window = (size, size), (stride, stride), (padding, padding)
    x = np.zeros((N, H, W, components * P), np.float32)
    g = np.zeros((N, *reference.out_size((H, W), *window), components * P), np.float32)
    x[..., :P], g[..., :P] = 0.1, 0.1  # real
    shape = (4, size, size, P, P) if components == 4 else (size, size, P, P)
    met = [
        [sum(0 <= i * stride + u - padding < n for i in range(m)) for u in range(size)]
        for n, m in zip((H, W), g.shape[1:3], strict=True)
    ]
    with use_backend("numba"), use_kernels(rung):
        dw = kernel("conv2d_dw")(x, g, shape, *window[1:])
    if components == 4:
        assert abs(dw[1:]).max() < 1e-5 * dw[0].max()
        dw = dw[0]
    close(dw, (N * np.multiply.outer(*met) * TENTH**2)[..., None, None], 1e-3)


@pytest.mark.parametrize("rung", ["reference", "gemm", "numba_cpu"])
def test_the_mean_of_a_large_window(rung):
    x = tenths(1, 1000, 1100, 1)
    with use_backend("numba"), use_kernels(rung):
        close(kernel("avg_pool")(x, (1000, 1050), (1, 25), (0, 0)), TENTH)


# -------------------------------------------------------------------------------- counters


@pytest.mark.parametrize("draws", [0, 2**24 - 1, 2**24, 2**24 + 2, 2**31])
def test_dropout_never_draws_the_same_again(draws):
    layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    layer.draws.data = draws
    x, seen = Tensor(np.ones(64, np.float32)), set()
    for _ in range(5):
        seen.add(layer(x).data.tobytes())
    assert len(seen) == 5
    if draws == 0:
        assert layer.draws.item() == 5
