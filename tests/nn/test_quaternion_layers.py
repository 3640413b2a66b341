"""Layers that see whole quaternions: modReLU, pooling by length, dropout (identity 48)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Tensor, generator, nn, ops, quaternion
from quatgrad.errors import OptionError, ShapeError

SEEDS = st.integers(0, 2**32)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def turned(x, u):
    """Every quaternion of a map times u, from the left."""
    return quaternion.from_quaternions(quaternion.multiply(u, quaternion.as_quaternions(x)))


LAYERS = {
    "pool": lambda x: ops.quaternion_max_pool2d(x, 3, 2, 1),
    "modrelu": lambda x: ops.modrelu(x, Tensor(np.array([-1.0, 0.5]))),
    "dropout": lambda x: ops.dropout(x, 0.5, generator(0), components=4),
}


@pytest.mark.parametrize("layer", LAYERS)
@given(seed=SEEDS)
def test_they_commute_with_unit_quaternions(layer, seed):
    x, (u,) = normal(seed, 2, 5, 4, 8), quaternion.random_unit((1,), seed, np.float64)
    f = LAYERS[layer]
    y = turned(f(Tensor(x)).data, u)
    np.testing.assert_allclose(f(Tensor(turned(x, u))).data, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("unit", [*np.eye(4), -np.eye(4)[2]])
def test_with_the_units_of_the_algebra_they_commute_exactly(layer, unit):
    x = np.random.default_rng(0).integers(-3, 4, (2, 5, 4, 8)).astype(float)  # many equal lengths
    f = LAYERS[layer]
    np.testing.assert_array_equal(f(Tensor(turned(x, unit))).data, turned(f(Tensor(x)).data, unit))


# ----------------------------------------------------------------------------------- pooling


@given(seed=SEEDS)
def test_pooled_quaternions_are_among_those_that_came_and_the_longest(seed):
    x = normal(seed, 1, 4, 4, 8)
    y = nn.QMaxPool2d(2)(Tensor(x)).data
    for i, j in np.ndindex(2, 2):
        window = x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(4, 4, 2)
        for q in range(2):
            longest = np.linalg.norm(window[..., q], axis=1).argmax()
            np.testing.assert_array_equal(y[0, i, j].reshape(4, 2)[:, q], window[longest, :, q])


def test_of_equal_lengths_the_first_wins_and_gets_the_gradient():
    x = Tensor(np.eye(4)[None, None], requires_grad=True)  # 1, i, j, k in a row
    y = ops.quaternion_max_pool2d(x, (1, 4))
    y.backward(np.ones((1, 1, 1, 4)))
    np.testing.assert_array_equal(y.data.ravel(), [1, 0, 0, 0])
    np.testing.assert_array_equal(x.grad[0, 0], [[1] * 4, [0] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_lengths_whose_squares_leave_float32_are_still_compared(size):
    x = np.zeros((1, 1, 3, 4), np.float32)
    x[0, 0, :, 1] = np.array([1, 3, 2]) * size
    assert nn.QMaxPool2d((1, 3))(Tensor(x)).data[0, 0, 0, 1] == x[0, 0, 1, 1]
    y = ops.modrelu(Tensor(x), Tensor([0.0]))
    np.testing.assert_array_equal(y.data, x)


def test_pooling_errors():
    with pytest.raises(ShapeError, match="multiple of 4"):
        nn.QMaxPool2d(2)(Tensor(np.ones((1, 4, 4, 6), np.float32)))
    with pytest.raises(ShapeError, match=r"QuaternionMaxPool: a window .* does not fit"):
        nn.QMaxPool2d(5)(Tensor(np.ones((1, 4, 4, 4), np.float32)))


# ----------------------------------------------------------------------------------- modReLU


def test_modrelu_at_zero_is_zero_and_so_are_its_gradients():
    for b in (-1.0, 0.0, 1.0):
        x, bias = (Tensor(np.full(n, v), requires_grad=True) for n, v in ((4, 0.0), (1, b)))
        y = ops.modrelu(x, bias)
        y.sum().backward()
        for a in (y.data, x.grad, bias.grad):
            np.testing.assert_array_equal(a, 0)


def test_modrelu_layer():
    layer = nn.ModReLU(8)
    x = Tensor(normal(0, 3, 8).astype(np.float32))
    np.testing.assert_allclose(layer(x).data, x.data, rtol=1e-6)  # b = 0: as it was
    layer.bias.data = [-100, 1]
    y = layer(x).data.reshape(3, 4, 2)
    np.testing.assert_array_equal(y[..., 0], 0)
    lengths = np.linalg.norm(x.data.reshape(3, 4, 2)[..., 1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(y[..., 1], axis=1), lengths + 1, rtol=1e-5)
    assert repr(layer) == "ModReLU(8)"
    with pytest.raises(ShapeError, match=r"got x of shape \(3, 4\) and b of shape \(2,\)"):
        layer(Tensor(np.ones((3, 4), np.float32)))
    with pytest.raises(ShapeError, match=r"ModReLU: .* got 6"):
        nn.ModReLU(6)


# ----------------------------------------------------------------------------------- dropout


def test_quaternion_dropout_drops_whole_quaternions():
    layer = nn.QDropout(0.25, rng=generator(0, "dropout"))
    x = Tensor(np.ones((500, 400), np.float32), requires_grad=True)
    y = layer(x)
    q = y.data.reshape(500, 4, 100)
    np.testing.assert_allclose(np.unique(q), [0, 1 / 0.75], rtol=1e-6)
    assert (q == q[:, :1]).all()
    assert (q[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.01)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)
    assert layer.eval()(x) is x
    with pytest.raises(ShapeError, match=r"4 component blocks .* \(2, 6\)"):
        layer.train()(Tensor(np.ones((2, 6), np.float32)))
    with pytest.raises(OptionError, match="0 <= p < 1"):
        nn.QDropout(1.0, rng=generator(0))(x)
