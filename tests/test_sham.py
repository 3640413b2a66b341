"""Sham algebras: the same sharing of weights as quaternions, by other tables."""

import numpy as np
import pytest

from quatgrad import Tensor, models, nn, ops, sham, use_backend, use_kernels
from quatgrad.costs import costs
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.reference import HAMILTON
from quatgrad.nn.init import he_components
from quatgrad.ops.table_weight import table_conv2d, table_linear, table_weight
from quatgrad.optim import SGD
from quatgrad.testing import check_gradients

NAMES = pytest.mark.parametrize("name", sham.SHAMS)


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0):
    return Tensor(rng(seed).standard_normal(shape, dtype=np.float32))


def layer(name, kind="conv", seed=0):
    options = {"rng": rng(seed), "init": he_components, "algebra": name}
    if kind == "conv":
        return sham.ShamConv2d(8, 12, 3, 2, 1, **options), normal(2, 5, 6, 8)
    return sham.ShamLinear(8, 12, **options), normal(3, 8)


@pytest.mark.parametrize("rung", ["reference", "numpy", "numba"])
def test_with_hamiltons_table_it_is_the_quaternion_layer(rung):
    t = Tensor(HAMILTON.astype(np.float32))
    with use_kernels(rung) if rung == "reference" else use_backend(rung):
        x, w, b = normal(3, 8), normal(4, 2, 3, seed=1), normal(12, seed=2)
        expected = ops.hamilton_linear(x, w, b).data
        np.testing.assert_allclose(table_linear(x, w, t, b).data, expected, atol=1e-5)
        x, w = normal(2, 5, 6, 8), normal(4, 3, 3, 2, 3, seed=1)
        expected = ops.hamilton_conv2d(x, w, b, 2, 1).data
        np.testing.assert_allclose(table_conv2d(x, w, t, b, 2, 1).data, expected, atol=1e-5)


def test_tables_are_what_they_say():
    drawn = {name: make(rng()).reshape(4, 4, 4) for name, make in sham.SHAMS.items()}
    np.testing.assert_array_equal(drawn["plus"], np.abs(HAMILTON))
    np.testing.assert_array_equal(np.abs(drawn["randomsigns"]), np.abs(HAMILTON))
    assert not np.array_equal(drawn["randomsigns"], HAMILTON)
    A, B = rng(1).standard_normal((2, 2, 2))
    product = np.einsum("abc,a,b->c", drawn["matrices"], A.ravel(), B.ravel())
    np.testing.assert_allclose(product, (A @ B).ravel())
    np.testing.assert_allclose(
        np.einsum("abc,a,b->c", drawn["grouped"], A.ravel(), B.ravel()), (A * B).ravel()
    )
    assert drawn["phm"].std() == pytest.approx(0.5, rel=0.3)


@NAMES
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_shapes_and_weights_are_those_of_the_quaternion_layer(name, kind):
    made, x = layer(name, kind)
    twin = (nn.QConv2d(8, 12, 3, 2, 1, rng=rng()) if kind == "conv"
            else nn.QLinear(8, 12, rng=rng()))  # fmt: skip
    assert made(x).shape == twin(x).shape
    assert made.weight.shape == twin.weight.shape
    assert made.weight.components == 4
    assert [n for n, _ in made.weight_parameters()] == ["weight"]


@NAMES
def test_each_output_has_the_variance_of_the_quaternion_layers(name):
    made = sham.ShamLinear(256, 1024, rng=rng(), init=he_components, algebra=name)
    y = made(normal(64, 256)).data
    assert np.var(y) == pytest.approx(2, rel=0.5 if name == "phm" else 0.1)


def test_groups_do_not_meet_in_a_layer_and_all_meet_in_two():
    options = {"rng": rng(), "init": he_components, "algebra": "grouped"}
    first = sham.ShamLinear(16, 16, **options)
    second = sham.ShamLinear(16, 16, **options)
    x = Tensor(np.repeat(np.float32([[1, 0, 0, 0]]), 4, axis=1))  # of one block
    once = first(x)
    assert set(np.flatnonzero(once.data)) == {4 * q for q in range(4)}  # shuffled: (q, c)
    assert np.count_nonzero(second(once).data) == 16


def test_a_grouped_layer_is_a_convolution_in_groups_with_its_channels_shuffled():
    made, x = layer("grouped")
    w = made.weight.data * 1.0  # (4, U, V, P, Q)
    real = np.moveaxis(w, 0, -2).reshape(3, 3, 2, 12)  # block c of the outputs has w[c]
    y = ops.conv2d(x, Tensor(real), None, 2, 1, 1, 4).data
    shuffled = y.reshape(2, 3, 3, 4, 3).swapaxes(-1, -2).reshape(2, 3, 3, 12)
    np.testing.assert_allclose(made(x).data, shuffled, atol=1e-5)


@NAMES
def test_gradients_of_the_layer(name):
    made, x = layer(name)

    def f(x, w):
        t = Tensor(made.t.data.astype(x.dtype))
        y = table_conv2d(x, w, t, None, *made.window.options)
        return made.mixed(y)

    inputs = (a.data.astype(np.float64) for a in (x, made.weight))
    check_gradients(f, *inputs, name=name)


@NAMES
@pytest.mark.parametrize("model", ["resnet8", "lenet-300-100", "conv-2"])
def test_networks_of_it_learn_and_have_the_quaternion_networks_weights(name, model):
    shape = {"num_classes": 8, "image_size": (8, 8), "width": 24 if "lenet" in model else 8}
    net = models.create(model, name, **shape)
    twin = models.create(model, "quaternion", **shape)
    assert {n: w.shape for n, w in net.weight_parameters()} == {
        n: w.shape for n, w in twin.weight_parameters()
    }
    x, labels = normal(16, 8, 8, 4), np.arange(16) % 8
    optimizer, losses = SGD(net.parameters(), 0.9), []
    for _ in range(12):
        loss = ops.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(0.02)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    c, q = (costs(n, (8, 8, 4)) for n in (net, twin))
    assert c.weights == q.weights
    share = {"grouped": 4, "matrices": 2}.get(name, 1)
    assert c.multiply_adds == pytest.approx(q.multiply_adds / share, rel=1e-9)


def test_the_learned_table_is_learned_and_no_weight():
    net = models.create("lenet-12", "phm", 8, image_size=(2, 2))
    ops.cross_entropy(net(normal(4, 2, 2, 4)), np.arange(4)).backward()
    tables = [p for n, p in net.named_parameters() if n.endswith("table")]
    assert len(tables) == 2
    assert all(np.abs(p.grad).max() > 0 for p in tables)
    fixed = models.create("lenet-12", "plus", 8, image_size=(2, 2))
    assert not [n for n, _ in fixed.named_parameters() if n.endswith("table")]
    assert [n for n in fixed.state_dict() if n.endswith("table")]


def test_what_cannot_be():
    with pytest.raises(OptionError, match="sham algebra 'octonion'"):
        sham.ShamLinear(4, 4, rng=rng(), init=he_components, algebra="octonion")
    with pytest.raises(OptionError, match="algebra 'octonion'"):
        models.create("resnet8", "octonion")
    with pytest.raises(ShapeError, match="table"):
        table_weight(normal(4, 2, 2), normal(4, 4))
    with pytest.raises(ShapeError, match="table"):
        table_weight(normal(3, 2, 2), normal(4, 4, 4))
