"""Flat parameters step as they do apart, through pruning, rewinding and checkpoints."""

import numpy as np
import pytest

from quatgrad import Tensor, models, optim
from quatgrad.autograd import Parameter
from quatgrad.flat_parameters import ALIGN, FlatParameters
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD

X = np.random.default_rng(0).standard_normal((4, 8, 8, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3])


@pytest.fixture(params=[False, True], ids=["apart", "flat"])
def flat(request, monkeypatch):
    """Optimizers use flat parameters, on the CPU too, or do not."""
    if request.param:
        monkeypatch.setattr(optim, "get_backend", lambda: "cupy")
    return request.param


def network(algebra="quaternion"):
    return models.create("resnet8", algebra, num_classes=4, image_size=(8, 8), width=8)


def sgd(net):
    return SGD(net.parameters(), 0.9, nesterov=True, weight_decay=1e-2)


def step(net, optimizer, lr=0.1):
    optimizer.zero_grad()
    cross_entropy(net(Tensor(X)), LABELS).backward()
    optimizer.step(lr)


def prune(net, seed):
    for w in dict(net.weight_parameters()).values():
        set_mask(w, np.random.default_rng(seed).random(w.shape) < 0.5)


def life(net):
    """Steps, pruning half way, a checkpoint, and the state of network and optimizer after it."""
    optimizer = sgd(net)
    step(net, optimizer)
    prune(net, 1)
    step(net, optimizer)
    start = net.state_dict()
    memory = optimizer.state_dict()
    step(net, optimizer)
    net.load_state_dict(start)
    optimizer.load_state_dict(memory)
    step(net, optimizer)
    optimizer = sgd(net)  # a new one for parameters that live in the old one's memory
    step(net, optimizer)
    step(net, optimizer, lr=float("inf"))
    return net, optimizer, net.state_dict() | optimizer.state_dict()


def test_the_same_bits_as_apart(monkeypatch):
    with np.errstate(invalid="ignore", over="ignore"):
        _, _, apart = life(network())
        monkeypatch.setattr(optim, "get_backend", lambda: "cupy")
        _, _, together = life(network())
    assert apart.keys() == together.keys()
    for name, a in apart.items():
        np.testing.assert_array_equal(a, together[name], err_msg=name)


def test_pruned_entries_stay_zero(flat):
    net = network()
    prune(net, 0)
    optimizer = sgd(net)
    for _ in range(2):
        step(net, optimizer)
    for name, w in net.weight_parameters():
        gone = ~mask_of(w)
        assert gone.any(), name
        for a in (w.data, w.grad):
            assert not a[gone].view(np.uint32).any(), name  # not even -0
    with np.errstate(invalid="ignore"):
        step(net, optimizer, lr=float("nan"))
    assert all((w.data[~mask_of(w)] == 0).all() for _, w in net.weight_parameters())


def test_memory_that_was_left_is_not_written(flat):
    """The optimizer of the last level does not step on what is no longer in its memory."""
    net = network()
    old, new = sgd(net), sgd(net)
    for optimizer in (old, new, old):
        step(net, optimizer)
    before = net.state_dict()
    optimizer.step(0.1)
    assert any((a != before[name]).any() for name, a in net.state_dict().items())


def test_places_are_aligned_and_overwriting_is_noticed():
    parameters = [Parameter(np.ones(n, np.float32)) for n in (3, 70, 1)]
    for p in parameters:
        p.grad = 2 * p.data
    state = [{} for _ in parameters]
    flat = FlatParameters(parameters, state)
    assert flat.w.size == 4 * ALIGN
    np.testing.assert_array_equal(flat.w[: ALIGN + 1], [1] * 3 + [0] * (ALIGN - 3) + [1])
    np.testing.assert_array_equal(parameters[1].grad, 2)
    assert flat.is_valid(parameters, state)
    set_mask(parameters[2], np.zeros(1, bool))
    assert not flat.is_valid(parameters, state)


def test_without_all_gradients_each_steps_by_itself(flat):
    used, unused = Parameter([1.0]), Parameter([1.0])
    optimizer = SGD([used, unused], 0.9)
    (used * used).backward()
    optimizer.step(0.1)
    assert optimizer.flat is None
    assert (used.item(), unused.item()) == (pytest.approx(0.8), 1)
