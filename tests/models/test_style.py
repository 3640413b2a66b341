"""What may differ between networks of one plan: real parts, norms, activations, dropout, starts."""

import numpy as np
import pytest

from quatgrad import Tensor, models, nn, ops
from quatgrad.errors import OptionError
from quatgrad.kernels import reference
from quatgrad.nn import init

SHAPE = {"num_classes": 8, "image_size": (8, 8)}


def layers(net, kind):
    return {n: m for n, m in net.named_modules() if type(m) is kind}


def images(n=8):
    return Tensor(np.random.default_rng(0).standard_normal((n, 8, 8, 4), dtype=np.float32))


@pytest.mark.parametrize(("model", "parts", "real"), [
    ("resnet8", "stem", {"stem"}),
    ("resnet8", "stem,shortcuts", {"stem", "stages.1.0.shortcut.0", "stages.2.0.shortcut.0"}),
    ("resnet8", "stage1", {"stages.0.0.conv1", "stages.0.0.conv2"}),
    ("resnet18", "stage4", {f"stages.3.{b}.conv{c}" for b in (0, 1) for c in (1, 2)}
     | {"stages.3.0.shortcut.0"}),
    ("conv-4", "stem,block2", {"0", "5", "7"}),
])  # fmt: skip
def test_parts_that_are_real(model, parts, real):
    net = models.create(model, "quaternion", real_parts=parts, **SHAPE, width=8)
    assert set(layers(net, nn.Conv2d)) == real
    assert layers(net, nn.QConv2d)
    assert net(images()).shape == (8, 8)
    twin = models.create(model, "real", real_parts=parts, **SHAPE, width=8)
    assert not layers(twin, nn.QConv2d)


def test_a_lenet_with_a_real_first_layer():
    net = models.create("lenet-300-100", "quaternion", real_parts="layer1", **SHAPE, width=24)
    assert list(layers(net, nn.Linear)) == ["1"]
    assert len(layers(net, nn.QLinear)) == 2


@pytest.mark.parametrize(("model", "parts"), [
    ("resnet8", "stage4"), ("resnet8", "stem,head"), ("lenet-12", "layer2"), ("conv-2", "block2"),
])  # fmt: skip
def test_parts_that_are_not_there(model, parts):
    with pytest.raises(OptionError, match="part of this network"):
        models.create(model, "quaternion", real_parts=parts, **SHAPE, width=8)


@pytest.mark.parametrize(("name", "kind"), [
    ("batch", nn.BatchNorm2d), ("variance", nn.QVarianceNorm2d), ("whitening", nn.QBatchNorm2d),
])  # fmt: skip
def test_norms(name, kind):
    net = models.create("resnet8", "quaternion", norm=name, **SHAPE, width=8)
    assert len(layers(net, kind)) == 9
    real = models.create("resnet8", "real", norm=name, **SHAPE, width=8)
    assert len(layers(real, nn.BatchNorm2d)) == 9
    ops.cross_entropy(net(images()), np.arange(8)).backward()
    assert all(np.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(("name", "kind"), [
    ("relu", nn.ReLU), ("gelu", nn.GELU), ("modrelu", nn.ModReLU),
])  # fmt: skip
@pytest.mark.parametrize(("model", "places"), [("resnet8", 7), ("lenet-300-100", 2), ("conv-2", 4)])
def test_activations(model, places, name, kind):
    net = models.create(model, "quaternion", activation=name, **SHAPE, width=24)
    assert len(layers(net, kind)) == places
    assert net(images()).shape == (8, 8)
    real = models.create(model, "real", activation=name, **SHAPE, width=24)
    assert len(layers(real, nn.ReLU if name == "modrelu" else kind)) == places


def test_dropout_before_the_head():
    for algebra, kind in (("real", nn.Dropout), ("quaternion", nn.QDropout)):
        net = models.create("resnet8", algebra, dropout=0.25, **SHAPE, width=8)
        ((name, dropout),) = layers(net, kind).items()
        assert (name, dropout.p) == ("head.0", 0.25)


@pytest.mark.parametrize("style", [
    {"norm": "bath"}, {"activation": "rely"}, {"dropout": 1.0}, {"dropout": -0.1},
])  # fmt: skip
def test_styles_that_cannot_be(style):
    with pytest.raises(OptionError):
        models.create("resnet8", **style)


def test_a_style_is_part_of_the_architecture():
    net = models.create("resnet8", "quaternion", norm="variance", real_parts="stem", **SHAPE)
    assert net.architecture["norm"] == "variance"
    again = models.create_again(net.architecture)
    assert {n: a.shape for n, a in again.state_dict().items()} == {
        n: a.shape for n, a in net.state_dict().items()
    }
    assert "norm" not in models.create("resnet8").architecture


# ----------------------------------------------------------------------------- first weights


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (3, 3, 4, 8), (1, 1, 16, 8)])
def test_orthogonal_weights(shape):
    rng = np.random.default_rng(0)
    real = init.orthogonal(rng, shape).reshape(-1, shape[-1]).astype(np.float64)
    w = init.orthogonal_quaternions(rng, (4, *shape)).reshape(4, -1, shape[-1])
    for W in (real, reference.expand(w).astype(np.float64)):
        G = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
        np.testing.assert_allclose(G, 2 * np.eye(len(G)), atol=1e-5)


def test_unit_weights_have_length_one_on_average():
    rng = np.random.default_rng(0)
    assert np.mean(init.unit_normal(rng, (64, 64)) ** 2) == pytest.approx(1, rel=0.05)
    w = init.INITIALISERS["quaternion"]["unit"](rng, (4, 8, 8))
    np.testing.assert_allclose((w**2).sum(axis=0), 1, rtol=1e-6)
