"""A plan gives the logits of the network: every network of the package, and layers it has not."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from networks import Call, Residual, created, logits, odd, trained

from quatgrad import Network, Tensor, models, no_grad, ops, sham, sparse
from quatgrad.backend import use_backend
from quatgrad.errors import DTypeError, GraphError, OptionError, ShapeError
from quatgrad.nn import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Module,
    RotationConv2d,
    Sequential,
    init,
)

ODD = sorted(odd(np.random.default_rng(0)))


def close(a, b, bound=1e-5):
    return np.abs(a - b).max() <= bound * max(np.abs(b).max(), 1)


def trained_and(net, shape, **options):
    net, masks = trained(net, shape, **options)
    return net, shape, masks


def images(shape, n=3, seed=5):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def check_readers(net, shape, masks=None):
    """The plain reader, and the fast one with every layer dense, or sparse: the model's logits."""
    x = images(shape)
    y = logits(net, x)
    with use_backend("numpy"):
        assert close(sparse.prepare(net, shape, masks)(x), y)
    for kind in sparse.KINDS:
        kinds = dict.fromkeys(dict(net.weight_parameters()), kind)
        plan = sparse.prepare(net, shape, masks, kinds)
        z = plan(x)
        assert close(z, y), kind
        assert all(np.array_equal(plan(x[n : n + 1]), z[n : n + 1]) for n in range(len(x)))


@pytest.mark.parametrize("algebra", ["real", "quaternion", "whole quaternions"])
@pytest.mark.parametrize("name", models.MODELS)
def test_the_logits_of_every_network(name, algebra):
    net = created(name, algebra.split()[-1].removesuffix("s"))
    check_readers(*trained_and(net, (16, 16, 4), density=0.3, whole=algebra[0] == "w"))


@pytest.mark.parametrize("name", ODD)
def test_layers_that_no_network_of_the_package_has(name):
    net, _ = trained(odd(np.random.default_rng(0))[name], (9, 7, 4))
    check_readers(net, (9, 7, 4))


def test_norms_shortcuts_and_rectifiers_are_in_the_steps_of_layers():
    net, _ = trained(created("resnet14", "quaternion", learned_encoder=True), (16, 16, 4))
    steps = sparse.prepare(net, (16, 16, 4)).steps.steps
    assert [type(step).__name__ for step in steps].count("Layer") == len(steps) - 1  # and the mean
    assert len(steps) == len(net.weight_parameters()) + 1


def test_scales_are_folded_into_real_weights_and_never_into_quaternions():
    for algebra in "real", "quaternion":
        net, _ = trained(created("resnet8", algebra, num_classes=10), (16, 16, 4))
        layers = list(sparse.prepare(net, (16, 16, 4)).steps.layers())
        for layer in layers:
            own = dict(net.named_parameters())[layer.name].data
            if layer.components == 4:
                assert np.array_equal(layer.weight, own)
            assert (layer.scale is None) == (layer.components == 1)


def test_a_vector_of_a_map_is_not_copied():
    net, _ = trained(created("conv-2", "quaternion"), (16, 16, 4))
    assert {type(s).__name__ for s in sparse.prepare(net, (16, 16, 4)).steps.steps} == {
        "Layer", "MaxPool",
    }  # fmt: skip


def test_masks_say_what_lives_and_a_weight_of_zero_may():
    net, masks = trained(created("lenet-12", "real"), (16, 16, 4), density=0.5)
    name, mask = next(iter(masks.items()))
    w = dict(net.named_parameters())[name]
    w.data = w.data * (np.arange(w.size) % 2).reshape(w.shape).astype(np.float32)
    counts = [
        sum(int(layer.alive.sum()) for layer in sparse.prepare(net, (16, 16, 4), m).steps.layers())
        for m in (masks, None)
    ]
    assert counts[0] == sum(int(m.sum()) for m in masks.values()) > counts[1]
    w.data = np.ones(w.shape, np.float32)  # what is pruned is not there, whatever the weight says
    x = images((16, 16, 4))
    y = sparse.prepare(net, (16, 16, 4), masks)(x)
    w.data = mask.astype(np.float32)
    assert close(y, logits(net, x))


