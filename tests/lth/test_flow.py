"""The flow through positive networks, against every path added up one by one."""

import itertools

import numpy as np
import pytest

from quatgrad import models, nn
from quatgrad.backend import use_backend
from quatgrad.errors import InvariantError, OptionError
from quatgrad.kernels.reference import HAMILTON
from quatgrad.lth.prune.flow import connected, flow, synflow_gradients
from quatgrad.lth.store import files
from quatgrad.random import generator

SHAPE = (4, 4, 4)
NETS = ["lenet-300-100", "conv-2", "resnet8", "resnet20"]


def make(name, algebra, **options):
    return models.create(name, algebra, 4, 4, 12, image_size=SHAPE[:2], **options)


def weights(model):
    return {n: w.numpy().astype(np.float64) for n, w in model.weight_parameters()}


def mlp(algebra, *sizes):
    layer = nn.Linear if algebra == "real" else nn.QLinear
    rng = generator(0, "test")
    modules = [nn.Flatten()]
    for P, Q in itertools.pairwise(sizes):
        modules += [layer(P, Q, rng=rng), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def edges(model, masks):
    """Layers of edges (input unit, output unit, weight's name and index), quaternions spread."""
    for name, w in model.weight_parameters():
        found = []
        for index in np.argwhere(masks[name]):
            *a, p, q = index
            _, P, Q = w.shape if w.components == 4 else (1, *w.shape)
            places = np.argwhere(HAMILTON[a[0]]) if w.components == 4 else [(0, 0)]
            found += [(b * P + p, c * Q + q, name, tuple(index)) for b, c in places]
        yield found


def paths(model, masks, inputs):
    """Every path from an input to an output, as the weights on the way."""
    alive = [(i, ()) for i in range(inputs)]
    for layer in edges(model, masks):
        alive = [
            (q, (*path, (name, index)))
            for unit, path in alive
            for p, q, name, index in layer
            if p == unit
        ]
    return [path for _, path in alive]


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_the_flow_is_the_sum_over_all_paths(algebra):
    model = mlp(algebra, 4, 8, 4, 4)
    values = {n: abs(w) for n, w in weights(model).items()}
    total, slopes = flow(model, (1, 1, 4), values)
    every = paths(model, {n: np.ones(v.shape, bool) for n, v in values.items()}, 4)
    products = [np.prod([values[n][i] for n, i in path]) for path in every]
    assert total == pytest.approx(sum(products))
    through = {n: np.zeros(v.shape) for n, v in values.items()}
    for path, product in zip(every, products, strict=True):
        for name, index in path:
            through[name][index] += product
    for name, v in values.items():
        np.testing.assert_allclose(v * slopes[name], through[name])


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("seed", range(6))
def test_connected_weights_are_those_on_a_path(algebra, seed):
    model = mlp(algebra, 4, 8, 8, 4)
    rng = np.random.default_rng(seed)
    masks = {n: rng.random(w.shape) < (0.25 if algebra == "real" else 0.12)
             for n, w in weights(model).items()}  # fmt: skip
    on_paths = {item for path in paths(model, masks, 4) for item in path}
    for name, mask in connected(model, (1, 1, 4), masks).items():
        expected = {index for n, index in on_paths if n == name}
        assert {tuple(i) for i in np.argwhere(mask)} == expected
        assert not (mask & ~masks[name]).any()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", NETS)
def test_what_flows_in_flows_out(name, algebra):
    """sum w dR/dw = R in every layer that all paths cross: Tanaka et al.'s conservation."""
    model = make(name, algebra)
    before = files.digest(model.state_dict())
    w, slopes = weights(model), synflow_gradients(model, SHAPE)
    total, _ = flow(model, SHAPE, {n: abs(v) for n, v in w.items()})
    carried = {n: (w[n] * slopes[n]).sum() for n in w}
    crossed = w if "resnet" not in name else ["stem.weight", "head.weight"]
    for n in crossed:
        assert carried[n] == pytest.approx(total)
    assert all((w[n] * slopes[n] >= 0).all() for n in w)
    assert files.digest(model.state_dict()) == before


def full(model):
    return {n: np.ones(w.shape, bool) for n, w in weights(model).items()}


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", NETS)
def test_a_dense_network_is_connected_whole_also_through_pools(name, algebra):
    model = models.create(name, algebra, 4, 4, 12, image_size=(12, 12))
    assert all(mask.all() for mask in connected(model, (12, 12, 4), full(model)).values())


def test_a_window_that_sees_nothing_but_padding_is_dead():
    """The last maps of 4x4 images are 1x1: of a 3x3 kernel the middle alone meets a pixel."""
    model = make("resnet8", "quaternion")
    mask = connected(model, SHAPE, full(model))["stages.2.0.conv2.weight"]
    assert mask[:, 1, 1].all()
    assert mask.sum() == mask[:, 1, 1].sum()


def test_an_empty_convolution_cuts_its_branch_but_not_the_way_around():
    model = models.create("resnet20", "quaternion", 4, 4, 12, image_size=(12, 12))
    masks = full(model)
    masks["stages.1.1.conv1.weight"][...] = False
    dead = {n for n, m in connected(model, (12, 12, 4), masks).items() if not m.any()}
    assert dead == {"stages.1.1.conv1.weight", "stages.1.1.conv2.weight"}
    masks["stem.weight"][...] = False
    assert not any(m.any() for m in connected(model, SHAPE, masks).values())


def test_a_unit_without_inputs_kills_what_it_sends_out_and_backwards():
    model = mlp("real", 4, 4, 4)
    names = [n for n, _ in model.weight_parameters()]
    masks = {n: np.ones((4, 4), bool) for n in names}
    masks[names[0]][:, 2] = False  # hidden unit 2 receives nothing
    masks[names[1]][3, :] = False  # hidden unit 3 sends nothing
    alive = connected(model, (1, 1, 4), masks)
    assert alive[names[0]].sum(axis=0).tolist() == [4, 4, 0, 0]
    assert alive[names[1]].sum(axis=1).tolist() == [4, 4, 0, 0]


def test_biases_and_trained_statistics_do_not_matter():
    model = make("resnet8", "real")
    before = synflow_gradients(model, SHAPE)
    model.head.bias.data = np.ones(4, np.float32)
    model.bn.running_mean.data = np.full(12, 7, np.float32)
    model.bn.scale.data = -np.ones(12, np.float32)
    assert files.digest(synflow_gradients(model, SHAPE)) == files.digest(before)


def test_deep_networks_do_not_overflow_and_pruned_ones_are_not_lost():
    model = models.create("resnet56", "quaternion", 10, 4, 8, image_size=(8, 8))
    rng = np.random.default_rng(0)
    masks = {n: rng.random(w.shape) < 0.5 for n, w in weights(model).items()}
    alive = connected(model, (8, 8, 4), masks)
    assert sum(m.sum() for m in alive.values()) > 0.99 * sum(m.sum() for m in masks.values())
    assert all(np.isfinite(g).all() for g in synflow_gradients(model, (8, 8, 4)).values())
    huge = {n: np.full(w.shape, 1e8) for n, w in weights(model).items()}
    with pytest.raises(InvariantError, match="exceeds float64"):
        flow(model, (8, 8, 4), huge)


def test_the_flow_has_the_same_bits_on_every_backend():
    model, found = make("resnet8", "quaternion"), set()
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            found.add(files.digest(synflow_gradients(model, SHAPE)))
    assert len(found) == 1


def test_layers_through_which_no_path_is_defined():
    rng = generator(0, "test")
    rotation = nn.Sequential(nn.Flatten(), nn.RotationLinear(4, 4, rng=rng))
    with pytest.raises(OptionError, match=r"flow: 1\.weight belongs to a layer"):
        synflow_gradients(rotation, (1, 1, 4))
    grouped = nn.Sequential(nn.QConv2d(8, 8, 1, groups=2, rng=rng))
    with pytest.raises(OptionError, match="has groups"):
        synflow_gradients(grouped, (2, 2, 8))


@pytest.mark.parametrize("name", ["gcn", "gpt", "transformer"])
def test_a_network_that_sees_no_image_has_no_flow(name):
    options = {"num_classes": 5, "in_channels": 12, "width": 64, "image_size": (12, 1)}
    with pytest.raises(OptionError, match="choose another `score`"):
        synflow_gradients(models.create(name, "real", **options), (12, 1, 12))
