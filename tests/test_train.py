"""The training loop: it learns, it counts, and it says when it cannot go on."""

import math

import numpy as np
import pytest
from blobs import blobs

from quatgrad import models
from quatgrad.autograd import Tensor, no_grad
from quatgrad.data import Dataset, Split
from quatgrad.errors import OptionError, RunError
from quatgrad.kernels import use_kernels
from quatgrad.kernels.registry import kernel
from quatgrad.nn import Module
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD, Adam
from quatgrad.train import Recipe, TrainStep, evaluate, train, train_steps

ALGEBRAS = ["real", "quaternion"]


def network(algebra="real", name="resnet8"):
    return models.create(name, algebra, 3, 4, 12 if "lenet" in name else 8, image_size=(4, 4))


def fit(model, dataset, recipe, **options):
    return train(model, dataset, recipe, progress=False, **options)


# ---------------------------------------------------------------------------- it learns


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_loss_falls_and_the_test_images_are_recognised(algebra, optimizer):
    recipe = Recipe(8, 16, {"sgd": 0.05, "adam": 0.01}[optimizer], optimizer)
    history = fit(network(algebra), blobs(), recipe)
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].test_accuracy > 0.8


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("name", ["resnet8", "lenet-300-100"])
def test_one_batch_of_noise_can_be_learned_by_heart(algebra, name):
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (12, 4, 4, 4), dtype=np.uint8), np.arange(12, dtype=np.int64) % 3
    )
    whole = Dataset(
        "noise", split, split, ("a", "b", "c"), lambda x: x.astype(np.float32) / 128 - 1
    )
    history = fit(network(algebra, name), whole, Recipe(120, 12, 0.05, schedule="constant"))
    assert history[-1].train_loss < 0.05
    assert history[-1].train_accuracy == 1


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    states = []
    for seed in (0, 0, 1):
        model = network("quaternion")
        fit(model, blobs(), Recipe(1, 16, 0.05), seed=seed)
        states.append(b"".join(a.tobytes() for a in model.state_dict().values()))
    assert states[0] == states[1] != states[2]


# ---------------------------------------------------------------------------- it counts


class Watched(SGD):
    """An SGD that remembers its learning rates."""

    def step(self, lr):
        rates.append(lr)
        super().step(lr)


rates: list[float] = []


def rates_of(monkeypatch, recipe, dataset=None):
    rates.clear()
    monkeypatch.setattr(Recipe, "make_optimizer", lambda self, m: Watched(m.parameters()))
    fit(network(name="lenet-300-100"), dataset or blobs(), recipe)
    return list(rates)


def test_a_constant_rate(monkeypatch):
    recipe = Recipe(2, 16, 0.01, schedule="constant")
    assert rates_of(monkeypatch, recipe) == [0.01] * 6


def test_a_cosine_over_all_steps(monkeypatch):
    found = rates_of(monkeypatch, Recipe(2, 16, 0.01))
    expected = [0.01 * (1 + math.cos(math.pi * s / 6)) / 2 for s in range(6)]
    assert found == pytest.approx(expected)


def test_steps_at_half_and_three_quarters(monkeypatch):
    found = rates_of(monkeypatch, Recipe(4, 24, 0.01, schedule="step"))
    assert found == pytest.approx([0.01] * 4 + [0.001] * 2 + [0.0001] * 2)


@pytest.mark.parametrize(("warmup", "steps"), [(1, 3), (0.5, 2), (2, 6)])
def test_a_warmup_is_in_epochs(monkeypatch, warmup, steps):
    found = rates_of(monkeypatch, Recipe(3, 16, 0.01, schedule="constant", warmup=warmup))
    rise = [0.01 * (s + 1) / steps for s in range(steps)]
    assert found == pytest.approx(rise + [0.01] * (9 - steps))


@pytest.mark.parametrize(
    ("images", "size", "steps"), [(48, 16, 3), (48, 20, 3), (48, 64, 1), (47, 16, 3), (49, 16, 3)]
)
def test_the_last_batch_has_what_is_left(monkeypatch, images, size, steps):
    """A single image left alone joins the batch before it."""
    recipe = Recipe(1, size, 0.01, schedule="constant")
    assert len(rates_of(monkeypatch, recipe, blobs(images))) == steps


