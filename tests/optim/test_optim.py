"""Optimizers against their formulas written out, in float64; schedules at their turning points."""

import csv
import math
from importlib.resources import files

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, optim
from quatgrad.errors import OptionError
from quatgrad.lth.ticket.mask_constraint import set_mask

W0 = np.array([1.0, -2, 0.5])
RATES = (0.1, 0.1, 0.05, 0.02, 0.01)


def gradient(w):
    """Of L = sum w^4 / 4 + 2 w."""
    return w**3 + 2


def train(make):
    p = Parameter(W0)
    optimizer = make([p])
    for lr in RATES:
        ((p * p * p * p) * 0.25 + 2 * p).sum().backward()
        optimizer.step(lr)
        optimizer.zero_grad()
        assert p.grad is None
    assert p.dtype == np.float64
    return p.data


def sgd(momentum=0.0, nesterov=False, decay=0.0):
    w, v = W0.copy(), None
    for lr in RATES:
        d = gradient(w) + decay * w
        v = d if v is None else momentum * v + d
        w = w - lr * (d + momentum * v if nesterov else v)
    return w


def adam(decay=0.0, decoupled=False, b1=0.9, b2=0.999, eps=1e-8):
    w, m, v = W0.copy(), 0, 0
    for t, lr in enumerate(RATES, start=1):
        g = gradient(w) + (0 if decoupled else decay * w)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        shrunk = w * (1 - lr * decay) if decoupled else w
        w = shrunk - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: optim.SGD(p), sgd()),
        (lambda p: optim.SGD(p, weight_decay=0.1), sgd(decay=0.1)),
        (lambda p: optim.SGD(p, momentum=0.9), sgd(0.9)),
        (lambda p: optim.SGD(p, momentum=0.9, weight_decay=0.1), sgd(0.9, decay=0.1)),
        (lambda p: optim.SGD(p, 0.9, nesterov=True), sgd(0.9, True)),
        (lambda p: optim.SGD(p, 0.8, True, 0.2), sgd(0.8, True, 0.2)),
        (lambda p: optim.Adam(p), adam()),
        (lambda p: optim.Adam(p, (0.5, 0.9), 0.1), adam(b1=0.5, b2=0.9, eps=0.1)),
        (lambda p: optim.Adam(p, weight_decay=0.1), adam(0.1)),
        (lambda p: optim.AdamW(p, weight_decay=0.1), adam(0.1, decoupled=True)),
        (lambda p: optim.AdamW(p), adam(0.01, decoupled=True)),
    ],
)
def test_five_steps_follow_the_formulas(make, expected):
    np.testing.assert_allclose(train(make), expected, rtol=1e-12)


