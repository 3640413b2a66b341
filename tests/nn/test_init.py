"""Initial weights, by sampling: variances as the docstrings state them, and no preferred axis."""

import numpy as np
import pytest

from quatgrad import generator
from quatgrad.errors import OptionError
from quatgrad.nn import init

P, Q = 200, 100  # fan_in and fan_out; with a 3x3 window, nine times as large


def draw(f, *shape):
    w = f(generator(0, "init"), shape)
    assert w.dtype == np.float32
    assert w.shape == shape
    return w.astype(float)


@pytest.mark.parametrize("window", [(), (3, 3)])
def test_real_variances(window):
    n = 9 if window else 1
    w = draw(init.xavier, *window, P, Q)
    assert w.var() == pytest.approx(2 / (n * (P + Q)), rel=0.05)
    assert np.abs(w).max() <= np.sqrt(6 / (n * (P + Q)))
    assert draw(init.he, *window, P, Q).var() == pytest.approx(2 / (n * P), rel=0.05)


@pytest.mark.parametrize("window", [(), (3, 3)])
def test_component_variances(window):
    n = 9 if window else 1
    w = draw(init.xavier_components, 4, *window, P, Q)
    for component in w:  # each with its own fans: the paper's accident
        assert component.var() == pytest.approx(2 / (n * (P + Q)), rel=0.05)
    w = draw(init.he_components, 4, *window, P, Q)
    for component in w:
        assert component.var() == pytest.approx(1 / (2 * n * P), rel=0.05)
    assert (w**2).sum(0).mean() == pytest.approx(2 / (n * P), rel=0.05)


ROWS, COLUMNS = 900, 600
LAWS = [
    (init.xavier, (), 2 / (ROWS + COLUMNS)),
    (init.he, (), 2 / ROWS),
    (init.fan_in_uniform, (), 1 / (3 * ROWS)),
    (init.xavier_components, (4,), 4 * 2 / (ROWS + COLUMNS)),  # E|w|^2: four components
    (init.he_components, (4,), 2 / ROWS),
    (init.polar_glorot, (4,), 2 / (ROWS + COLUMNS)),
    (init.polar_he, (4,), 2 / ROWS),
    (init.polar_predecessor, (4,), 1 / (2 * ROWS)),
    (init.orthogonal, (), 2 / ROWS),
    (init.orthogonal_quaternions, (4,), 2 / ROWS),
    (init.unit_normal, (), 1.0),
    (init.unit_quaternions, (4,), 1.0),
]


@pytest.mark.parametrize(("f", "lead", "power"), LAWS, ids=lambda v: getattr(v, "__name__", ""))
def test_measured_variances_are_within_one_percent_of_their_law(f, lead, power):
    w = draw(f, *lead, ROWS, COLUMNS)
    square = (w * w).sum(axis=0) if lead else w * w
    assert square.mean() == pytest.approx(power, rel=0.01)
    assert w.mean() == pytest.approx(0, abs=0.01 * power**0.5)
    if not f.__name__.startswith("polar"):  # those favour the real part: see below
        for component in w.reshape(-1, ROWS, COLUMNS):
            assert component.var() == pytest.approx(
                power / len(w.reshape(-1, ROWS, COLUMNS)), rel=0.01
            )


def test_every_initialiser_has_a_law():
    named = {f for by_name in init.INITIALISERS.values() for f in by_name.values()}
    assert named | {init.unit_quaternions} == {f for f, *_ in LAWS}


@pytest.mark.parametrize("window", [(), (3, 3)])
@pytest.mark.parametrize(("f", "power"), [(init.polar_glorot, 2 / (P + Q)), (init.polar_he, 2 / P)])
def test_polar_modulus_phase_and_axis(f, power, window):
    n = 9 if window else 1
    w = draw(f, 4, *window, P, Q).reshape(4, -1)
    assert (w**2).sum(0).mean() == pytest.approx(power / n, rel=0.03)
    real, *imaginary = w.var(axis=1)
    assert real == pytest.approx(power / n / 2, rel=0.05)
    for var in imaginary:
        assert real == pytest.approx(3 * var, rel=0.05)
    # on the unit sphere E x = 0, E x^2 = 1/3, E x^4 = 1/5, E x^2 y^2 = 1/15 whatever the axis;
    # an axis drawn from a cube gives E x^4 = 0.19
    axis = w[1:] / np.sqrt((w[1:] ** 2).sum(0))
    np.testing.assert_allclose(axis.mean(1), 0, atol=0.015)
    np.testing.assert_allclose((axis**2).mean(1), 1 / 3, atol=0.007)
    np.testing.assert_allclose((axis**4).mean(1), 0.2, atol=0.006)
    np.testing.assert_allclose((axis[:2] ** 2).prod(0).mean(), 1 / 15, atol=0.003)
    diagonal = axis.sum(0) / np.sqrt(3)
    np.testing.assert_allclose((diagonal**4).mean(), 0.2, atol=0.006)


def test_the_predecessors_quaternions_count_one_side_of_a_window_and_take_their_axis_from_a_cube():
    """|w| is chi(4) / sqrt(8 U P); E x^4 of an axis is 0.180 from a cube, 0.2 from a sphere."""
    w = draw(init.polar_predecessor, 4, 3, 5, P, Q).reshape(4, -1)
    power = 1 / (2 * 3 * P)
    assert (w**2).sum(0).mean() == pytest.approx(power, rel=0.02)
    assert ((w**2).sum(0) ** 2).mean() == pytest.approx(1.5 * power**2, rel=0.02)  # of chi(4)
    np.testing.assert_allclose((w**2).mean(1), np.array([3, 1, 1, 1]) * power / 6, rtol=0.03)
    axis = w[1:] / np.sqrt((w[1:] ** 2).sum(0))
    np.testing.assert_allclose(axis.mean(1), 0, atol=0.005)
    np.testing.assert_allclose((axis**4).mean(1), 0.180, atol=0.003)


@pytest.mark.parametrize("shape", [(300, 100), (3, 5, 20, 40)])
def test_fan_in_uniform_is_that_of_pytorch(shape):
    b = 1 / np.sqrt(np.prod(shape[:-1]))
    for f, size in ((init.fan_in_uniform, shape), (init.fan_in_uniform_bias, shape[-1:])):
        w = f(generator(0, "init"), shape)
        assert w.shape == size
        assert w.dtype == np.float32
        assert 0.8 * b < np.abs(w).max() <= np.float32(b)


def test_he_keeps_the_scale_of_quaternion_maps_through_relu():
    from quatgrad import Tensor, ops

    h = Tensor(np.random.default_rng(0).standard_normal((200, 256), dtype=np.float32))
    for layer in range(4):
        w = Tensor(init.he_components(generator(layer), (4, 64, 64)))
        h = ops.relu(ops.hamilton_linear(h, w))
    assert (h.data**2).mean() == pytest.approx(1, rel=0.25)  # of x itself: E x^2 = 1


def test_names():
    assert init.initialiser("real", "he") is init.he
    assert init.initialiser("quaternion", "polar-he") is init.polar_he
    assert init.initialiser("real", "polar-he") is init.he  # the real twin has the same power
    with pytest.raises(OptionError, match=r"of real weights 'polar': .* xavier, he"):
        init.initialiser("real", "polar")


def test_fans_count_the_window():
    assert init.fans((3, 5, 7, 11)) == (3 * 5 * 7, 3 * 5 * 11)
