"""A recorded training step does what the eager one does, and what cannot be recorded is noticed."""

import copy

import cupy_on_cpu
import numpy as np
import pytest

from quatgrad import models, nn, use_backend
from quatgrad.arrays import asarray, to_numpy
from quatgrad.errors import BackendError
from quatgrad.kernels.cupy_gpu.graph import Graph
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.optim import SGD, Adam
from quatgrad.parallel.processes import Processes, use_processes
from quatgrad.step_graphs import StepGraphs
from quatgrad.train import Recipe, TrainStep


def network(name, algebra):
    sizes = {"image_size": (8, 8), "width": 12 if "lenet" in name else 8}
    return models.create(name, algebra, num_classes=4, **sizes)


def batches(sizes):
    rng = np.random.default_rng(0)
    for n in sizes:
        yield rng.standard_normal((n, 8, 8, 4)).astype(np.float32), rng.integers(0, 4, n)


def trained(net, sizes, make=None, recipe=None):
    """State, sums and recorded shapes after steps with batches of these sizes, rates that fall."""
    weights = dict(net.weight_parameters())
    for w in weights.values():
        set_mask(w, np.random.default_rng(1).random(w.shape) < 0.5)
    make = make or (lambda parameters: SGD(parameters, 0.9, nesterov=True, weight_decay=1e-3))
    step = TrainStep(net, make(net.parameters()), recipe)
    for k, (images, labels) in enumerate(batches(sizes)):
        step(images, labels, 0.1 / (1 + k))
    return net.state_dict(), step.take(), [s[0] for s, r in step.graphs.recorded.items() if r]


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["resnet8", "conv-2", "lenet-300-100"])
def test_recorded_steps_are_eager_steps(solved, name, algebra, monkeypatch):
    sizes = [4, 4, 4, 3, 4, 3, 4]  # a last batch is smaller, and a new epoch begins
    state, sums, recorded = trained(network(name, algebra), sizes)
    assert recorded == [4, 3]
    with monkeypatch.context() as m:
        m.setattr(StepGraphs, "_record", lambda *args: None)
        eager, eager_sums, nothing = trained(network(name, algebra), sizes)
    assert not nothing
    assert sums == eager_sums
    for key, array in state.items():
        assert array.tobytes() == eager[key].tobytes(), key
    with use_backend("numpy"):
        expected, expected_sums, _ = trained(network(name, algebra), sizes)
    assert sums == pytest.approx(expected_sums, rel=1e-4)
    for key, array in state.items():
        np.testing.assert_allclose(array, expected[key], rtol=0, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_a_step_with_clipping_is_recorded_too(solved, clip, monkeypatch):
    recipe, sizes = Recipe(1, 4, 0.1, clip=clip), [4, 4, 4, 4]
    state, _, recorded = trained(network("conv-2", "quaternion"), sizes, recipe=recipe)
    assert recorded == [4]
    free, _, _ = trained(network("conv-2", "quaternion"), sizes)
    same = all(a.tobytes() == free[key].tobytes() for key, a in state.items())
    assert same == (clip == 1e6)
    with monkeypatch.context() as m:
        m.setattr(StepGraphs, "_record", lambda *args: None)
        eager, _, _ = trained(network("conv-2", "quaternion"), sizes, recipe=recipe)
    for key, array in state.items():
        assert array.tobytes() == eager[key].tobytes(), key
    with use_backend("numpy"):
        expected, _, _ = trained(network("conv-2", "quaternion"), sizes, recipe=recipe)
    for key, array in state.items():
        np.testing.assert_allclose(array, expected[key], rtol=0, atol=1e-4, err_msg=key)


def test_a_recorded_step_waits_for_nothing(solved):
    net = network("resnet8", "quaternion")
    step = TrainStep(net, SGD(net.parameters(), 0.9))
    given = list(batches([4] * 4))
    for images, labels in given[:2]:
        step(images, labels, 0.1)
    with cupy_on_cpu.counted() as counts:
        for images, labels in given[2:]:
            step(images, labels, 0.1)
    assert counts["to_host"] == 0
    assert counts["to_device"] == 4
    assert counts["kernel sgd_masked"] == 2


def test_a_graph_does_not_outlive_its_masks(solved):
    net = network("conv-2", "quaternion")
    step = TrainStep(net, SGD(net.parameters(), 0.9, nesterov=True))
    given = list(batches([4] * 6))
    for images, labels in given[:3]:
        step(images, labels, 0.1)
    first = next(iter(step.graphs.recorded.values()))
    w = dict(net.weight_parameters())["2.weight"]
    set_mask(w, np.random.default_rng(1).random(w.shape) < 0.5)
    for images, labels in given[3:]:
        step(images, labels, 0.1)
        assert (to_numpy(w.data) == 0)[~to_numpy(mask_of(w))].all()
    assert next(iter(step.graphs.recorded.values())) not in (None, first)


def freeze(net, on):
    for p in net.modules[2].parameters():
        p.requires_grad = not on


CHANGES = {
    "frozen": [lambda net: freeze(net, True)],
    "frozen, then not": [lambda net: freeze(net, True), lambda net: freeze(net, False)],
    "frozen, then masked": [
        lambda net: freeze(net, True),
        lambda net: set_mask(net.modules[4].weight, np.arange(16).reshape(4, 4) % 3 > 0),
    ],
    "a norm that is fixed": [lambda net: net.modules[3].eval()],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_changes_between_steps_is_seen(solved, changes, monkeypatch):
    """Which layers learn, in which mode they are, and a mask where not all of them learn."""

    def steps():
        rng = np.random.default_rng(0)
        layers = nn.Linear(4, 4, rng=rng), nn.BatchNorm2d(4), nn.Linear(4, 4, rng=rng)
        net = nn.Sequential(nn.Conv2d(4, 4, 3, rng=rng), nn.GlobalAvgPool2d(), *layers)
        step = TrainStep(net, SGD(net.parameters(), 0.9))
        for change in [lambda net: None, *changes]:
            change(net)
            for images, labels in batches([4] * 5):
                step(images, labels, 0.1)
        return net.state_dict(), [r for r in step.graphs.recorded.values() if r]

    state, recorded = steps()
    assert recorded
    monkeypatch.setattr(StepGraphs, "_record", lambda *args: None)
    for key, array in steps()[0].items():
        assert array.tobytes() == state[key].tobytes(), key


def test_a_copy_of_weights_and_optimizer_goes_on(solved):
    """The memory in which all weights lie is one array no longer."""
    net = network("conv-2", "real")
    step = TrainStep(net, SGD(net.parameters(), 0.9))
    given = list(batches([4] * 3))
    step(*given[0], 0.1)
    twin, optimizer = copy.deepcopy((net, step.optimizer))
    again = TrainStep(twin, optimizer)
    for images, labels in given[1:]:
        step(images, labels, 0.1)
        again(images, labels, 0.1)
    for key, array in net.state_dict().items():
        assert array.tobytes() == twin.state_dict()[key].tobytes(), key


def test_recording_computes_nothing(stand_in):
    x = asarray(np.arange(3.0))
    y = asarray(np.zeros(3))

    def f():
        y[...] = 2 * x
        return y + 1

    graph = Graph(f)
    np.testing.assert_array_equal(y.get(), 0)
    np.testing.assert_array_equal(graph().get(), [1, 3, 5])
    x[...] = 1
    graph()
    np.testing.assert_array_equal(graph.result.get(), 3)


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (nn.Dropout, (0.5,), "StreamCaptureUnsupported"),  # draws random numbers
        (nn.Conv2d, (4, 4, 3, 1, 1, True, 1, 1, "reflect"), "bytes from the host"),  # indices
    ],
)
def test_what_cannot_be_recorded_stays_eager(solved, capsys, make, options, reason):
    layer = make(*options, rng=np.random.default_rng(0))
    net = nn.Sequential(layer, network("conv-2", "real"))
    state, _, recorded = trained(net, [4, 4, 4])
    assert not recorded
    assert all(np.isfinite(a).all() for a in state.values())
    said = capsys.readouterr().err
    assert said.count("is no CUDA graph") == 1
    assert reason in said