MAKERS = [
    lambda p: optim.SGD(p, 0.9, weight_decay=0.1),
    lambda p: optim.SGD(p, 0.9, nesterov=True, weight_decay=0.1),
    lambda p: optim.Adam(p, weight_decay=0.1),
    lambda p: optim.AdamW(p, weight_decay=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("pruned_later", [False, True])
def test_no_optimizer_revives_a_pruned_weight(make, pruned_later):
    """Also where its momentum was there before the pruning, or its gradient is infinite."""
    steep = Tensor([1.0, 3 if pruned_later else np.inf, -1])
    mask = np.array([True, False, False])
    p = Parameter(W0.astype(np.float32))
    optimizer = make([p])
    if not pruned_later:
        set_mask(p, mask)
    for step in range(6):
        if step == 2:
            set_mask(p, mask)
        y = p + 0.0
        y.backward(steep)
        optimizer.step(0.1)
        if step >= 2 or not pruned_later:
            assert (p.data[1:] == 0).all()
            assert not np.signbit(p.data[1:]).any()
            assert (p.grad[1:] == 0).all()
        optimizer.zero_grad()
    assert p.data[0] != W0[0]
    if not pruned_later:
        for array in optimizer.state[0].values():
            assert np.ndim(array) == 0 or (array[1:] == 0).all()


@pytest.mark.parametrize("make", MAKERS)
def test_parameters_without_a_gradient_stay_as_they_are(make):
    p, q = Parameter([1.0]), Parameter([1.0])
    optimizer = make([p, q])
    (p * p).backward()
    optimizer.step(0.1)
    assert p.data != 1
    assert q.data == 1


@pytest.mark.parametrize("make", [*MAKERS, lambda p: optim.SGD(p, 0.9), optim.Adam])
def test_a_step_changes_neither_the_gradient_nor_the_dtype(make):
    for value in (np.ones(3, np.float32), np.float32(1), np.ones((2, 2))):
        p = Parameter(value)
        optimizer = make([p])
        for _ in range(2):
            (p * p).sum().backward()
            before = p.grad.copy()
            optimizer.step(np.float64(0.1))  # a rate that NumPy computed
            np.testing.assert_array_equal(p.grad, before)
            assert p.dtype == value.dtype
        assert (p.data < 1).all()


def test_gradients_are_clipped_as_one_vector():
    p, q, idle = Parameter([3.0, 0]), Parameter(np.array(2.0)), Parameter([1.0])
    p.grad, q.grad = np.array([3, 0], np.float32), np.array(4.0)
    assert optim.clip_grad_norm([p, q, q, idle], 10) == 5
    assert p.grad.tolist() == [3, 0]
    assert optim.clip_grad_norm([p, q, q, idle], 1) == 5
    np.testing.assert_allclose([p.grad[0], q.grad], [0.6, 0.8], rtol=1e-6)
    assert (p.grad.dtype, q.grad.dtype, idle.grad) == (np.float32, np.float64, None)
    with pytest.raises(OptionError, match="above 0"):
        optim.clip_grad_norm([p], 0)


def test_weight_decay_does_not_leak_through_a_shared_gradient():
    a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    (a + b).backward()
    optim.SGD([a], weight_decay=0.1).step(0.1)
    optim.SGD([b]).step(0.1)
    np.testing.assert_allclose([a.item(), b.item()], [0.89, 0.9])


def test_step_between_forward_and_backward_is_refused():
    p = Parameter([1.0])
    loss = p * p
    loss.backward(retain_graph=True)
    optim.SGD([p]).step(0.1)
    with pytest.raises(RuntimeError, match=r"before optimizer\.step"):
        loss.backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD([]), r"no parameters given; pass model.parameters\(\)"),
        (lambda: optim.Adam(p for p in ()), "no parameters"),
        (lambda: optim.SGD([Parameter(1.0)], momentum=1), r"in \[0, 1\); got 1"),
        (lambda: optim.SGD([Parameter(1.0)], nesterov=True), "nesterov needs a momentum"),
        (lambda: optim.Adam([Parameter(1.0)], betas=(0.9, 1.0)), "betas"),
    ],
)
def test_impossible_options(make, message):
    with pytest.raises(OptionError, match=message):
        make()


# ----------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", sorted(optim.SCHEDULES.keys() - {"cosine-per-batch"}))
def test_warm_up_is_linear_and_ends_at_the_rate(name):
    rate = optim.SCHEDULES[name](0.4, 100, 4)
    assert [rate(s) for s in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert optim.SCHEDULES[name](0.4, 100, 0)(0) == 0.4


def test_the_published_learning_rates_of_cifar100():
    rate = optim.SCHEDULES["cosine-per-batch"](0.1, 50_000, 0)
    with files("quatgrad.paper").joinpath("published", "cifar100_learning_rates.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 1000
    for row in rows:  # as many digits as are published
        assert f"{rate(int(row['optimizer_step'])):.8g}" == f"{float(row['lr']):.8g}"
    assert rate(49_999) == pytest.approx(0.0585, abs=5e-5)  # never annealed


def test_the_published_learning_rates_of_imagenet64():
    per_epoch = 5005
    rate = optim.SCHEDULES["step-11-13"](0.1, 15 * per_epoch, 0)
    for epoch in range(15):
        expected = 0.1 if epoch < 11 else 0.01 if epoch < 13 else 0.001
        for s in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            assert rate(s) == pytest.approx(expected)


def test_cosine():
    rate = optim.cosine(0.4, steps=110, warmup=10)
    at = {10: 1, 35: (1 + math.sqrt(0.5)) / 2, 60: 0.5, 110: 0, 500: 0}
    assert [rate(s) for s in at] == pytest.approx([0.4 * share for share in at.values()])


def test_step():
    rate = optim.step(1.0, steps=100, milestones=(0.3, 0.6), factor=0.1)
    at = {0: 1, 29: 1, 30: 0.1, 59: 0.1, 60: 0.01, 100: 0.01}
    assert [rate(s) for s in at] == pytest.approx(list(at.values()))


def test_constant():
    rate = optim.constant(0.3, steps=10)
    assert {rate(s) for s in range(20)} == {0.3}
