"""Channels that nobody reads and constant ones are left out, and no logit changes."""

import numpy as np
import pytest
from networks import created, logits, odd, trained

from quatgrad import models, ops, sparse
from quatgrad.lth.prune.rule import Rule, full_masks, prune
from quatgrad.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ModReLU,
    QConv2d,
    QMaxPool2d,
    ReLU,
    Sequential,
)
from quatgrad.sparse import reference
from quatgrad.sparse.compact import compact
from quatgrad.sparse.rules import follow

ODD = sorted(odd(np.random.default_rng(0)))
SHAPE = (16, 16, 4)


def images(shape, n=3):
    return np.random.default_rng(5).standard_normal((n, *shape)).astype(np.float32)


def both(net, shape, masks=None):
    """The steps as they were and compact ones, which give the same logits; and a plan does."""
    x, whole = images(shape), follow(net, shape, masks)
    small = compact(whole)
    y = reference.run(whole, x)
    scale = max(abs(y).max(), 1)
    assert abs(reference.run(small, x) - y).max() <= 1e-6 * scale
    assert abs(logits(net, x) - y).max() <= 1e-5 * scale
    for kind in sparse.KINDS:
        kinds = dict.fromkeys(dict(net.weight_parameters()), kind)
        assert abs(sparse.prepare(net, shape, masks, kinds)(x) - y).max() <= 1e-5 * scale, kind
    return whole, small


def channels(steps):
    return sum(steps.shapes[step.y][2] for step in steps.steps)


def survivors(steps):
    return sum(int(layer.alive.sum()) for layer in steps.layers())


def pruned(net, dead):
    """Masks without the places `dead`, by the name of a weight; the network is pruned by them."""
    masks = {n: m.copy() for n, m in full_masks(dict(net.weight_parameters())).items()}
    for name, places in dead.items():
        for place in places:
            masks[name][place] = False
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    return masks


def outputs(*features):
    """The places of all weights of these output features."""
    return [(..., list(features))]


def inputs(*features):
    """The same of input features."""
    return [(..., list(features), slice(None))]


@pytest.mark.parametrize("granularity", ["filter", "kernel", "weight"])
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["resnet8", "resnet50", "conv-2", "lenet-300-100", "lenet-12"])
def test_pruned_networks(name, algebra, granularity):
    net, _ = trained(created(name, algebra), SHAPE)
    weights = dict(net.weight_parameters())
    masks = prune(weights, full_masks(weights), Rule(0.1, granularity=granularity))
    for n, w in weights.items():
        w.data = w.data * masks[n]
    whole, small = both(net, SHAPE, masks)
    assert survivors(small) <= survivors(whole)
    if granularity == "filter" and name != "lenet-12":
        assert channels(small) < 0.8 * channels(whole)


@pytest.mark.parametrize("name", ODD)
def test_networks_with_few_weights(name):
    net, masks = trained(odd(np.random.default_rng(0))[name], (9, 7, 4), density=0.1)
    both(net, (9, 7, 4), masks)


@pytest.mark.parametrize("name", models.MODELS)
def test_of_a_dense_network_all_stays(name):
    net, _ = trained(created(name, "quaternion"), SHAPE)
    whole = follow(net, SHAPE)
    small = compact(whole)
    assert small.shapes == whole.shapes
    for a, b in zip(whole.layers(), small.layers(), strict=True):
        assert a.weight is b.weight or np.array_equal(a.weight, b.weight)


def layers_of(steps):
    return {layer.name: layer.weight.shape for layer in steps.layers()}


def test_neurons_that_nobody_reads_and_those_that_nobody_feeds():
    rng = np.random.default_rng(0)
    net = Sequential(Flatten(), Linear(8, 6, rng=rng), ReLU(), Linear(6, 5, rng=rng), ReLU(),
                     Linear(5, 3, rng=rng))  # fmt: skip
    trained(net, (2, 1, 4))
    masks = pruned(net, {"1.weight": outputs(0), "3.weight": inputs(4)})
    _, small = both(net, (2, 1, 4), masks)
    assert layers_of(small)["1.weight"][-1] == 4
    assert layers_of(small)["3.weight"][-2:] == (4, 5)


def test_what_only_feeds_a_dead_end_dies_with_it():
    rng = np.random.default_rng(0)
    net = Sequential(*(Conv2d(4, 4, 3, padding=1, rng=rng) for _ in range(4)), GlobalAvgPool2d())
    trained(net, SHAPE)
    dead = [*inputs(0), (slice(None), slice(None), 3, [0, 3])]
    masks = pruned(net, {"3.weight": inputs(1, 2), "2.weight": dead})
    _, small = both(net, SHAPE, masks)
    shapes = layers_of(small)
    assert shapes["3.weight"][-2:] == (2, 4)  # 0 and 3 are read
    assert shapes["2.weight"][-2:] == (2, 2)  # these read 1 and 2 alone
    assert shapes["1.weight"][-2:] == (4, 2)