def test_without_cudnn_cublas_stays_eager(stand_in, capsys):
    _, _, recorded = trained(network("lenet-300-100", "real"), [4, 4, 4])
    assert not recorded
    assert "during stream capture" in capsys.readouterr().err


def test_too_little_memory_for_a_graph_stays_eager(solved, monkeypatch, capsys):
    def begin_capture(stream):
        raise cupy_on_cpu.OutOfMemoryError("Out of memory allocating 12,345 bytes")

    monkeypatch.setattr(cupy_on_cpu.Stream, "begin_capture", begin_capture)
    assert not trained(network("conv-2", "real"), [4, 4, 4])[2]
    assert "no CUDA graph (Out of memory allocating 12,345 bytes)" in capsys.readouterr().err


def test_where_another_gpu_could_not_record_none_has_a_graph(solved, capsys):
    class Other(Processes):
        def agree(self, ready):
            assert ready
            return False

    with use_processes(Other()):
        assert not trained(network("conv-2", "real"), [4, 4, 4])[2]
    assert "no CUDA graph (another GPU could not record it)" in capsys.readouterr().err


def test_adam_counts_on_the_host_and_stays_eager(solved):
    assert not trained(network("conv-2", "real"), [4, 4, 4], Adam)[2]


def test_after_a_failure_the_device_is_as_before(stand_in):
    with pytest.raises(BackendError, match="8 bytes from the host cannot be part of a CUDA graph"):
        Graph(lambda: stand_in.asarray(np.ones(1)))
    assert stand_in.asarray(np.ones(1)).item() == 1
    assert Graph(lambda: stand_in.zeros(1))().get() == 0


def test_sums_on_any_backend():
    with use_backend("numpy"):
        net = network("conv-2", "real")
        for p in net.parameters():
            p.data = np.zeros_like(p.data)  # no class is ahead: argmax is 0, and the loss ln 4
        step = TrainStep(net, SGD(net.parameters()))
        assert step.take() == (0, 0)
        ((images, _),) = batches([4])
        step(images, np.array([0, 1, 0, 2]), 0.1)
        assert step.take() == (pytest.approx(4 * np.log(4), rel=1e-6), 2)
        assert step.take() == (0, 0)