def test_epochs_measure_the_mean_over_images_not_over_batches():
    """With a rate of almost 0 nothing moves: the epoch's numbers are those of the whole set."""
    data, model = blobs(train=40), network(name="lenet-300-100")
    loss, accuracy = evaluate(model, data.train, data)
    (epoch,) = fit(model, data, Recipe(1, 16, 1e-30, momentum=0))
    assert (epoch.train_loss, epoch.train_accuracy) == (pytest.approx(loss, rel=1e-5), accuracy)
    assert epoch.seconds > 0


def test_a_caller_sees_where_training_stands_after_each_step_and_epoch():
    model, recipe = network(name="lenet-300-100"), Recipe(3, 16, 0.01)
    optimizer = recipe.make_optimizer(model)
    seen = [(s.epoch, s.batch) for s in train_steps(model, blobs(), recipe, optimizer)]
    assert seen == [(e + b // 4, b % 4) for e in range(3) for b in (1, 2, 3, 4)]
    assert isinstance(optimizer, SGD)
    assert optimizer.nesterov


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_goes_on_after_its_history_with_the_same_bits(optimizer):
    data, recipe = blobs(), Recipe(4, 16, 0.01, optimizer, warmup=1.0)
    whole = network()
    history = fit(whole, data, recipe)

    first = network()
    once = recipe.make_optimizer(first)
    for half in train_steps(first, data, recipe, once):
        if half.epoch == 2:
            state, memory = first.state_dict(), once.state_dict()
            break
    second = network()
    second.load_state_dict(state)
    again = recipe.make_optimizer(second)
    again.load_state_dict(memory)
    *_, rest = train_steps(second, data, recipe, again, state=half)
    assert [e.test_loss for e in rest.history] == [e.test_loss for e in history]
    for name, a in whole.state_dict().items():
        assert second.state_dict()[name].tobytes() == a.tobytes(), name


# ---------------------------------------------------------------------------- evaluation


class Always(Module):
    """Answers with the first four features: the images carry their own logits."""

    def forward(self, x):
        assert not self.training
        return Tensor(x.data.reshape(len(x), -1)[:, :3])


def logits(n, right):
    """n images whose logits name the label in the first `right` of them."""
    labels = np.arange(n, dtype=np.int64) % 3
    answer = np.where(np.arange(n) < right, labels, (labels + 1) % 3)
    images = np.zeros((n, 1, 1, 3), np.uint8)
    images[np.arange(n), 0, 0, answer] = 1
    return Split(images, labels)


@pytest.mark.parametrize("size", [1, 3, 7, 10, 100])
@pytest.mark.parametrize("right", [0, 4, 10])
def test_it_counts_right_in_batches_of_any_size(size, right):
    split = logits(10, right)
    data = Dataset("logits", split, split, ("a", "b", "c"), lambda x: x.astype(np.float32))
    loss, accuracy = evaluate(Always(), split, data, size)
    e = math.e
    good, bad = math.log((e + 2) / e), math.log(e + 2)
    assert accuracy == right / 10
    assert loss == pytest.approx((right * good + (10 - right) * bad) / 10)


def test_the_first_of_equal_logits_is_the_answer():
    logits, sums = np.array([[1, 1], [1, 1], [0, 2]], np.float32), np.zeros(2)
    kernel("accumulate_metrics")(sums, logits, np.array([0, 1, 1]), np.float32(0.5))
    assert sums.tolist() == [1.5, 2]


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_changes_nothing_of_the_network(training):
    model, data = network("quaternion"), blobs()
    fit(model, data, Recipe(1, 16, 0.05))
    model.train(training)
    before = {name: a.tobytes() for name, a in model.state_dict().items()}
    first = evaluate(model, data.test, data)
    assert {name: a.tobytes() for name, a in model.state_dict().items()} == before
    assert model.training == model.bn.training == training
    assert evaluate(model, data.test, data, batch_size=7) == pytest.approx(first)
    assert all(p.grad is None or p.grad.any() for p in model.parameters())


def test_evaluation_leaves_each_module_in_its_mode():
    model, data = network(), blobs()
    model.bn.eval()  # as whoever freezes its statistics
    evaluate(model, data.test, data)
    assert model.training
    assert not model.bn.training


def test_an_image_is_judged_alone_not_by_its_neighbours():
    """Running statistics, not those of the batch: the answer is the same in any company."""
    model, data = network("quaternion"), blobs()
    fit(model, data, Recipe(2, 16, 0.05))
    model.eval()
    x = data.encode(data.test.images)
    with no_grad():
        together, alone = model(Tensor(x)).data, model(Tensor(x[:1])).data
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------- errors


def test_advice_on_memory_changes_nothing_of_the_network(monkeypatch):
    """The batches that are tried after a MemoryError move no running statistics."""
    model, recipe = network("quaternion"), Recipe(1, 16, 0.05)
    images = np.random.default_rng(0).standard_normal((16, 4, 4, 4)).astype(np.float32)
    before = {name: a.tobytes() for name, a in model.state_dict().items()}

    def full(step, *args):
        raise MemoryError("Out of memory.")

    monkeypatch.setattr(TrainStep, "eager", full)
    with pytest.raises(MemoryError, match=r"Out of memory\. A batch of 8 fits\."):
        TrainStep(model, recipe.make_optimizer(model))(images, np.zeros(16, np.int64), 0.1)
    assert {name: a.tobytes() for name, a in model.state_dict().items()} == before
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("lr", [1e10, 1e30, 1e300])
def test_a_training_that_diverges_says_so_and_nothing_else(algebra, lr):
    """Warnings are errors in these tests: NumPy's about overflow would be seen."""
    with pytest.raises(RunError, match=r"training diverged: .* epoch 1, by step .*smaller `lr`"):
        fit(network(algebra, "lenet-300-100"), blobs(), Recipe(3, 16, lr, schedule="constant"))


def test_weights_that_the_last_step_spoils_are_noticed():
    """One step in all: its loss was finite, but what it left is not."""
    model = network(name="lenet-300-100")
    with pytest.raises(RunError, match="diverged"):
        fit(model, blobs(), Recipe(1, 48, 1e300, schedule="constant"))


@pytest.mark.parametrize("change", [
    {"epochs": 0}, {"epochs": -1}, {"batch_size": 0}, {"lr": 0}, {"lr": -1}, {"lr": math.nan},
    {"lr": math.inf}, {"warmup": -1}, {"warmup": 9}, {"warmup": math.nan}, {"warmup": math.inf},
    {"weight_decay": -1e-9}, {"weight_decay": math.nan}, {"weight_decay": math.inf},
    {"momentum": 1}, {"momentum": -0.1}, {"momentum": math.nan},
    {"schedule": "linear"}, {"optimizer": "lion"},
], ids=str)  # fmt: skip
def test_an_impossible_recipe_is_refused_at_once(change):
    ((name, value),) = change.items()
    with pytest.raises(OptionError, match=f"{name}.*{value}"):
        Recipe(**({"epochs": 1, "batch_size": 8, "lr": 0.1} | change))


def test_what_a_recipe_makes():
    model = network()
    plain = Recipe(1, 8, 0.1, momentum=0, weight_decay=0.5).make_optimizer(model)
    assert isinstance(plain, SGD)
    assert (plain.momentum, plain.nesterov, plain.weight_decay) == (0, False, 0.5)
    adam = Recipe(1, 8, 0.1, "adam", weight_decay=0.5).make_optimizer(model)
    assert isinstance(adam, Adam)
    assert (adam.weight_decay, adam.decoupled) == (0.5, False)


# ---------------------------------------------------------------------------- the rungs


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_the_fast_rung_trains_along_the_same_curve_as_the_reference(algebra):
    """Winograd and eight products included: their rounding errors do not add up to another one."""
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((8, 8, 8, 4), np.float32) for _ in range(8)]
    labels = [rng.integers(0, 4, 8) for _ in images]

    def losses(rung):
        with use_kernels(rung):
            model = models.create("resnet8", algebra, 4, width=64, seed=1)
            optimizer, found = SGD(model.parameters(), 0.9, nesterov=True), []
            for x, y in zip(images, labels, strict=True):
                loss = cross_entropy(model(Tensor(x)), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step(0.01)
                found.append(loss.item())
        return found

    np.testing.assert_allclose(losses("numba_cpu"), losses("reference"), rtol=2e-3)
