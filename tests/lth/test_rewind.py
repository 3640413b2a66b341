"""Rewinding, and its invariants one by one; known bugs in whole searches: test_known_bugs.py."""

from importlib import import_module

import numpy as np
import pytest
from tiny_runs import RECIPE, dataset, dense_ticket, lenet, network, random_masks

from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import InvariantError
from quatgrad.kernels.registry import kernel
from quatgrad.lth import Ticket, check_pruned, check_start, rewind
from quatgrad.lth.prune.rule import Rule
from quatgrad.lth.store import files
from quatgrad.lth.ticket.checks import check_pruning, check_unchanged
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD, Adam, Optimizer
from quatgrad.train import train

SEARCH = import_module("quatgrad.lth.search.search")  # quatgrad.lth.search is the function
ALGEBRAS = ["real", "quaternion"]


@pytest.fixture(params=ALGEBRAS)
def model(request):
    return network(request.param)


@pytest.fixture
def ticket(model):
    """Half of the weights, and the state of the new network."""
    return Ticket(random_masks(model), model.state_dict())


def trained(model, epochs=1):
    train(model, dataset(), RECIPE, progress=False)


# ---------------------------------------------------------------------------- rewinding


def test_the_state_is_mask_times_rewind_state_bit_for_bit(model, ticket):
    trained(model)
    moved = [n for n, a in model.state_dict().items() if not np.array_equal(a, ticket.state[n])]
    assert len(moved) == len(ticket.state)  # training moved everything, statistics too
    rewind(model, ticket)
    for name, a in model.state_dict().items():
        expected = ticket.state[name].copy()
        if name in ticket.masks:
            expected[~ticket.masks[name]] = 0
        assert a.tobytes() == expected.tobytes(), name
    check_start(model, ticket)


def test_biases_and_batch_norm_are_in_the_state_and_unmasked(model, ticket):
    kinds = {name.rpartition(".")[2] for name in ticket.state.keys() - ticket.masks.keys()}
    assert kinds == {"scale", "shift", "running_mean", "running_var", "bias"}
    rewind(model, ticket)
    assert all(mask_of(p) is None for n, p in model.named_parameters() if n not in ticket.masks)


def test_rewinding_again_and_again_gives_the_same(model, ticket):
    """The library bug: exact the first time, trained weights the second (an aliased state)."""
    digest, found = ticket.digest(), set()
    for _ in range(3):
        trained(model)
        rewind(model, ticket)
        found.add(files.digest(model.state_dict()))
    assert len(found) == 1
    assert ticket.digest() == digest


def test_a_wider_mask_revives_weights_from_the_state(model, ticket):
    """Rewinding to an earlier ticket after a later one: nothing of the later one remains."""
    rewind(model, ticket)
    dense = dense_ticket(network("real" if model.stem.weight.components == 1 else "quaternion"))
    rewind(model, dense)
    check_start(model, dense)
    assert files.digest(model.state_dict()) == files.digest(dense.state)


def test_gradients_are_forgotten(model, ticket):
    for p in model.parameters():
        p.grad = np.ones_like(p.data)
    rewind(model, ticket)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("make", [
    lambda p: SGD(p, 0.9, True, 0.1),
    lambda p: SGD(p, 0.9, False, 0.1),
    lambda p: Adam(p, weight_decay=0.1),
    lambda p: Adam(p, weight_decay=0.1, decoupled=True),
])  # fmt: skip
def test_pruned_weights_gradients_and_momenta_stay_exactly_0(model, ticket, make):
    rewind(model, ticket)
    optimizer = make(model.parameters())
    for step in range(4):
        one_step(model, optimizer, seed=step)
        check_pruned(model, ticket, optimizer)
    for name, p in model.weight_parameters():
        assert not p.data[~ticket.masks[name]].any()
        assert p.data[ticket.masks[name]].any()


def one_step(model, optimizer, seed=0, lr=0.1):
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(6, 4, 4, 4)).astype(np.float32))
    optimizer.zero_grad()
    cross_entropy(model(x), np.arange(6) % 3).backward()
    optimizer.step(lr)


# ------------------------------------------------------- known bugs, caught in the network


def caught(match):
    return pytest.raises(InvariantError, match=match)


def around_the_door(monkeypatch):
    """Writes that do not know of masks, as in every optimizer that was not written for pruning."""
    monkeypatch.setattr(Parameter, "update", Tensor.update)
    monkeypatch.setattr(SGD, "step", Optimizer.step)
    monkeypatch.setattr(SGD, "rule", plain_rule, raising=False)


def plain_rule(self, w, g, state, lr):
    v = state["velocity"]
    kernel("sgd")(w, g, v, lr, self.momentum, self.nesterov, self.weight_decay)


def test_momentum_of_the_level_before_revives_pruned_weights(model, ticket, monkeypatch):
    optimizer = SGD(model.parameters(), 0.9, True)
    one_step(model, optimizer)
    rewind(model, ticket)  # and the optimizer is kept: the bug
    around_the_door(monkeypatch)
    optimizer.step(0.1)
    for p in model.parameters():
        p.grad = np.zeros_like(p.data)
    optimizer.step(0.1)
    with caught("a value that is not 0"):
        check_pruned(model, ticket)


def test_momentum_that_survives_is_seen_even_while_the_weight_is_0(model, ticket):
    optimizer = SGD(model.parameters(), 0.9, True)
    one_step(model, optimizer)
    rewind(model, ticket)
    with caught("a velocity that is not 0"):
        check_pruned(model, ticket, optimizer)


