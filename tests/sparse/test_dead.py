"""Weights that compute nothing are not in a ticket, and no logit changes."""

from dataclasses import replace

import numpy as np
import pytest
from networks import Call, created, logits, odd, trained

from quatgrad import Parameter, Tensor, models, ops, sparse
from quatgrad.errors import OptionError
from quatgrad.lth.prune.rule import Rule, full_masks, prune
from quatgrad.network import Network
from quatgrad.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Module,
    ReLU,
    Sequential,
)

SHAPE = (16, 16, 4)
ODD = sorted(odd(np.random.default_rng(0)))


def count(masks):
    return sum(int(mask.sum()) for mask in masks.values())


def check(net, masks, shape, monkeypatch):
    """The masks that are left; without the other weights the model gives the same logits."""
    monkeypatch.setattr(sparse.dead, "image_shape", lambda network: shape)
    x = np.random.default_rng(5).standard_normal((3, *shape)).astype(np.float32)
    y = logits(net, x)
    small = sparse.without_dead(Network(net, masks=masks))
    assert all(
        (w.data == net.state_dict()[name] * small.masks[name]).all()
        for name, w in small.model.weight_parameters()
    )
    for name, w in net.weight_parameters():
        assert not (small.masks[name] & ~masks[name]).any()
        w.data = w.data * small.masks[name]
    assert abs(logits(net, x) - y).max() <= 1e-6 * max(abs(y).max(), 1)
    return small.masks


@pytest.mark.parametrize("granularity", ["filter", "weight"])
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", models.MODELS)
def test_pruned_networks(name, algebra, granularity, monkeypatch):
    net, _ = trained(created(name, algebra), SHAPE)
    weights = dict(net.weight_parameters())
    masks = prune(weights, full_masks(weights), Rule(0.05, granularity=granularity))
    for n, w in weights.items():
        w.data = w.data * masks[n]
    left = check(net, masks, SHAPE, monkeypatch)
    if granularity == "filter" and name.startswith("resnet") and algebra == "real":
        assert count(left) < 0.9 * count(masks)


@pytest.mark.parametrize("name", ODD)
def test_networks_with_few_weights(name, monkeypatch):
    net, masks = trained(odd(np.random.default_rng(0))[name], (9, 7, 4), density=0.05)
    check(net, masks or {}, (9, 7, 4), monkeypatch)


class Transposed(Module):
    """y = W^T x, where W is square: its mask has the shape of W^T, and is not that of it."""

    def __init__(self, rng):
        self.weight = Parameter(rng.standard_normal((12, 12)).astype(np.float32))

    def forward(self, x):
        return ops.linear(x, self.weight.transpose(1, 0))


def test_of_a_weight_that_is_read_transposed_no_mask_is_taken_for_another(monkeypatch):
    rng = np.random.default_rng(0)
    net = Sequential(
        Flatten(), Linear(24, 12, rng=rng), Transposed(rng), Linear(12, 5, rng=rng)
    ).eval()
    weights = dict(net.weight_parameters())
    masks = {name: rng.random(w.shape) < 0.3 for name, w in weights.items()}
    masks["2.weight"][:, 3] = False  # of W^T a row, so that no input of it is dead
    for name, w in weights.items():
        w.data = w.data * masks[name]
    x = rng.standard_normal((3, 2, 3, 4)).astype(np.float32)
    plan = sparse.prepare(net, (2, 3, 4), masks)
    np.testing.assert_allclose(plan(x), logits(net, x), rtol=1e-5, atol=1e-5)
    check(net, masks, (2, 3, 4), monkeypatch)


def test_of_a_dense_network_all_lives(monkeypatch):
    net, _ = trained(created("resnet8", "quaternion"), SHAPE)
    masks = full_masks(dict(net.weight_parameters()))
    assert count(check(net, masks, SHAPE, monkeypatch)) == count(masks)


def test_a_dead_end_and_a_channel_that_is_zero(monkeypatch):
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv2d(4, 3, 3, padding=1, rng=rng),
        BatchNorm2d(3),
        ReLU(),
        Conv2d(3, 2, 3, padding=1, rng=rng),
        GlobalAvgPool2d(),
        Linear(2, 2, rng=rng),
    )
    net.eval()  # fmt: skip
    net.modules[1].shift.data = np.array([-1, 1, 0], np.float32)
    masks = {n: m.copy() for n, m in full_masks(dict(net.weight_parameters())).items()}
    masks["0.weight"][..., :2] = False  # channels of -1 and 1, that is 0 and 1 after the rectifier
    masks["5.weight"][0] = False  # nobody reads the first channel of the second convolution
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    left = check(net, masks, SHAPE, monkeypatch)
    assert not left["3.weight"][:, :, 0].any()
    assert left["3.weight"][:, :, 1:, 1].all()
    assert not left["3.weight"][..., 0].any()
    assert np.array_equal(left["0.weight"], masks["0.weight"])


