"""A step repeated from a record gives the bits of one that is not, or there is no record."""

import threading
from collections import namedtuple
from contextlib import nullcontext

import numpy as np
import pytest

from quatgrad import calls, ops, use_backend, use_kernels
from quatgrad.errors import DataError
from quatgrad.kernels.numba_cpu.machine.arena import Arena
from quatgrad.kernels.numba_cpu.machine.recorder import Recorder
from quatgrad.models import create
from quatgrad.nn import BatchNorm2d, Dropout, Flatten, LayerNorm, Linear, Module, ReLU, Sequential
from quatgrad.optim import SGD, Adam
from quatgrad.parallel.processes import ALONE, Several, use_processes
from quatgrad.step_calls import is_ours
from quatgrad.task import Classes, Text
from quatgrad.train import Recipe, TrainStep

CLASSES = 5
Pair = namedtuple("Pair", "a b")


@pytest.fixture(autouse=True)
def _compiled_kernels():
    with use_backend("numba"):
        yield


def batches(count, size=(8, 8), n=6):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.standard_normal((n, *size, 4)).astype(np.float32), rng.integers(0, CLASSES, n)


def step_of(model, recorded=True, recipe=None, optimizer=None):
    """A step, and one that makes no record."""
    optimizer = optimizer or SGD(model.parameters(), 0.9, True, 1e-3)
    step = TrainStep(model, optimizer, recipe)
    step.calls.enabled &= recorded
    return step


def state(step):
    gradients = [p.grad for p in step.model.parameters()]
    return [a.tobytes() for a in (*step.model.state_dict().values(), *gradients, step.sums)]


def both(make, count=8, rate=0.01, size=(8, 8), n=6, **options):
    """The step with a record and its state, after it went the same way as one without."""
    steps = [step_of(make(), recorded, **options) for recorded in (True, False)]
    for t, (x, y) in enumerate(batches(count, size, n)):
        for step in steps:
            step(x, y, rate * (1 + t % 3))
        assert state(steps[0]) == state(steps[1]), f"step {t}"
    return steps[0]


def records(step):
    return [r for r in step.calls.recorded.values() if r and r.was_tried]


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize(
    ("name", "width", "size", "n"),
    [
        ("lenet-300-100", 300, (8, 8), 60),
        ("lenet-300-100", 1200, (16, 16), 64),
        ("conv-2", 64, (8, 8), 6),
        ("conv-2", 16, (32, 32), 33),
        ("resnet8", 8, (8, 8), 6),
        ("resnet8", 32, (16, 16), 31),
        ("resnet8", 128, (8, 8), 3),
        ("resnet50", 8, (8, 8), 4),
    ],
)
def test_all_bits_are_those_of_a_step_without_record(name, algebra, width, size, n):
    make = lambda: create(name, algebra, CLASSES, 4, width, image_size=size)  # noqa: E731
    assert records(both(make, size=size, n=n))


@pytest.mark.parametrize("activation", ["relu", "modrelu", "gelu"])
@pytest.mark.parametrize("norm", ["batch", "variance", "whitening"])
def test_of_layers_that_compute_in_numpy_too(norm, activation):
    options = {"norm": norm, "activation": activation, "image_size": (8, 8)}
    step = both(lambda: create("resnet8", "quaternion", CLASSES, 4, 8, **options))
    assert records(step) or norm != "batch"  # the others read the statistics of a batch


def test_adam_smoothing_and_clipping_are_outside_of_the_record():
    make = lambda: create("lenet-300-100", "quaternion", CLASSES, 4, 36, image_size=(8, 8))  # noqa: E731
    recipe = Recipe(1, 6, 0.1, label_smoothing=0.1, clip=0.5)
    assert records(both(make, recipe=recipe))
    steps = []
    for recorded in (True, False):
        model = make()
        steps.append(step_of(model, recorded, optimizer=Adam(model.parameters())))
    for x, y in batches(9):
        for step in steps:
            step(x, y, 0.01)
        assert state(steps[0]) == state(steps[1])
    assert records(steps[0])


