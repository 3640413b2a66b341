"""A training step whose sums stay on the device, and which on a GPU becomes one CUDA graph.

    step = Step(model, optimizer)
    for images, labels in batches:
        step(images, labels, lr)
    loss, correct = step.take()

Python launches the thousand kernels of a ResNet's step one by one, and a fast GPU waits for it; as
a graph they are one launch. Loss and right answers are read when they are asked for, once an epoch:
whoever reads them waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quatgrad.arrays import Array, asarray, to_numpy
from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend, notice
from quatgrad.kernels.registry import kernel
from quatgrad.nn import Module
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD, Optimizer


class Step:
    """Forward, loss, backward and update, for one model and one optimizer.

    With the backend "cupy" and SGD, the first batch of a size is an ordinary step, as are the first
    two of all, which compile what there is to compile; the next is recorded, and it and all later
    ones are launched as a graph: the same kernels on other numbers.
    A step that cannot be recorded, as one that draws random numbers, stays eager, with a notice.
    Weights, rates and masks may change between steps: a graph whose memory is no longer that of
    the optimizer is thrown away.
    """

    def __init__(self, model: Module, optimizer: Optimizer):
        self.model, self.optimizer = model, optimizer
        self.sums = asarray(np.zeros(2))  # of losses and of right answers
        self.recorded: dict[tuple[int, ...], _Recorded | None] = {}
        self.eager_steps = 0
        # Adam's update counts its steps on the host, and a graph would count no further.
        self.records = get_backend() == "cupy" and isinstance(optimizer, SGD)

    def __call__(self, images: Array, labels: Array, lr: float) -> None:
        """One step on images (N, H, W, C) and labels (N,)."""
        images, labels = asarray(images), asarray(labels)
        if self.records:  # the rate as an array also where it is eager: the same kernels then
            lr = asarray(np.asarray(lr, images.dtype))
            self._forget_if_moved()
            known = images.shape in self.recorded and self.eager_steps > 1
            if known and not self.recorded[images.shape]:
                self._record(images, labels, lr)
        graph = self.recorded.setdefault(images.shape)
        self.eager_steps += graph is None
        try:
            (graph or self._eager)(images, labels, lr)
        except MemoryError as error:
            error.__traceback__ = None  # which holds all arrays of the step
            raise MemoryError(f"{error} {self._advice(images, labels)}") from error

    def _forget_if_moved(self) -> None:
        arena = getattr(self.optimizer, "arena", None)
        if arena and not arena.holds(self.optimizer.parameters, self.optimizer.state):
            self.recorded.clear()

    def take(self) -> tuple[float, int]:
        """The sum of the losses of all images, and the right answers, since it was last asked."""
        loss, correct = to_numpy(self.sums).tolist()
        self.sums[...] = 0
        return loss, round(correct)

    def _eager(self, images: Array, labels: Array, lr: float | Array) -> None:
        logits = self.model(Tensor(images))
        loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step(lr)  # an array, if it is to be recorded
        kernel("tally")(self.sums, logits.data, labels, loss.data)

    def _advice(self, images: Array, labels: Array) -> str:
        """How many images fit, found by trying; nothing is learnt from them."""
        n = len(images) // 2
        while n > 1:
            self.optimizer.zero_grad()
            try:
                cross_entropy(self.model(Tensor(images[:n])), labels[:n]).backward()
                return f"A batch of {n} fits."
            except MemoryError:
                n //= 2
        return "Not even a batch of 2 fits."

    def _record(self, *arrays: Array) -> None:
        try:
            self.recorded[arrays[0].shape] = _Recorded(self._eager, *arrays)
        except (NotImplementedError, RuntimeError, MemoryError) as error:
            self.records = False
            reason = str(error).partition("\n")[0]
            notice(f"the training step is no CUDA graph ({reason}): small batches are slower")


class _Recorded:
    """A step as a graph, and copies of the arrays that it reads: images, labels, learning rate."""

    def __init__(self, step: Callable[..., None], *arrays: Array):
        from quatgrad.kernels.cupy_gpu.graph import Graph

        self.arrays = [a.copy() for a in arrays]
        self.graph = Graph(partial(step, *self.arrays))

    def __call__(self, *arrays: Array) -> None:
        for mine, given in zip(self.arrays, arrays, strict=True):
            mine[...] = given
        self.graph()