def test_inputs_of_a_linear_layer_in_another_order(monkeypatch):
    rng = np.random.default_rng(0)
    net = Sequential(Flatten(), Linear(8, 4, rng=rng), ReLU(), Call(lambda x: x[:, ::-1]),
                     Linear(4, 3, rng=rng))  # fmt: skip
    trained(net, (2, 1, 4))
    net.modules[1].bias.data = -np.ones(4, np.float32)
    masks = {n: m.copy() for n, m in full_masks(dict(net.weight_parameters())).items()}
    masks["1.weight"][:, 0] = False
    masks["4.weight"][1] = False
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    left = check(net, masks, (2, 1, 4), monkeypatch)
    assert not left["1.weight"][:, 2].any()  # its reversed place is 1


class Tied(Module):
    """A weight that stands in a layer, and transposed in a product."""

    def __init__(self):
        self.fc = Linear(4, 6, rng=np.random.default_rng(0))

    def forward(self, x):
        h = self.fc(Flatten()(x))
        return ops.matmul(h, ops.transpose(self.fc.weight))[:, :2] + h[:, :2]


def test_tied_weights_stay(monkeypatch):
    net = Tied()
    masks = {"fc.weight": np.ones((4, 6), bool)}
    assert check(net, masks, (1, 1, 4), monkeypatch)["fc.weight"].all()


def test_a_linear_layer_that_stands_in_two_places(monkeypatch):
    rng = np.random.default_rng(0)
    fc, head = Linear(16, 16, rng=rng), Linear(16, 3, rng=rng)
    flat, relu = Flatten(), ReLU()
    net = Sequential(flat, fc, relu, fc, relu, head)
    net, masks = trained(net, (2, 2, 4), density=0.3)
    check(net, masks, (2, 2, 4), monkeypatch)


def test_a_weight_that_is_also_no_layer_stays(monkeypatch):
    rng = np.random.default_rng(0)
    conv = Conv2d(4, 8, 2, dilation=2, rng=rng)

    class Net(Module):
        def __init__(self):
            self.conv = conv

        def forward(self, x):
            y = self.conv(x)[:, 0, 0, :2]
            return y + ops.matmul(x[:, 0, 0], self.conv.weight[0, 0])[:, 6:]

    net, masks = Net(), {"conv.weight": np.ones(conv.weight.shape, bool)}
    assert check(net, masks, (4, 4, 4), monkeypatch)["conv.weight"].all()


READERS = {
    "convolution": lambda rng: [Conv2d(4, 3, 1, rng=rng), GlobalAvgPool2d()],
    "without a mask": lambda rng: [Conv2d(4, 3, 1, rng=rng), GlobalAvgPool2d()],
    "groups": lambda rng: [Conv2d(4, 4, 1, groups=2, rng=rng), GlobalAvgPool2d()],
    "head": lambda rng: [GlobalAvgPool2d(), Linear(4, 3, rng=rng)],
}


@pytest.mark.parametrize("name", READERS)
def test_who_keeps_the_row_of_a_zero_reads_it(name, monkeypatch):
    """Channel 0 of the first layer is 1, of which the second one makes relu(0.5 - 1) = 0."""
    rng = np.random.default_rng(0)
    net = Sequential(Conv2d(2, 2, 1, rng=rng), ReLU(), Conv2d(2, 4, 1, rng=rng), ReLU(),
                     *READERS[name](rng))  # fmt: skip
    masks = {n: m.copy() for n, m in full_masks(dict(net.weight_parameters())).items()}
    if name == "without a mask":
        masks.pop("4.weight")
    masks["0.weight"][..., 0] = masks["2.weight"][..., 1, 0] = False
    first, second = net.modules[0], net.modules[2]
    second.weight.data = np.float32([[[[-1, 1, 1, 1], [1, 1, 1, 1]]]])
    first.bias.data, second.bias.data = np.float32([1, 0]), np.float32([0.5, 0, 0, 0])
    for n, mask in masks.items():
        w = dict(net.weight_parameters())[n]
        w.data = w.data * mask
    monkeypatch.setattr(sparse.dead, "image_shape", lambda network: (4, 4, 2))
    x = rng.standard_normal((3, 4, 4, 2)).astype(np.float32)
    small = sparse.without_dead(Network(net, masks=masks))
    np.testing.assert_allclose(logits(small.model, x), logits(net, x), rtol=1e-6, atol=1e-6)
    gone = count(masks) - count(small.masks)
    assert gone == (1 + 3 if name == "convolution" else 0)  # a weight that makes it, a row


