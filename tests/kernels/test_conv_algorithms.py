"""Each algorithm of the fast CPU rung's convolutions against `reference`, and which is selected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad.kernels import gemm, numba_cpu, reference
from quatgrad.kernels.numba_cpu.conv import dispatch, winograd
from quatgrad.kernels.numba_cpu.conv.algorithm import Algorithm, explain, select_algorithm

#: Algorithm -> largest error, beside the largest entry, in float32: as the docs state it.
WINOGRAD = {"winograd": 5e-5, "winograd2": 1e-5}
TILED = pytest.mark.parametrize("algorithm", WINOGRAD)
ROLES = ("conv2d", "conv2d_dx", "conv2d_dw")
SIDES = st.integers(1, 11)


def by(algorithm, role, args):
    """The kernel of this role by this algorithm, quaternions at Winograd's points by eight."""
    compute = {
        "conv2d": dispatch.convolve,
        "conv2d_dx": dispatch.convolve_dx,
        "conv2d_dw": dispatch.convolve_dw,
    }
    return compute[role](Algorithm(algorithm, algorithm in WINOGRAD), *args)


@st.composite
def geometries(draw, size=None):
    """N, H, W, P, Q, window, stride, padding; a window of the given size has stride 1."""
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    strides = st.tuples(st.integers(1, 3), st.integers(1, 3)) if size is None else st.just((1, 1))
    windows = st.tuples(st.integers(1, 5), st.integers(1, 5)) if size is None else st.just(size)
    u, v = draw(windows)
    H, W = draw(SIDES) + max(0, u - 1), draw(SIDES) + max(0, v - 1)
    P, Q = draw(st.integers(1, 19)), draw(st.integers(1, 19))
    return draw(st.integers(1, 4)), H, W, P, Q, (u, v), draw(strides), padding


def problem(seed, quaternion, geometry):
    """x, w, g in float32, and how the window moves."""
    N, H, W, P, Q, size, stride, padding = geometry
    rng, four = np.random.default_rng(seed), 4 if quaternion else 1
    I, J = reference.out_size((H, W), size, stride, padding)
    shapes = (N, H, W, four * P), (4,) * quaternion + (*size, P, Q), (N, I, J, four * Q)
    return *(rng.standard_normal(shape, np.float32) for shape in shapes), size, stride, padding


def arguments(role, x, w, g, size, stride, padding):
    """What the kernel of this role takes."""
    first = {"conv2d": (x, w), "conv2d_dx": (g, w, x.shape), "conv2d_dw": (x, g, w.shape)}[role]
    return *first, stride, padding


def compare(role, algorithm, args, bound, least=1.0):
    """The algorithm in float32 against the reference in float64, arguments left alone.

    The bound is on errors relative to the largest entry, or to `least` where that is larger:
    entries here are sums of numbers of size about 1, which may cancel.
    """
    before = [a.copy() for a in args[:2]]
    y = by(algorithm, role, args)
    for a, b in zip(args, before, strict=False):
        np.testing.assert_array_equal(a, b)
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    truth = getattr(reference, role)(*wide)
    assert (y.shape, y.dtype) == (truth.shape, np.float32)
    assert np.abs(y - truth).max() <= bound * max(least, np.abs(truth).max())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("quaternion", [False, True], ids=["real", "quaternion"])
@given(seed=st.integers(0, 2**32 - 1), geometry=geometries())
def test_direct_agrees_with_reference(role, quaternion, seed, geometry):
    args = arguments(role, *problem(seed, quaternion, geometry))
    compare(role, "direct", args, 5e-6)


@TILED
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("quaternion", [False, True], ids=["real", "quaternion"])
@given(seed=st.integers(0, 2**32 - 1), geometry=geometries(size=(3, 3)))
def test_winograd_agrees_with_reference(role, quaternion, algorithm, seed, geometry):
    args = arguments(role, *problem(seed, quaternion, geometry))
    compare(role, algorithm, args, WINOGRAD[algorithm])


@TILED
@pytest.mark.parametrize("quaternion", [False, True], ids=["real", "quaternion"])
def test_errors_on_a_layer_of_a_resnet(quaternion, algorithm):
    P = 64 if quaternion else 256
    x, w, g, *how = problem(0, quaternion, (16, 8, 8, P, P, (3, 3), (1, 1), (1, 1)))
    x = np.maximum(x, 0)  # as after a ReLU: all of one sign is the harder case
    for role in ROLES:
        args = arguments(role, x, w, g, *how)
        compare(role, algorithm, args, WINOGRAD[algorithm], least=0)