def test_a_constant_is_not_the_same_at_the_border():
    """Beside a border of zeros a constant channel stays; one that is 0 goes."""
    rng = np.random.default_rng(0)
    for shift, stays in ((2.0, True), (-2.0, False)):
        net = Sequential(Conv2d(4, 4, 3, padding=1, rng=rng), BatchNorm2d(4), ReLU(),
                         Conv2d(4, 5, 3, padding=1, rng=rng), GlobalAvgPool2d())  # fmt: skip
        net.eval()
        masks = pruned(net, {"0.weight": outputs(2)})
        net.modules[1].shift.data = np.array([0, 0, shift, 0], np.float32)
        _, small = both(net, SHAPE, masks)
        assert layers_of(small)["3.weight"][-2] == 3 + stays


def test_constants_beside_a_border_become_one():
    rng = np.random.default_rng(0)
    net = Sequential(Conv2d(4, 6, 3, padding=1, rng=rng), BatchNorm2d(6), ReLU(),
                     Conv2d(6, 5, 3, padding=1, rng=rng), GlobalAvgPool2d())  # fmt: skip
    net.eval()
    net.modules[1].shift.data = np.array([1, 0, 4, 0.5, 0, 0], np.float32)
    dead = [(0, 0, [0, 3], 1)]  # what one of them has not, another has
    masks = pruned(net, {"0.weight": outputs(0, 2, 3), "3.weight": dead})
    whole, small = both(net, SHAPE, masks)
    assert layers_of(small)["3.weight"][-2] == 4
    assert survivors(small) < survivors(whole)


def test_without_a_border_every_constant_folds_through_pools_and_functions():
    rng = np.random.default_rng(0)
    f = Sequential(Conv2d(4, 5, 3, rng=rng), MaxPool2d(2), Conv2d(5, 4, 3, rng=rng))
    net = Sequential(f, GlobalAvgPool2d(), Linear(4, 3, rng=rng))
    trained(net, SHAPE)
    _, small = both(net, SHAPE, pruned(net, {"0.0.weight": outputs(1, 3)}))
    assert layers_of(small)["0.2.weight"][-2] == 3
    _, small = both(net, SHAPE, pruned(net, {"0.2.weight": outputs(0)}))
    assert layers_of(small)["2.weight"][-2] == 3


def test_quaternions_stay_whole():
    rng = np.random.default_rng(0)
    net = Sequential(QConv2d(4, 12, 3, padding=1, rng=rng), ModReLU(12), QMaxPool2d(2),
                     QConv2d(12, 8, 3, padding=1, rng=rng), GlobalAvgPool2d(),
                     Linear(8, 3, rng=rng))  # fmt: skip
    trained(net, SHAPE)
    masks = pruned(net, {"3.weight": inputs(1), "5.weight": inputs(0, 3, 4)})
    whole, small = both(net, SHAPE, masks)
    assert layers_of(small)["0.weight"][-1] == 2
    assert layers_of(small)["3.weight"][-2:] == (2, 2)  # 0 and 4 are of one quaternion: both go
    assert channels(small) < channels(whole)


def test_a_shortcut_keeps_what_one_of_its_ends_needs():
    net, _ = trained(created("resnet8", "real"), SHAPE)
    name = next(n for n, _ in net.weight_parameters() if n.endswith("0.0.conv1.weight"))
    masks = pruned(net, {name: outputs(1, 2)})
    _, small = both(net, SHAPE, masks)
    stem = layers_of(follow(net, SHAPE, masks))
    assert layers_of(small)["stem.weight"] == stem["stem.weight"]


def test_a_network_of_which_nothing_is_left():
    net, _ = trained(created("resnet8", "quaternion"), SHAPE)
    masks = {n: np.zeros(w.shape, bool) for n, w in net.weight_parameters()}
    for _, w in net.weight_parameters():
        w.data = 0 * w.data
    _, small = both(net, SHAPE, masks)
    assert survivors(small) == 0


def test_the_steps_that_are_given_stay():
    net, masks = trained(created("resnet8", "real"), SHAPE, density=0.02)
    steps = follow(net, SHAPE, masks)
    before = [
        (layer.weight.copy(), layer.alive.copy(), layer.shift.copy()) for layer in steps.layers()
    ]
    compact(steps)
    for layer, (w, alive, shift) in zip(steps.layers(), before, strict=True):
        assert np.array_equal(layer.weight, w)
        assert np.array_equal(layer.alive, alive)
        assert np.array_equal(layer.shift, shift)


def test_functions_and_sums_of_constants():
    rng = np.random.default_rng(0)

    class Gated(Sequential):
        def forward(self, x):
            first, second = self.modules
            y = first(x)
            return second(ops.gelu(y) * ops.sigmoid(y) + y[..., ::-1]).mean((1, 2))

    net = Gated(Conv2d(4, 6, 1, rng=rng), Conv2d(6, 3, 1, rng=rng))
    trained(net, SHAPE)
    _, small = both(net, SHAPE, pruned(net, {"0.weight": outputs(0, 5, 2)}))
    assert layers_of(small)["1.weight"][-2] == 4  # 2 meets 3
