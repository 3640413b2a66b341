"""What the checkers of lesson 9 say to typical wrong answers."""

import math

import numpy as np
import pytest

from checkers import lesson09 as check
from quatgrad import Tensor
from quatgrad.ops import cross_entropy


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda p: np.log(len(p)), "these are not equal"),
    (lambda p: -(p * np.log2(p)).sum(), "Bits"),
    (lambda p: -np.log(p).mean(), "mean over classes"),
    (lambda p: -np.log(p).sum(), "sum over classes"),
    (lambda p: (p * np.log(p)).sum(), "The sign"),
    (lambda p: -np.log(p.max()), "largest p"),
])  # fmt: skip
def test_a_wrong_blind_loss(says, answer, hint):
    assert hint in says(check.blind_loss, lambda counts: answer(np.array(counts) / sum(counts)))


def test_counts_are_an_array_as_the_lesson_says(says):
    def blind_loss(counts):
        p = counts / counts.sum()
        return -(p * np.log(p)).sum()

    assert says(check.blind_loss, blind_loss) == "correct"


def step(clear="before", take=True, lr=1.0, after=False):
    def one_step(net, x, y, optimizer, given):
        loss = cross_entropy(net(Tensor(x)), y)
        if clear == "before":
            optimizer.zero_grad()
        loss.backward()
        if clear == "between":
            optimizer.zero_grad()
        if take:
            optimizer.step(lr * given)
        return (cross_entropy(net(Tensor(x)), y) if after else loss).item()

    return one_step


def test_a_step_is_right_in_any_right_order(says):
    assert says(check.one_step, step()) == "correct"


@pytest.mark.parametrize(("answer", "hint"), [
    (step(clear="never"), "old gradients are still there"),
    (step(clear="between"), "have not moved"),
    (step(take=False), "have not moved"),
    (step(lr=-1), "uphill"),
    (step(lr=2), "not the lr that was given"),
    (step(after=True), "the loss after the step"),
])  # fmt: skip
def test_a_wrong_step(says, answer, hint):
    assert hint in says(check.one_step, answer)


def schedule(first=1, start=None, end=None, rate=lambda s: (1 + math.cos(math.pi * s)) / 2):
    def warm_cosine(step, lr, steps, warmup):
        if step < warmup:
            return lr * (step + first) / warmup
        begin = warmup if start is None else start
        return lr * rate((step - begin) / ((steps if end is None else end) - begin))

    return warm_cosine


def test_a_schedule_that_is_right(says):
    assert says(check.warm_cosine, schedule()) == "correct"


@pytest.mark.parametrize(("answer", "hint"), [
    (schedule(first=0), "starts at 0"),
    (schedule(start=0), "during the warm-up"),
    (schedule(end=28), "ends too late"),
    (schedule(end=23), "yours is 1 at the last"),
    (schedule(rate=lambda s: math.cos(math.pi * s)), "falls to −lr"),
    (schedule(rate=lambda s: (1 - math.cos(math.pi * s)) / 2), "rises where it should fall"),
    (schedule(rate=lambda s: (1 + math.cos(2 * math.pi * s)) / 2), "a whole one"),
    (lambda step, lr, steps, warmup: lr * (1 + math.cos(math.pi * step / steps)) / 2, "no warm-up"),
])  # fmt: skip
def test_a_wrong_schedule(says, answer, hint):
    assert hint in says(check.warm_cosine, answer)
