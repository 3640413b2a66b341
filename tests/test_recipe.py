"""Recipes: what steps and decays how, against the formulas, and what it leaves as it was."""

import numpy as np
import pytest
from blobs import blobs

from quatgrad import Tensor, models, ops
from quatgrad.errors import OptionError
from quatgrad.lth.experiment.options import resolve
from quatgrad.optim import SGD, Adam, SideBySide
from quatgrad.train import Recipe, train


def network(algebra="quaternion"):
    return models.create("resnet8", algebra, 3, 4, 8, image_size=(4, 4))


def recipe(**options):
    return Recipe(**{"epochs": 2, "batch_size": 16, "lr": 0.05, "weight_decay": 0.1} | options)


def gradients(net, rng):
    for p in net.parameters():
        p.grad = rng.standard_normal(p.shape, dtype=np.float32)


@pytest.mark.parametrize(("algebra", "networks"), [
    ("all", ("real", "quaternion", "equal")),
    ("with-equal", ("real", "quaternion", "equal")),  # as commands on record have it
    ("real,quaternion,half", ("real", "quaternion", "half")),
    ("half,both,real", ("half", "real", "quaternion")),
])  # fmt: skip
def test_networks_by_name(algebra, networks):
    assert resolve({"preset": "smoke", "algebra": algebra}).model.networks == networks


def test_a_plain_recipe_has_a_plain_optimizer():
    for optimizer, kind in (("sgd", SGD), ("adam", Adam), ("adamw", Adam)):
        made = recipe(optimizer=optimizer).make_optimizer(network())
        assert type(made) is kind
        assert made.weight_decay == 0.1
    assert made.decoupled
    # nothing differs in a network without quaternions
    assert type(recipe(quaternion_lr=0.5).make_optimizer(network("real"))) is SGD


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_each_parameter_steps_as_if_it_were_alone(optimizer):
    """Rates and decays of its own, three steps, against an optimizer for each parameter."""
    options = {"quaternion_lr": 0.25, "quaternion_decay": 0.5, "decay_of": "weights"}
    how, net, twin = recipe(optimizer=optimizer, **options), network(), network()
    together = how.make_optimizer(net)
    assert isinstance(together, SideBySide)
    assert together.parameters == net.parameters()
    alone = []
    for p in twin.parameters():
        decay = 0.1 * (0.5 if p.components == 4 else 1.0) * (p.ndim > 1)
        make = recipe(optimizer=optimizer, weight_decay=decay)._optimizer
        alone.append((make([p], decay), 0.25 if p.components == 4 else 1.0))
    for step in range(3):
        for model in (net, twin):
            gradients(model, np.random.default_rng(step))
        together.step(0.1)
        for one, factor in alone:
            one.step(0.1 * factor)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_the_state_of_optimizers_side_by_side_is_saved_and_restored():
    how = recipe(quaternion_lr=0.5, decay_of="weights")
    net, other = network(), network()
    first, second = how.make_optimizer(net), how.make_optimizer(other)
    gradients(net, np.random.default_rng(0))
    first.step(0.1)
    plain = SGD(network().parameters(), 0.9, True)
    assert first.state_dict().keys() == {f"{i}/velocity" for i in range(len(plain.parameters))}
    second.load_state_dict(first.state_dict())
    other.load_state_dict(net.state_dict())
    for model, optimizer in ((net, first), (other, second)):
        gradients(model, np.random.default_rng(1))
        optimizer.step(0.1)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_label_smoothing_is_that_of_the_loss():
    net, dataset = network(), blobs()
    smooth = train(net, dataset, recipe(label_smoothing=0.3, epochs=1, lr=1e-9), progress=False)
    images = Tensor(dataset.encode(dataset.train.images))
    net, labels = network(), dataset.train.labels
    losses = [ops.cross_entropy(net(images), labels, s).item() for s in (0.3, 0.0)]
    assert abs(losses[0] - losses[1]) > 1e-3
    assert smooth[0].train_loss == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize(("name", "value"), [
    ("label_smoothing", 1.0), ("label_smoothing", -0.1), ("quaternion_lr", -1.0),
    ("quaternion_decay", float("nan")), ("decay_of", "norms"), ("optimizer", "lion"),
])  # fmt: skip
def test_what_cannot_be(name, value):
    with pytest.raises(OptionError, match=name):
        recipe(**{name: value})


def test_new_options_are_in_the_names_of_runs_only_where_they_are_given():
    plain = resolve({"preset": "smoke"}).config("x")
    assert not {"decay_of", "quaternion_lr", "label_smoothing", "norm", "dropout"} & plain.keys()
    given = {"preset": "smoke", "quaternion_lr": 0.5, "norm": "variance", "activation": "modrelu"}
    options = resolve(given)
    assert options.config("x") == plain | {"quaternion_lr": 0.5, "norm": "variance",
                                           "activation": "modrelu"}  # fmt: skip
    assert options.what("quaternion") == resolve({"preset": "smoke"}).what("quaternion") | {
        "norm": "variance", "activation": "modrelu",
    }  # fmt: skip
    # a real network has neither: its stages are those of before
    assert options.what("real") == resolve({"preset": "smoke"}).what("real")