def test_a_convolution_that_reads_a_zero_in_one_of_two_places(monkeypatch):
    rng = np.random.default_rng(0)
    net = Sequential(*(Conv2d(2, 2, 1, rng=rng) for _ in range(3)))
    a, b, c = net.modules
    net.forward = lambda x: (c(b(a(x).relu()).relu()) + c(x)).mean((1, 2))
    masks = {n: m.copy() for n, m in full_masks(dict(net.weight_parameters())).items()}
    masks["0.weight"][..., 0] = masks["1.weight"][..., 1, 0] = False
    a.bias.data, b.bias.data = np.float32([1, 0]), np.float32([0.5, 0])
    b.weight.data = np.float32([[[[-1, 1], [1, 1]]]])
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    check(net, masks, (4, 4, 2), monkeypatch)


@pytest.mark.parametrize("seed", range(8))
def test_lenets_of_few_weights_with_biases(seed, monkeypatch):
    net = models.create("lenet-300-100", "real", image_size=(8, 8), in_channels=1, seed=seed)
    net, masks = trained(net, (8, 8, 1), seed, density=0.01)
    *_, (name, head) = net.weight_parameters()
    masks[name][...] = True  # who reads all that is left
    head.data = np.random.default_rng(seed).standard_normal(head.shape).astype(np.float32)
    assert count(check(net, masks, (8, 8, 1), monkeypatch)) < count(masks)


class Constant(Module):
    """A layer of the image, and of numbers that are the same for all images."""

    def __init__(self):
        self.fc = Linear(4, 4, rng=np.random.default_rng(0))
        self.token = Parameter(np.ones(4, np.float32))

    def forward(self, x):
        return self.fc(Flatten()(x))[:, :2] + self.fc(self.token.reshape(1, 4))[:, 2:]


def test_weights_that_also_multiply_a_constant_stay(monkeypatch):
    masks = {"fc.weight": np.ones((4, 4), bool)}
    assert check(Constant(), masks, (2, 2, 1), monkeypatch)["fc.weight"].all()


def test_masks_that_were_not_applied_are_seen_in_a_ticket_without_dead_weights(tmp_path):
    net, masks = trained(created("resnet8", "real"), SHAPE, density=0.02)
    alive = net.stem.weight.data != 0
    net.stem.weight.data = net.stem.weight.data + ~alive
    small = sparse.without_dead(Network(net, masks=masks))
    with pytest.raises(OptionError, match="that the mask stem"):
        sparse.save(tmp_path / "x.ticket", small)


def test_networks_without_a_shape_or_dead_weights_stay():
    rng = np.random.default_rng(0)
    net = Sequential(Flatten(), Linear(16, 3, rng=rng))
    network = Network(net, masks={"1.weight": np.ones((16, 3), bool)})
    assert sparse.without_dead(network) is network
    whole = created("lenet-12", "real")
    network = Network(whole, masks=full_masks(dict(whole.weight_parameters())))
    assert sparse.without_dead(network) is network


def test_layers_without_a_mask_of_one_name(monkeypatch):
    rng = np.random.default_rng(0)
    fixed = [Tensor(rng.standard_normal((1, 1, 4, n)).astype(np.float32)) for n in (6, 5)]
    head = Linear(11, 3, rng=rng)

    class Net(Module):
        def __init__(self):
            self.head = head

        def forward(self, x):
            return self.head(ops.concatenate([Flatten()(ops.conv2d(x, w)) for w in fixed], axis=1))

    check(Net(), {"head.weight": np.ones((11, 3), bool)}, (1, 1, 4), monkeypatch)


def test_a_network_that_no_plan_can_have_stays():
    net, masks = trained(created("resnet8", "real"), SHAPE, density=0.05)
    network = Network(net, masks=masks)
    planned = sparse.prepared(network)
    assert sparse.without_dead(planned) is planned
    net.forward = lambda x, f=net.forward: ops.softmax(f(x))
    assert sparse.without_dead(network) is network
    net.forward = lambda x: Tensor(type(net).forward(net, x).data)  # no graph
    assert sparse.without_dead(network) is network


def test_a_ticket_is_smaller_and_predicts_the_same(tmp_path):
    net, masks = trained(created("resnet8", "real"), SHAPE, density=0.02)
    network = Network(net, masks=masks)
    small = sparse.without_dead(network)
    sizes = []
    for k, n in enumerate((network, small)):
        sparse.save(tmp_path / f"{k}.ticket", n)
        sizes.append((tmp_path / f"{k}.ticket").stat().st_size)
    assert sizes[1] < sizes[0] - 4 * (count(masks) - count(small.masks))
    x = np.random.default_rng(0).standard_normal((5, *SHAPE)).astype(np.float32)
    again = sparse.load(tmp_path / "1.ticket")
    np.testing.assert_allclose(again.predict(x), network.predict(x), atol=1e-6)
    assert replace(small, masks=masks).masks is masks
