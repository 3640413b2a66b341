"""Batches: images side by side in the last layers, and the engine's kernels for dense maps."""

import numpy as np
import pytest
from networks import Call, created, logits, odd, trained

from quatgrad import ops, sparse
from quatgrad.backend import use_backend
from quatgrad.nn import Conv2d, Flatten, Linear, QConv2d, QLinear, ReLU, Sequential
from quatgrad.sparse import choice, engine, measure
from quatgrad.sparse.batch import SIDE, in_parts
from quatgrad.sparse.plan import MANY
from quatgrad.sparse.steps import Layer

ODD = sorted(odd(np.random.default_rng(0)))


def check(net, shape, masks, n):
    """The logits of n images are the model's, also by the engine's kernels."""
    x = np.random.default_rng(2).standard_normal((n, *shape)).astype(np.float32)
    y, plan = logits(net, x), sparse.prepare(net, shape, masks)
    for z in plan(x), engine.run(plan.steps, x):
        assert np.abs(z - y).max() <= 1e-5 * max(np.abs(y).max(), 1)
    return plan


@pytest.mark.parametrize("algebra", ["real", "quaternion", "whole quaternions"])
@pytest.mark.parametrize("name", ["lenet-300-100", "conv-4", "resnet8", "resnet50"])
def test_the_logits_of_a_batch(name, algebra):
    shape, whole = (16, 16, 4), algebra[0] == "w"
    for density in (0.1, 1.0):
        net = created(name, algebra.split()[-1].removesuffix("s"))
        net, masks = trained(net, shape, density=density, whole=whole)
        check(net, shape, masks, MANY + 3)


@pytest.mark.parametrize("name", ODD)
def test_layers_that_no_network_of_the_package_has(name):
    net, _ = trained(odd(np.random.default_rng(0))[name], (9, 7, 4))
    check(net, (9, 7, 4), None, 2 * SIDE + 1)


@pytest.mark.parametrize(
    "layers",
    [
        lambda rng: [Conv2d(4, 8, 2, 2, rng=rng), ReLU()],
        lambda rng: [Conv2d(4, 8, 2, rng=rng), Conv2d(8, 8, 1, 2, rng=rng)],
        lambda rng: [Conv2d(4, 8, 2, 3, rng=rng), QConv2d(8, 8, 1, 2, rng=rng)],
    ],
)
def test_a_window_of_the_whole_map_with_a_stride(layers):
    rng = np.random.default_rng(0)
    net = Sequential(*layers(rng), Flatten(), Linear(8, 3, rng=rng))
    check(net, (2, 2, 4), None, 2 * SIDE + 1)


@pytest.mark.parametrize(
    ("name", "sides"), [("lenet-300-100", [SIDE]), ("conv-2", [1, SIDE]), ("resnet8", [1])]
)
def test_the_layers_of_one_pixel_at_the_end_see_images_side_by_side(name, sides):
    net, masks = trained(created(name, "quaternion"), (16, 16, 4), density=0.1)
    steps = sparse.prepare(net, (16, 16, 4), masks).steps
    parts = in_parts(steps)
    assert [part.side for part in parts] == sides
    assert sum(len(part.steps.steps) for part in parts) == len(steps.steps)
    if sides[-1] == SIDE:
        layers = [step for step in parts[-1].steps.steps if isinstance(step, Layer)]
        assert all(layer.window == (1, 1) for layer in layers)


@pytest.mark.parametrize(
    ("f", "sides"),
    [
        (lambda x: x + 1, [SIDE]),
        (lambda x: x * x, [SIDE]),
        (ops.tanh, [SIDE]),
        (lambda x: x[:, ::2], [1]),  # a move
    ],
)
def test_what_can_stand_side_by_side(f, sides):
    rng = np.random.default_rng(0)
    net = Sequential(QLinear(16, 8, rng=rng), ReLU(), Call(f))
    if sides != [1]:
        net = Sequential(*net.modules, Linear(8, 4, rng=rng))
    net, _ = trained(net, (16,))
    plan = check(net, (16,), None, 21)
    assert [part.side for part in in_parts(plan.steps)] == sides


def test_an_image_that_is_read_twice_does_not_stand_beside_others():
    rng = np.random.default_rng(0)
    first, second = Linear(12, 12, rng=rng), Linear(12, 12, rng=rng)
    net, _ = trained(Sequential(Call(lambda x: second(first(x).relu()) + x)), (12,))
    plan = check(net, (12,), None, 20)
    assert [part.side for part in in_parts(plan.steps)] == [1]


def test_dense_networks_are_computed_by_the_engine_and_the_plan_says_so():
    shape, line = (16, 16, 4), f"batches of {MANY} images or more"
    for width, density, by_engine in (64, 1.0, True), (64, 0.05, False), (16, 1.0, False):
        net, masks = trained(created("resnet14", "real", width=width), shape, density=density)
        plan = check(net, shape, masks, MANY)
        assert plan.by_engine == by_engine == (line in plan.explain())
        chosen = sparse.prepare(net, shape, masks, {"head.weight": "dense"})
        assert not chosen.by_engine
    net, _ = trained(created("lenet-300-100", "real"), shape)
    assert not sparse.prepare(net, shape).by_engine


def test_the_numpy_backend_needs_no_engine():
    shape = (16, 16, 4)
    net, _ = trained(created("resnet8", "real"), shape)
    with use_backend("numpy"):
        check(net, shape, None, MANY)


def test_the_break_even_of_a_layer(monkeypatch):
    monkeypatch.setattr(measure, "BLOCK_S", 0.001)
    for way in (1, False), (4, False), (4, True):
        assert 0 < measure.break_even(16, (8, 8), *way) <= 1
    assert measure.engine_share(8, (8, 8)) > 0


def test_the_table_has_every_kind_of_layer():
    for components, whole in (1, False), (4, False), (4, True):
        for size, window in ((8, 8), 3), ((1, 1), 1):
            for density, way in (0.05, "sparse"), (0.9, "dense"):
                steps = measure.random_layer(32, size, density, components, whole, window)
                assert choice.choose(steps.steps[0], steps) == way
