"""A graph's memory, counted: backward frees it as it goes, and no cycle keeps it alive.

Arrays are 1 MiB each; tracemalloc, to which NumPy reports every array, counts them.
"""

import gc
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, no_grad, ops
from quatgrad.kernels.registry import kernel

MIB = 2**20
DEPTH = 20


@contextmanager
def counting():
    """Yields (now, peak): arrays alive since the block began, and the most since the last now."""
    gc.collect()
    gc.disable()  # reference counts alone must do
    tracemalloc.start()
    try:
        yield (
            lambda: (tracemalloc.reset_peak(), round(tracemalloc.get_traced_memory()[0] / MIB))[1],
            lambda: round(tracemalloc.get_traced_memory()[1] / MIB),
        )
    finally:
        tracemalloc.stop()
        gc.enable()


def big():
    return Parameter(np.full((512, 512), 0.5, np.float32))


def chain(x):
    """DEPTH nodes, each of which saves one array of its own."""
    for _ in range(DEPTH):
        x = ops.tanh(x)
    return x.sum()


def test_backward_frees_the_graph_while_the_loss_is_still_held():
    with counting() as (now, _):
        x = big()
        loss = chain(x)
        assert now() == 1 + DEPTH
        loss.backward()
        assert now() == 2  # the leaf and its gradient
        assert loss.size == 1


def test_backward_needs_few_arrays_beyond_those_saved():
    with counting() as (now, peak):
        loss = chain(big())
        before = now()
        loss.backward()
        assert peak() <= before + 4  # not one gradient for each node


def test_a_value_that_is_held_does_not_hold_what_its_op_saved():
    kernel("add")(*2 * [big().data])  # compiled now: the compiler's memory is none of the graph's
    with counting() as (now, _):
        x = big()
        y = ops.tanh(x) * ops.tanh(x)
        assert now() == 4  # x, y and its two factors
        y.sum().backward()
        assert now() == 3  # x, its gradient, y


def test_retain_graph_keeps_what_was_saved_and_no_more():
    with counting() as (now, _):
        x = big()
        loss = chain(x)
        loss.backward(retain_graph=True)
        assert now() == 2 + DEPTH
        loss.backward()
        assert now() == 2


def test_dropping_a_loss_without_backward_frees_everything():
    with counting() as (now, _):
        x = big()
        loss = chain(x)
        del loss
        assert now() == 1
        with pytest.raises(ValueError, match="shapes"):
            (ops.tanh(x) * x).reshape(7)
        assert now() == 1


def test_a_history_of_losses_does_not_keep_their_graphs():
    with counting() as (now, _):
        x, losses = big(), []
        for _ in range(5):
            losses.append(chain(x))
            losses[-1].backward()
        assert now() == 2


def test_no_grad_keeps_nothing():
    with counting() as (now, peak), no_grad():
        y = chain(big())
        assert peak() <= 3
        assert y.size == 1
        assert now() == 0


def test_ops_save_no_more_than_they_need():
    """ReLU its output, a sum or reshape nothing, a product with a constant only the constant."""
    (ops.relu(big()) + big()).T.sum(axis=0).sum().backward()  # compiled before anything is counted
    with counting() as (now, _):
        x, k = big(), Tensor(np.ones((512, 512), np.float32))
        y = ops.relu(x).reshape(-1).reshape(512, 512) + k
        y = y.T.sum(axis=0)
        assert now() == 3
        assert y.size
        y.sum().backward()
        assert now() == 3  # x, k, and the gradient of x