@pytest.mark.parametrize("part", [0, 1 << 30], ids=["by planes", "in parts"])
def test_both_ways_to_share_the_weight_gradient(part, monkeypatch):
    monkeypatch.setattr(winograd, "PART", part)
    monkeypatch.setattr(winograd, "CACHE", 1 << 12)  # several blocks
    for quaternion in (False, True):
        geometry = 3, 9, 13, 5, 18, (3, 3), (1, 1), (1, 1)
        args = arguments("conv2d_dw", *problem(1, quaternion, geometry))
        compare("conv2d_dw", "winograd", args, 5e-5)


@TILED
@pytest.mark.parametrize("role", ["conv2d", "conv2d_dx"])
@pytest.mark.parametrize("quaternion", [False, True], ids=["real", "quaternion"])
def test_a_large_weight_by_columns_gives_the_same_bits(role, quaternion, algorithm, monkeypatch):
    task = problem(3, quaternion, (2, 9, 13, 37, 3 * winograd.COLUMNS - 5, (3, 3), (1, 1), (1, 1)))
    args = arguments(role, *task)
    monkeypatch.setattr(winograd, "PART", 0)
    monkeypatch.setattr(winograd, "FEW", 0)
    whole = by(algorithm, role, args)
    monkeypatch.setattr(winograd, "FEW", 1 << 20)
    assert whole.tobytes() == by(algorithm, role, args).tobytes()
    compare(role, algorithm, args, WINOGRAD[algorithm])


@pytest.mark.parametrize("algorithm", ["direct", *WINOGRAD])
def test_bits_do_not_depend_on_the_number_of_threads(algorithm):
    import numba

    def results():
        for quaternion in (False, True):
            task = problem(2, quaternion, (9, 17, 15, 20, 24, (3, 3), (1, 1), (1, 1)))
            for role in ROLES:
                yield by(algorithm, role, arguments(role, *task))

    before = numba.get_num_threads()
    many = list(results())
    try:
        numba.set_num_threads(1)
        one = list(results())
    finally:
        numba.set_num_threads(before)
    for a, b in zip(many, one, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("algorithm", ["patches", "direct", *WINOGRAD])
@pytest.mark.parametrize("role", ROLES)
def test_no_images(role, algorithm):
    args = arguments(role, *problem(0, False, (0, 6, 6, 3, 2, (3, 3), (1, 1), (1, 1))))
    np.testing.assert_array_equal(by(algorithm, role, args), getattr(gemm, role)(*args))


def test_no_images_and_a_large_weight():
    args = arguments("conv2d_dw", *problem(0, False, (0, 8, 8, 128, 128, (3, 3), (1, 1), (1, 1))))
    assert not by("winograd", "conv2d_dw", args).any()


# ---------------------------------------------------------------------------- the selection


def test_float64_takes_the_plain_way():
    x, w, *_ = problem(0, False, (2, 8, 8, 16, 16, (3, 3), (1, 1), (1, 1)))
    args = x.astype(np.float64), w.astype(np.float64), (1, 1), (1, 1)
    np.testing.assert_array_equal(numba_cpu.conv2d(*args), gemm.conv2d(*args))


def test_which_algorithm_is_selected():
    same = (1, 1), (1, 1)
    assert set(explain((8, 8), (3, 3, 64, 64), *same).values()) == {"winograd"}
    assert set(explain((2, 2), (3, 3, 64, 64), *same).values()) == {"winograd2"}
    assert set(explain((8, 8), (3, 3, 64, 64), *same, np.float64).values()) == {"patches"}
    plain = explain((8, 8), (4, 3, 3, 64, 64), (2, 2), (1, 1), np.float64)
    assert set(plain.values()) == {"patches, expanded weight"}
    assert explain((32, 32), (3, 3, 64, 64), (2, 2), (1, 1))["y"] == "direct"
    assert explain((1, 1), (3, 3, 64, 64), *same)["y"] == "direct"  # a tile for one pixel
    wide = explain((8, 8), (1, 1, 256, 1024), (1, 1), (0, 0))
    assert wide == {"y": "patches", "dx": "patches", "dw": "direct"}
    wide = explain((4, 4), (4, 3, 3, 128, 128), *same)
    assert set(wide.values()) == {"winograd, eight products"}


def test_an_algorithm_is_looked_up_once():
    shapes = np.dtype(np.float32), (3, 3, 48, 56), (1, 1), (1, 1), (8, 8)
    assert select_algorithm(*shapes) is select_algorithm(*shapes)