@pytest.mark.parametrize("layer", ["sham", "rotation", "transposed", "plain"])
def test_masks_that_were_not_applied_hold_in_a_plan(layer):
    rng = np.random.default_rng(0)
    net = Sequential(
        {
            "sham": lambda: sham.ShamConv2d(4, 8, 3, rng=rng, init=init.he, algebra="plus"),
            "rotation": lambda: RotationConv2d(4, 8, 3, rng=rng),
            "transposed": lambda: ConvTranspose2d(4, 8, 3, rng=rng),
            "plain": lambda: Conv2d(4, 8, 3, rng=rng),
        }[layer](),
        GlobalAvgPool2d(),
    ).eval()
    masks = {n: rng.random(w.shape) < 0.4 for n, w in net.weight_parameters()}
    for mask in masks.values():
        mask[..., :4] = False  # of whole filters nothing lives
    x = images((5, 5, 4))
    found = sparse.prepare(net, (5, 5, 4), masks)
    listed = sparse.prepare(net, (5, 5, 4), {n: m.tolist() for n, m in masks.items()})
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    applied = sparse.prepare(net, (5, 5, 4), masks)
    for plan in found, listed, applied:
        assert close(plan(x), logits(net, x))
    densities = [[s.density for s in plan.steps.layers()] for plan in (found, applied)]
    assert densities[0] == densities[1]
    assert densities[0][0] < 1


def test_a_ticket_has_masks():
    net, masks = trained(created("lenet-12", "real"), (16, 16, 4), density=0.5)
    ticket = type("Ticket", (), {"masks": masks})
    layers = list(sparse.prepare(net, (16, 16, 4), ticket).steps.layers())
    assert sum(int(layer.alive.sum()) for layer in layers) == sum(m.sum() for m in masks.values())


def test_whole_quaternions_are_seen():
    net, masks = trained(created("resnet8", "quaternion"), (16, 16, 4), density=0.3, whole=True)
    assert all(layer.whole for layer in sparse.prepare(net, (16, 16, 4), masks).steps.layers())
    net, masks = trained(created("resnet8", "quaternion"), (16, 16, 4), density=0.3)
    assert not any(layer.whole for layer in sparse.prepare(net, (16, 16, 4), masks).steps.layers())


@pytest.mark.parametrize("rows", [0, 1])
def test_layers_with_no_weight_or_one(rows):
    net, masks = trained(created("resnet8", "quaternion"), (16, 16, 4), density=0.3)
    for name, w in net.weight_parameters():
        masks[name][...] = False
        masks[name].flat[:rows] = True
        w.data = w.data * masks[name]
    check_readers(net, (16, 16, 4), masks)


def test_the_model_is_as_before_and_the_plan_does_not_follow_it():
    net, _ = trained(created("resnet8", "real"), (16, 16, 4))
    net.train()
    before = net.state_dict()
    plan, x = sparse.prepare(net, (16, 16, 4)), images((16, 16, 4))
    y = plan(x)
    assert net.training
    assert all(np.array_equal(before[k], v) for k, v in net.state_dict().items())
    for p in net.parameters():
        p.data = np.zeros_like(p.data)
    assert np.array_equal(plan(x), y)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
def test_any_number_of_images(n):
    net, _ = trained(created("conv-2", "quaternion"), (16, 16, 4))
    x, plan = images((16, 16, 4), n), sparse.prepare(net, (16, 16, 4))
    y = plan(x)
    assert y.shape == (n, 12)
    assert n == 0 or close(y, logits(net, x))
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    assert np.array_equal(plan(x), y)
    numba.set_num_threads(before)


@pytest.mark.parametrize("shape", [(32, 32, 4), (28, 28, 4), (17, 40, 4), (5, 3, 4), (20, 12, 4)])
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_maps_of_all_sizes(shape, algebra):
    net, masks = trained(created("resnet8", algebra), shape, density=0.2)
    check_readers(net, shape, masks)


def test_calls_from_many_threads_do_not_meet():
    net, _ = trained(created("resnet8", "quaternion"), (16, 16, 4))
    plan, x = sparse.prepare(net, (16, 16, 4)), images((16, 16, 4), 12)
    y = plan(x)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda n: plan(x[n : n + 1]), range(12)))
    assert np.array_equal(np.concatenate(parts), y)


def test_a_plan_explains_itself():
    net, masks = trained(created("resnet8", "quaternion"), (16, 16, 4), density=0.1, whole=True)
    masks["head.weight"][...] = True
    kinds = {"stages.1.0.conv1.weight": "dense"}
    text = sparse.prepare(net, (16, 16, 4), masks, kinds).explain().splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in text}
    assert rows["stages.1.0.conv2.weight"].endswith("% sparse, whole quaternions")
    assert rows["stages.1.0.conv1.weight"].endswith("% dense, whole quaternions")
    assert rows["head.weight"] == "1x1x32 1x1x12 100.0 % dense, whole quaternions"
    assert rows["mean"] == "4x4x32 1x1x32"


