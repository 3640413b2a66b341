"""Numbers below the normal ones: 0 inside the block, themselves outside."""

import threading

import numpy as np
import pytest
from numba import njit, prange

from quatgrad import Tensor
from quatgrad.kernels.numba_cpu.machine.denormals import _KNOWN, flush_denormals

pytestmark = pytest.mark.skipif(not _KNOWN, reason="only x86 with glibc is known here")

SMALL = np.float32(1.3e-38)


@njit(parallel=True)
def halves(x):
    y = np.empty_like(x)
    for i in prange(len(x)):
        y[i] = x[i] * np.float32(0.5)
    return y


def test_they_are_0_inside_in_every_thread_and_come_back():
    x = np.full(100_000, SMALL)
    assert np.count_nonzero(halves(x)) == len(x)
    with flush_denormals():
        assert np.count_nonzero(halves(x)) == 0
        assert np.count_nonzero(x * np.float32(0.5)) == 0
        assert np.count_nonzero(x) == len(x)  # normal numbers stay
    assert np.count_nonzero(halves(x)) == len(x)
    assert np.count_nonzero(x * np.float32(0.5)) == len(x)


def test_an_error_inside_brings_them_back():
    with pytest.raises(ValueError, match="inside"), flush_denormals():
        raise ValueError("inside")
    assert SMALL * np.float32(0.5) != 0


def half_in_a_thread():
    """Half of SMALL, as a thread has it that is started now."""
    found = []
    thread = threading.Thread(target=lambda: found.append(np.full(9, SMALL) * np.float32(0.5)))
    thread.start()
    thread.join()
    return found[0]


def test_what_is_called_as_before_has_them_and_so_have_its_threads():
    with flush_denormals() as as_before:
        for _ in range(2):
            with as_before():
                assert (half_in_a_thread() != 0).all()
                assert SMALL * np.float32(0.5) != 0
            assert SMALL * np.float32(0.5) == 0
        with pytest.raises(ValueError, match="inside"), as_before():
            raise ValueError("inside")
        assert SMALL * np.float32(0.5) == 0
    assert SMALL * np.float32(0.5) != 0


def test_the_caller_of_training_has_them_between_steps_and_epochs():
    from blobs import blobs

    from quatgrad import models
    from quatgrad.train import Recipe, train_steps

    net, recipe = models.create("lenet-12", "real", 3, image_size=(4, 4)), Recipe(2, 16, 0.1)
    steps = train_steps(net, blobs(), recipe, recipe.make_optimizer(net))
    for n, _ in enumerate(steps):
        assert SMALL * np.float32(0.5) != 0
        assert (half_in_a_thread() != 0).all()
        if n == 5:
            steps.close()
    assert n == 5
    assert SMALL * np.float32(0.5) != 0


def test_training_flushes_them(monkeypatch):
    from blobs import blobs

    from quatgrad import models, ops
    from quatgrad.train import Recipe, train

    seen = []

    def spy(*inputs):
        seen.append(Tensor([SMALL]).numpy() * np.float32(0.5))
        return ops.cross_entropy(*inputs)

    monkeypatch.setattr("quatgrad.task.cross_entropy", spy)
    net = models.create("lenet-300-100", "real", 3, 4, 12, image_size=(4, 4))
    train(net, blobs(), Recipe(1, 16, 0.1), progress=False)
    assert not np.any(seen)
    assert SMALL * np.float32(0.5) != 0
