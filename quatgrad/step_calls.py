"""On a CPU the forward and backward pass of a training step become one list of calls.

A small step is half Python: looking up kernels, checking shapes, walking the graph. Every step does
the same on other numbers, so one is noted, and the later ones make its calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend
from quatgrad.kernels.registry import LADDERS, ladder
from quatgrad.nn import Buffer, Module
from quatgrad.parallel import Share, processes
from quatgrad.task import Classes, Series, Task, Text

if TYPE_CHECKING:
    from quatgrad.kernels.numba_cpu.machine.arena import Arena
    from quatgrad.kernels.numba_cpu.machine.recorder import Recorder

Gradients = Callable[[Array, Array, Array, Share], None]  # of images, labels and sums


class StepCalls:
    """The recorded passes of a model, one for each shape of the images.

    With the backend "numba", for a network of the package's modules and a task of classes or of
    texts, and where no process asks others in between, as synchronised norms do. The first two
    steps, and the first on a new shape, are as they are; the next is recorded; the one after that
    is made twice, as it is and from the record. If all bits agree, the record is used from then on;
    if not, or if Python reads a value in the middle, as a network does that drops entries, steps
    stay as they are. Weights and masks may change between steps, and which of them learn, but not
    what the network is made of.
    """

    def __init__(self, model: Module, task: Task):
        self.model, self.modules = model, [m for _, m in model.named_modules()]
        alone = get_backend() == "numba" and not processes().sync_norm
        self.enabled = alone and type(task) in (Classes, Series, Text) and is_ours(model)
        self.recorded: dict[Any, _Recorded | None] = {}  # None: not yet
        self.plain_steps = 0
        self.arena: Arena | None = None

    def run(self, gradients: Gradients, *arguments: Any) -> None:
        """gradients(images, labels, sums, share), or the calls that it made."""
        if not self.enabled or ladder() != LADDERS["numba"]:
            gradients(*arguments)
            return
        images, labels, sums, share = arguments
        kinds = images.shape, images.dtype, labels.shape, labels.dtype
        key = *kinds, id(sums), str(share), *(m.training for m in self.modules)
        passes = self.recorded.get(key)
        if passes and passes.was_tried and passes.is_valid():
            passes.repeat(images, labels)
            return
        from quatgrad.kernels.numba_cpu.machine.arena import Arena

        arena = self.arena = self.arena or Arena()
        if passes and passes.is_valid():
            self.enabled = passes.equals(gradients, *arguments)
        elif key in self.recorded and self.plain_steps > 1:
            passes = _Recorded(arena, self.model, gradients, *arguments)
            self.recorded[key], self.enabled = passes, not passes.recorder.refused
        else:  # in the same memory: a step needs no more of it than without records
            self.plain_steps += 1
            self.recorded[key] = None
            with arena.used():
                gradients(*arguments)
        if arena.is_full or not self.enabled:
            self.enabled, self.recorded, self.arena = False, {}, None


class _Recorded:
    """The passes on copies of images and labels, and what they read and write besides."""

    def __init__(self, arena: Arena, model: Module, gradients: Gradients, *arguments: Any):
        """gradients(*arguments), noted; they are images, labels, sums and share."""
        from quatgrad.kernels.numba_cpu.machine.recorder import Recorder

        self.recorder, self.was_tried = Recorder(arena), False
        images, labels, *more = arguments
        self.images, self.labels = images.copy(), labels.copy()
        self.recorder.run(partial(self._watched, gradients, *more))
        self.leaves = [(t, *_facts(t)) for _, t in model.named_state()]
        # The place alone: until the next step, which may be a plain one, nobody else writes there.
        self.grads = [(p, self.recorder.held(p.grad)) for p in model.parameters()]
        self.buffers = [more[0], *(a for t, a, *_ in self.leaves if isinstance(t, Buffer))]

    def _watched(self, gradients: Gradients, *more: Any) -> None:
        with no_reading(self.recorder):
            gradients(self.images, self.labels, *more)

    def is_valid(self) -> bool:
        """Is all that the calls read and write where it was?"""
        return all(all(map(is_, _facts(t), facts)) for t, *facts in self.leaves)

    def repeat(self, images: Array, labels: Array) -> None:
        """The passes on these."""
        self.images[...], self.labels[...] = images, labels
        self.recorder.repeat()
        for p, g in self.grads:
            p.grad = g

    def equals(self, gradients: Gradients, images: Array, labels: Array, *more: Any) -> bool:
        """The passes as they are, after they were repeated from the record; gave both the same?"""
        before = [a.copy() for a in self.buffers]
        self.repeat(images, labels)
        repeated = list(map(_digest, self._results()))
        for a, b in zip(self.buffers, before, strict=True):
            a[...] = b
        with self.recorder.arena.used():
            gradients(images, labels, *more)
        self.was_tried = True
        return repeated == list(map(_digest, self._results()))

    def _results(self) -> Iterator[Array]:
        yield from self.buffers
        yield from (p.grad for p, _ in self.grads if p.grad is not None)


def is_ours(model: Module) -> bool:
    """Is it of the package's modules and functions alone? They do the same in every step, where
    Python of somebody else may count steps, or draw a number now and then.
    """
    modules = [module for _, module in model.named_modules()]
    values = [v for m in modules for v in vars(m).values()]
    held = [v for value in values for v in (value if isinstance(value, list) else [value])]
    made_of = [*map(type, modules), *filter(callable, held)]
    return all(str(getattr(x, "__module__", "")).startswith("quatgrad.") for x in made_of)


def _facts(t: Tensor) -> tuple[Any, ...]:
    """Its memory, whether it learns, and its constraint."""
    return t._array, t.requires_grad, getattr(t, "_constraint", None)


def _digest(a: Array) -> bytes:
    """All bits, in few bytes: copies of a large network's gradients would be its peak of memory."""
    return hashlib.sha256(a.tobytes()).digest()


@contextmanager
def no_reading(recorder: Recorder) -> Iterator[None]:
    """Whoever reads a tensor's value in the block, outside of a call that is noted, is told on."""
    data: Any = Tensor.data

    def read(t: Tensor) -> np.ndarray:
        if recorder.hears():
            recorder.refused = "a value is read in the middle of the step"
        return data.fget(t)

    Tensor.data = property(read, data.fset)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Tensor.data = data  # type: ignore[method-assign]