# -------------------------------------------------------------------------------------- errors


def test_an_operation_without_a_step_is_named_with_the_layer_before_it():
    net = Sequential(Flatten(), Linear(64, 8, rng=np.random.default_rng(0)), Call(ops.softmax))
    with pytest.raises(OptionError, match=r"Softmax, on what comes from 1\.weight"):
        sparse.prepare(net, (4, 4, 4))


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (lambda x: x.sum(), "over the images of a batch"),
        (lambda x: x**3, "only the powers"),
        (lambda x: ops.where(x > 0, x, x * 2), "Where, on what comes from the image"),
        (lambda x: x.flatten() @ x.reshape(-1, 1), "must be a weight"),
        (lambda x: Tensor(x.data) * 1, "outside no_grad"),
    ],
)
def test_what_no_plan_can_have(f, match):
    with pytest.raises((OptionError, GraphError), match=match):
        sparse.prepare(Call(f), (4, 4, 4))


def test_an_image_that_is_left_behind_is_an_error():
    net = Sequential(Call(lambda x: Tensor(x.data)), Conv2d(4, 4, 1, rng=np.random.default_rng(0)))
    with pytest.raises(OptionError, match="does not depend on the image"):
        sparse.prepare(net, (4, 4, 4))


def test_inside_no_grad_there_is_no_graph():
    with no_grad(), pytest.raises(GraphError, match="outside no_grad"):
        sparse.prepare(created("lenet-12", "real"), (16, 16, 4))


def test_images_and_masks_must_fit():
    net = Sequential(Residual(Conv2d(4, 4, 1, rng=np.random.default_rng(0))), GlobalAvgPool2d())
    plan = sparse.prepare(net, (5, 6, 4))
    with pytest.raises(ShapeError, match=r"images of shape \(5, 6, 4\)"):
        plan(images((6, 5, 4)))
    for masks in {"x": np.ones(3, bool)}, {"0.body.0.weight": np.ones((4, 4), bool)}:
        with pytest.raises(OptionError, match="fits no weight"):
            sparse.prepare(net, (5, 6, 4), masks)
    for kinds in {"x": "dense"}, {"0.body.0.weight": "fast"}:
        with pytest.raises(OptionError, match=r"prepare: unknown (weight|kind)"):
            sparse.prepare(net, (5, 6, 4), kinds=kinds)
    with pytest.raises(OptionError, match=r"kinds are a dict, .* got list"):
        sparse.prepare(net, (5, 6, 4), kinds=["dense"])
    for model in Network(net), lambda x: x:
        with pytest.raises(OptionError, match=r"a model is a Module, .* got (Network|function)"):
            sparse.prepare(model, (5, 6, 4))
    for wrong in "abc", None, images((5, 6, 4)).astype(complex):
        with pytest.raises(DTypeError, match=r"images of real numbers, float32; got an array of "):
            plan(wrong)
    for shape in ((-5, 6, 4), (5, 0, 4), (5.0, 6, 4), (True, 6, 4), 64, "image"):
        with pytest.raises(OptionError, match=r"an input shape is \(H, W, C\)"):
            sparse.prepare(net, shape)


def test_copies_of_a_plan_that_has_run():
    net, masks = trained(created("lenet-12", "quaternion"), (16, 16, 4), density=0.2)
    plan = sparse.prepare(net, (16, 16, 4), masks)
    x = np.random.default_rng(0).standard_normal((3, 16, 16, 4), np.float32)
    y = plan(x)
    for again in copy.deepcopy(plan), pickle.loads(pickle.dumps(plan)):
        assert np.array_equal(again(x), y)


def test_a_forward_pass_gives_one_tensor():
    class Pair(Module):
        def forward(self, x):
            return x, x

    with pytest.raises(OptionError, match="forward of Pair gives a tuple"):
        sparse.prepare(Pair(), (4, 4, 1))


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_convolutions_over_time(algebra):
    net = models.create("fcn", algebra, 5, 8, 8, image_size=(11, 1))
    x = np.random.default_rng(0).standard_normal((20, 11, 1, 8), np.float32)
    plan = sparse.prepare(net.eval(), (11, 1, 8))
    for n in 1, 20:
        np.testing.assert_allclose(plan(x[:n]), logits(net, x[:n]), atol=1e-5)
