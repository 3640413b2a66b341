"""The eight products by themselves: the ladder's small shapes all take sixteen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad.kernels import gemm, reference
from quatgrad.kernels.numba_cpu.conv import dispatch, eight_products
from tests.kernels.test_ladder import ARGUMENTS, Draw, _conv, widen

CONVOLUTIONS = {
    "conv2d": lambda d: _conv(d, "x", "w", quaternion=True),
    "conv2d_dx": lambda d: _conv(d, "g", "w", "shape", quaternion=True),
    "conv2d_dw": lambda d: _conv(d, "x", "g", "weight", quaternion=True),
}
KERNELS = [*(n for n in ARGUMENTS if n.startswith("hamilton_linear")), *CONVOLUTIONS]


#: Of a convolution of quaternions, the real one that it is made of.
REAL = {"conv2d": "conv2d_to", "conv2d_dx": "conv2d_dx_to", "conv2d_dw": "conv2d_dw"}


def by_eight(name, args):
    """The kernel by eight products; a convolution is made of the rung's real ones."""
    real = (getattr(dispatch, REAL[name]),) if "conv" in name else ()
    return getattr(eight_products, name)(*args, *real)


@pytest.fixture(scope="module", autouse=True)
def _always():
    """Eight products for every shape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eight_products, "MIN_SAVINGS", 0)
        patch.setattr(eight_products, "ROW_QUATERNIONS", 0)
        yield


@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_agrees_with_reference_norm_wise(name, data):
    """|error| <= 16 eps |terms|: the largest sum of products of absolute values, all components.

    The sums cancel across components, so an error is small beside the largest of them only.
    """
    args = {**ARGUMENTS, **CONVOLUTIONS}[name](Draw(data.draw, np.float32))
    before = [a.copy() for a in args[:2] if isinstance(a, np.ndarray)]
    y = by_eight(name, args)
    for a, b in zip(args, before, strict=False):
        np.testing.assert_array_equal(a, b)
    truth = getattr(reference, name)(*widen(tuple(args)))
    assert (y.shape, y.dtype) == (truth.shape, np.float32)
    terms = np.prod([float(abs(a).max()) for a in before]) * _terms(name, args)
    np.testing.assert_allclose(y, truth, rtol=0, atol=16 * np.finfo(np.float32).eps * terms)


def _terms(name, args):
    """How many products are summed for one number, at most."""
    a, b = args[:2]
    if name.endswith("dw"):
        return a.size // a.shape[-1] * 4
    return b.size // (b.shape[-2] if name.endswith("dx") else b.shape[-1])


@pytest.mark.parametrize("name", KERNELS)
def test_no_images(name):
    make = {"x": np.ones((0, 8), "f"), "g": np.ones((0, 8), "f"), "w": np.ones((4, 2, 2), "f")}
    if "conv" in name:
        maps, w = np.ones((0, 3, 3, 8), "f"), np.ones((4, 1, 1, 2, 2), "f")
        how = ((1, 1), (0, 0))
        args = {
            "conv2d": (maps, w, *how),
            "conv2d_dx": (maps, w, maps.shape, *how),
            "conv2d_dw": (maps, maps, w.shape, *how),
        }[name]
    else:
        args = [make[n] for n in {"r": "xw", "x": "gw", "w": "xg"}[name[-1]]]
    y, r = by_eight(name, args), getattr(gemm, name)(*args)
    assert (y.shape, y.dtype) == (r.shape, r.dtype)
    np.testing.assert_array_equal(y, r)


@pytest.mark.parametrize(
    ("N", "P", "Q"), [(40, 100, 9), (300, 150, 20), (600, 20, 540), (700, 130, 33), (700, 20, 17)]
)
def test_blocks_of_rows_and_of_weights(N, P, Q):
    """Blocks that are not full, and panels that serve for several."""
    rng = np.random.default_rng(0)
    x, g, w = (rng.standard_normal(s, np.float32) for s in ((N, 4 * P), (N, 4 * Q), (4, P, Q)))
    for name, args in (("", (x, w)), ("_dx", (g, w)), ("_dw", (x, g))):
        y = by_eight(f"hamilton_linear{name}", args)
        truth = getattr(reference, f"hamilton_linear{name}")(*widen(tuple(args)))
        np.testing.assert_allclose(y, truth, rtol=0, atol=2e-6 * abs(truth).max())


def test_bits_do_not_depend_on_the_number_of_threads():
    import numba
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 16, 16, 256), np.float32)
    w = rng.standard_normal((4, 3, 3, 64, 64), np.float32)
    rows, wide, how = (
        x.reshape(-1, 256),
        rng.standard_normal((4, 64, 40), np.float32),
        ((1, 1), (1, 1)),
    )

    def results():
        yield eight_products.hamilton_linear(rows, wide)
        yield eight_products.hamilton_linear_dx(rows[:, :160], wide)
        yield eight_products.hamilton_linear_dw(rows, rows[:, :160])
        yield by_eight("conv2d", (x, w, *how))
        yield by_eight("conv2d_dx", (x, w, x.shape, *how))
        yield by_eight("conv2d_dw", (x, x, w.shape, *how))

    many = list(results())
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        with threadpool_limits(1):
            one = list(results())
    finally:
        numba.set_num_threads(before)
    for a, b in zip(many, one, strict=True):
        assert a.tobytes() == b.tobytes()