def test_of_a_norm_whose_gradient_comes_as_a_view():
    def make():
        return Sequential(LayerNorm(4), create("fcn", "real", CLASSES, 4, 8, image_size=(12, 1)))

    assert records(both(make, size=(12, 1)))


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_of_texts(algebra):
    """A network with attention; numbers of characters are checked from the record, too."""
    T, recipe = 9, Recipe(1, 6, 0.01, optimizer="adamw", clip=1.0)
    steps = []
    for recorded in (True, False):
        net = create("gpt", algebra, 20, 1, 32, image_size=(1, T))
        steps.append(TrainStep(net, recipe.make_optimizer(net), recipe, Text(T)))
        steps[-1].calls.enabled &= recorded
    rng = np.random.default_rng(0)
    for _ in range(7):
        x = rng.integers(0, 20, (6, T + 1))
        for step in steps:
            step(x, np.zeros(6, np.int64), 0.01)
        assert state(steps[0]) == state(steps[1])
    assert records(steps[0])
    x[2, 3] = 20
    with pytest.raises(DataError, match=r"token 20 at \(2, 3\)"):
        steps[0](x, np.zeros(6, np.int64), 0.01)


class Own(Module):
    """One layer and what `between` does to its output."""

    def __init__(self, between):
        self.layer, self.head = Linear(4 * 64, 12, rng=0), Linear(12, CLASSES, rng=1)
        self.between, self.calls = between, 0

    def forward(self, x):
        self.calls += 1
        return self.head(self.between(self, self.layer(x.reshape(len(x), -1)).relu()))


def counted(net, h):
    return h * float(net.calls)


def branches(net, h):
    return h * 2.0 if h.data.mean() > 0.45 else h


def of_python(net, h):
    return ops.tanh(h) * 0.5 + h.exp().sum(axis=1, keepdims=True) ** 0.5


@pytest.mark.parametrize("between", [of_python, counted, branches])
def test_a_network_of_ones_own_is_not_recorded(between):
    assert not both(lambda: Own(between)).calls.enabled


@pytest.mark.parametrize(("between", "is_recorded"), [(of_python, 1), (counted, 0), (branches, 0)])
def test_nor_would_it_be_if_it_did_not_do_the_same_twice(between, is_recorded, monkeypatch):
    monkeypatch.setattr("quatgrad.step_calls.is_ours", lambda model: True)
    step = both(lambda: Own(between))
    assert len(records(step)) == is_recorded
    assert step.calls.enabled == bool(is_recorded)


def test_who_is_ours():
    layers = lambda *more: Sequential(Flatten(), Linear(256, 12, rng=0), *more)  # noqa: E731
    assert is_ours(layers(ReLU(), Linear(12, CLASSES, rng=1)))
    assert not is_ours(layers(Own(counted)))
    assert not is_ours(layers(lambda x: x * 2.0))
    own = layers()
    own.between = counted
    assert not is_ours(own)
    assert records(both(lambda: layers(ReLU(), Linear(12, CLASSES, rng=1))))


def test_a_network_that_drops_entries_is_not_and_draws_what_it_would_have_drawn():
    def make():
        layers = Linear(256, 12, rng=0), Dropout(0.3, rng=3), Linear(12, CLASSES, rng=1)
        return Sequential(Flatten(), *layers)

    step = both(make)
    assert not step.calls.enabled
    assert step.model.modules[2].draws.item() == 8


def test_a_mask_that_changes_is_seen():
    def make():
        return create("lenet-300-100", "real", CLASSES, 4, 20, image_size=(8, 8))

    steps = [step_of(make(), recorded) for recorded in (True, False)]
    for t, (x, y) in enumerate(batches(14)):
        for step in steps:
            if t in (0, 6):
                for p in step.model.parameters():
                    mask = np.random.default_rng(t).random(p.shape) < 0.5
                    p.constraint = lambda a, mask=mask: np.multiply(a, mask, out=a)
            if t == 10:
                step.model.parameters()[0].requires_grad = False
            step(x, y, 0.1)
        assert [a.tobytes() for a in steps[0].model.state_dict().values()] == [
            a.tobytes() for a in steps[1].model.state_dict().values()
        ]
    assert records(steps[0])


def test_a_part_in_another_mode_is_seen():
    """A norm that is fixed after some steps, as where a network is tuned for another task."""
    steps = [
        step_of(create("resnet8", "real", CLASSES, 4, 8, image_size=(8, 8)), recorded)
        for recorded in (True, False)
    ]
    for t, (x, y) in enumerate(batches(12)):
        for step in steps:
            if t == 6:
                assert records(steps[0])
                next(m for _, m in step.model.named_modules() if isinstance(m, BatchNorm2d)).eval()
            step(x, y, 0.01)
        assert state(steps[0]) == state(steps[1])