def test_the_second_moment_of_adam_is_looked_at_too(model, ticket):
    optimizer = Adam(model.parameters())
    one_step(model, optimizer)
    for state in optimizer.state:
        state["m"][...] = 0
    rewind(model, ticket)
    with caught("a v that is not 0"):
        check_pruned(model, ticket, optimizer)


def test_weight_decay_towards_the_first_weights_revives_pruned_ones(model, ticket, monkeypatch):
    """Decay of w - w0: a pruned weight, at 0, is pulled back to w0."""
    rewind(model, ticket)
    around_the_door(monkeypatch)
    for name, p in model.weight_parameters():
        p.update(lambda w, name=name: w.__isub__(0.1 * (w - ticket.state[name])))
    with caught("a value that is not 0"):
        check_pruned(model, ticket)


def test_a_gradient_at_pruned_entries(model, ticket, monkeypatch):
    rewind(model, ticket)
    monkeypatch.setattr(Parameter, "accumulate_grad", Tensor.accumulate_grad)
    one_step(model, SGD(model.parameters()))
    with caught("a gradient that is not 0"):
        check_pruned(model, ticket)


@pytest.mark.parametrize("bad", [np.nan, -1e-45])
def test_the_smallest_number_and_nan_are_not_0(model, ticket, bad):
    rewind(model, ticket)
    p = model.stem.weight
    p._array[np.nonzero(~ticket.masks["stem.weight"])[0][0], ...] = np.float32(bad)
    with caught(r"stem\.weight: a pruned entry"):
        check_pruned(model, ticket)


def test_a_mask_on_what_is_not_prunable(model, ticket):
    rewind(model, ticket)
    set_mask(model.head.bias, np.ones(3, bool))
    with caught(r"head\.bias is not prunable"):
        check_pruned(model, ticket)


def test_a_mask_that_is_lost(model, ticket):
    """Resuming with weights alone: they are 0 at first, and the next step revives them."""
    rewind(model, ticket)
    masked = model.state_dict()
    again = network("real" if model.stem.weight.components == 1 else "quaternion")
    again.load_state_dict(masked)
    with caught("does not carry the mask"):
        check_start(again, ticket)


def test_a_mask_of_another_level(model, ticket):
    rewind(model, Ticket(random_masks(model, 0.5, seed=1), ticket.state))
    with caught("does not"):
        check_pruned(model, ticket)


def test_a_reset_that_resets_nothing(model, ticket):
    trained(model)
    for name, w in model.weight_parameters():
        set_mask(w, ticket.masks[name])
    with caught("does not start from"):
        check_start(model, ticket)


@pytest.mark.parametrize("forgotten", ["running_mean", "running_var", "bias", "scale", "weight"])
def test_one_kind_of_state_that_is_not_rewound(model, ticket, forgotten):
    trained(model)
    kept = {n: a for n, a in model.state_dict().items() if n.endswith(forgotten)}
    rewind(model, ticket)
    name, value = next(iter(kept.items()))
    dict(model.named_state())[name].data = value
    with caught(f"{name} does not start from"):
        check_start(model, ticket)


def test_one_bit_of_one_weight(model, ticket):
    rewind(model, ticket)
    w = model.head.weight
    w.data = np.nextafter(w.data, np.float32(9))
    with caught(r"head\.weight does not start"):
        check_start(model, ticket)


def test_minus_0_is_not_0_in_a_start_state(model, ticket):
    rewind(model, ticket)
    zero = np.argwhere(~ticket.masks["stem.weight"])[0]
    model.stem.weight._array[tuple(zero)] = np.float32(-0.0)
    with caught("does not start from"):
        check_start(model, ticket)


def test_a_ticket_that_training_changes():
    ticket = dense_ticket(lenet())
    before = ticket.digest()
    check_unchanged(ticket, before)
    ticket.state["1.weight"][0, 0, 0] += 1
    with caught("aliased"):
        check_unchanged(ticket, before)


# ------------------------------------------------------- known bugs, caught in the pruning


@pytest.fixture
def masks():
    old = {"w": np.ones((4, 5, 2), bool)}
    new = {"w": np.arange(40).reshape(4, 5, 2) % 10 >= 3}  # 7 of 10 in each component
    check_pruning(old, new, {"w": 4}, Rule(0.7))
    return old, new


def test_a_count_that_is_off_by_one(masks):
    old, new = masks
    new["w"][2, 0, 0] = True
    with caught(r"\[7, 7, 8, 7\] weights are left, the rule says \[7, 7, 7, 7\]"):
        check_pruning(old, new, {"w": 4}, Rule(0.7))


def test_the_right_sum_in_the_wrong_components(masks):
    """Components ranked together: the tensor's count is right, theirs are not."""
    old, new = masks
    new["w"][0, 0, 0], new["w"][1, 4, 1] = True, False
    with caught("the rule says"):
        check_pruning(old, new, {"w": 4}, Rule(0.7))


def test_a_mask_that_grows(masks):
    old, new = masks
    old["w"][3, 4, 1] = False
    with caught("came back"):
        check_pruning(old, new, {"w": 4}, Rule(0.7))


def test_a_tensor_that_appears_or_vanishes(masks):
    old, new = masks
    with caught("which weights are prunable"):
        check_pruning(old, new | {"bias": np.ones(3, bool)}, {"w": 4}, Rule(0.7))


def test_nothing_pruned_at_all(masks):
    old, _ = masks
    with caught("the rule says"):
        check_pruning(old, old, {"w": 4}, Rule(0.7))
