"""Sums of gradients in buckets, behind the backward pass; the second stream is a stand-in."""

from contextlib import nullcontext

import numpy as np
import pytest
from test_processes import by_all

from quatgrad import Tensor, models, ops
from quatgrad.autograd import Parameter
from quatgrad.flat_parameters import ALIGN, FlatParameters
from quatgrad.optim import SGD
from quatgrad.parallel.buckets import Buckets, cut
from quatgrad.parallel.nccl import _OnGpu

LEAST = 4096  # bytes


class Eager:
    """A stream that does everything as soon as it may."""

    __call__ = nullcontext

    def __init__(self, add_up):
        self.add_up = add_up

    def join(self):
        pass


class Lazy(Eager):
    """A stream that does nothing before it must."""

    def __init__(self, add_up):
        self.todo = []
        self.add_up = lambda g: self.todo.append(lambda: add_up(g))

    def join(self):
        for work in self.todo:
            work()
        self.todo.clear()


@pytest.mark.parametrize("stream", [Eager, Lazy])
@pytest.mark.parametrize("n", [2, 4])
def test_sums_in_buckets_have_the_bits_of_the_sum_afterwards(n, stream):
    def work(group):
        rng = np.random.default_rng(group.rank)
        net = models.create("resnet8", "quaternion", 4, 4, 8, image_size=(8, 8), seed=0)
        optimizer, share = SGD(net.parameters(), 0.9), group.share(4 * n)
        x, y = rng.standard_normal((4, 8, 8, 4)).astype(np.float32), rng.integers(0, 4, 4)
        every = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = ops.cross_entropy(net(Tensor(x)), y)
            group.backward(loss, optimizer, net, share)
            group.complete(optimizer, net, share)
            every.append([p.grad.copy() for p in optimizer.parameters])
            flat = FlatParameters(optimizer.parameters, optimizer.state)
            beside = stream(group.sum_in_order)
            of = Buckets(flat, optimizer.parameters, beside.add_up, beside, LEAST)
            group.buckets = lambda optimizer, of=of: of
        return every, len(of.gradients)

    found = by_all(n, work)
    for (afterwards, *behind), count in found:
        assert count > 3
        for gradients in behind:
            for a, b, c in zip(afterwards, gradients, found[0][0][0], strict=True):
                assert a.tobytes() == b.tobytes() == c.tobytes()


def test_a_sum_starts_when_its_bucket_is_whole_and_the_first_layers_have_nothing_yet():
    net = models.create("resnet8", "real", 4, 4, 8, image_size=(8, 8), seed=0)
    parameters, seen = net.parameters(), []

    def add_up(g):
        seen.append([p.grad is not None for p in parameters])
        g *= 2

    def backward(of):
        for p in parameters:
            p.grad = None
        loss = net(Tensor(np.ones((2, 8, 8, 4), np.float32))).sum()
        of.backward(loss, np.ones((), np.float32)) if of else loss.backward()
        return [p.grad.copy() for p in parameters]

    once = backward(None)
    flat = FlatParameters(parameters, [{} for _ in parameters])
    of = Buckets(flat, parameters, add_up, Eager(None), LEAST)
    for one, two in zip(once, backward(of), strict=True):
        assert (two == 2 * one).all()
    assert len(seen) == len(of.ranges) > 3
    for there, mine in zip(seen, of.ranges, strict=True):
        assert all(there[i] for i in mine)
    assert not any(seen[0][: of.ranges[0].start])
    assert sum(seen[0]) < sum(seen[1]) < sum(seen[-1]) == len(parameters)


def test_a_parameter_that_the_loss_does_not_depend_on_holds_nobody_up():
    def work(group):
        used, unused = (Parameter(np.full(ALIGN, group.rank + 1.0, np.float32)) for _ in range(2))
        (used * unused).sum().backward()
        flat = FlatParameters([used, unused], [{}, {}])
        used.grad = unused.grad = None
        beside = Eager(group.sum_in_order)
        of = Buckets(flat, [used, unused], beside.add_up, beside, 1)
        of.backward((used * used).sum(), np.ones((), np.float32))
        return used.grad.tolist(), unused.grad

    assert by_all(2, work) == [([6.0] * ALIGN, None)] * 2  # 2 (1 + 2)


@pytest.mark.parametrize(("least", "expected"), [
    (1, [[4], [3], [2], [1], [0]]), (100, [[4], [3, 2], [1, 0]]), (10**6, [[4, 3, 2, 1, 0]]),
])  # fmt: skip
def test_buckets_are_neighbours_from_the_last_layer_to_the_first(least, expected):
    found = cut([0, 64, 128, 192, 256, 384], least)
    assert [[*reversed(r)] for r in found] == expected


def test_where_there_are_no_buckets():
    w = Parameter(np.ones(3, np.float32))
    w.sum().backward()
    optimizer = SGD([w])
    assert _OnGpu(2, 0, False).buckets(optimizer) is None  # before the first step
    optimizer.flat = FlatParameters([w], optimizer.state)
    of = Buckets(optimizer.flat, [w], None, None, 1)

    def found(size, sync_norm=False):
        group = _OnGpu(size, 0, sync_norm)
        group.cut = of
        return group.buckets(optimizer)

    assert found(2) is found(64) is of
    assert found(3) is None  # of 64 numbers no process can have a third
    assert found(2, sync_norm=True) is None
    w.constraint = np.negative  # as new masks: the arena is not valid any more
    assert found(2) is None