def test_each_shape_has_a_record_of_its_own():
    steps = [
        step_of(create("resnet8", "quaternion", CLASSES, 4, 8, image_size=(8, 8)), recorded)
        for recorded in (True, False)
    ]
    for _ in range(5):
        for n in (6, 6, 4):
            x, y = next(batches(1, n=n))
            for step in steps:
                step(x, y, 0.01)
            assert state(steps[0]) == state(steps[1])
    assert len(records(steps[0])) == 2


class OneOfOne(Several):
    """One process that sums as many do."""

    def gather(self, a):
        return a[None].copy()


def test_each_of_several_processes_records_its_part_and_sums_go_on():
    def trained(group, recorded=True):
        with use_processes(group):
            net = create("resnet8", "quaternion", CLASSES, 4, 8, image_size=(8, 8))
            step = step_of(net, recorded)
            for x, y in batches(9):
                step(x, y, 0.01, group.share(len(x)))
            return step

    step = trained(OneOfOne(1, 0, False))
    assert records(step)
    assert state(step) == state(trained(OneOfOne(1, 0, False), recorded=False))
    assert state(step) == state(trained(ALONE))
    assert not trained(OneOfOne(1, 0, True)).calls.enabled  # norms talk in the middle


def test_a_label_that_is_no_class_is_found_in_a_repeated_step():
    step = step_of(create("lenet-300-100", "real", CLASSES, 4, 20, image_size=(8, 8)))
    for x, y in batches(6):
        step(x, y, 0.1)
    assert records(step)
    with pytest.raises(DataError, match=r"label 5 at position 0 is out of range"):
        step(x, np.full_like(y, CLASSES), 0.1)


def test_there_is_no_record_on_another_rung_or_backend_or_of_another_task():
    class Other(Classes):
        pass

    model = create("lenet-300-100", "real", CLASSES, 4, 20, image_size=(8, 8))
    with use_backend("numpy"):
        assert not TrainStep(model, SGD(model.parameters())).calls.enabled
    assert not TrainStep(model, SGD(model.parameters()), task=Other()).calls.enabled
    step = step_of(model)
    with use_kernels("reference"):
        for x, y in batches(5):
            step(x, y, 0.1)
    assert not step.calls.recorded


def test_a_step_of_much_memory_is_not_recorded(monkeypatch):
    for name in ("LARGEST", "SMALLEST"):
        monkeypatch.setattr(f"quatgrad.kernels.numba_cpu.machine.arena.{name}", 1 << 20)
    make = lambda: create("resnet8", "real", CLASSES, 4, 16, image_size=(32, 32))  # noqa: E731
    step = both(make, size=(32, 32), n=16)
    assert not step.calls.enabled
    assert step.calls.arena is None


def test_what_other_threads_compute_meanwhile_is_not_noted():
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    expected, stop, wrong = ops.matmul(w, w).numpy(), threading.Event(), []

    def work():
        with use_backend("numba"):
            while not stop.is_set():
                wrong.extend([1] * (not np.array_equal(ops.matmul(w, w).numpy(), expected)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        step = both(lambda: create("resnet8", "real", CLASSES, 4, 8, image_size=(8, 8)), 30)
    finally:
        stop.set()
        thread.join()
    assert records(step)
    assert not wrong


@pytest.mark.parametrize(
    ("f", "gives"), [(np.sum, ""), (len, "int"), (lambda a: Pair(a, a), "Pair")]
)
def test_what_is_no_array_cannot_be_repeated(f, gives):
    recorder, a = Recorder(Arena()), np.ones(1, np.float32)
    recorder.run(lambda: calls.call(f, a))
    assert recorder.refused.endswith(f"gives a {gives}" if gives else "")
    assert bool(recorder.refused) == bool(gives)


def test_an_interrupted_record_leaves_nothing_behind(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    step = step_of(create("resnet8", "real", CLASSES, 4, 8, image_size=(8, 8)))
    for t, (x, y) in enumerate(batches(9)):
        with monkeypatch.context() as m:
            if t == 2:
                m.setattr("quatgrad.task.cross_entropy", interrupted)
            with pytest.raises(KeyboardInterrupt) if t == 2 else nullcontext():
                step(x, y, 0.1)
    assert calls.recorder is calls.memory is None
    assert records(step)
