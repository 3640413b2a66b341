"""On a GPU a training step becomes one CUDA graph.

Python launches the thousand kernels of a ResNet's step one by one, and a fast GPU waits for Python.
As a graph they are one launch.
"""

from collections.abc import Callable
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from quatgrad.arrays import Array, asarray
from quatgrad.backend import get_backend, notice
from quatgrad.nn import Module
from quatgrad.optim import SGD, Optimizer
from quatgrad.parallel import processes

Step = Callable[..., None]  # of images, labels and learning rate


class StepGraphs:
    """The graphs of a step, one for each shape of the images.

    With the backend "cupy" and SGD, the first two steps are eager: they compile the kernels, and
    the first one moves the weights to where they stay. So is the first step on a new batch size.
    The next one is recorded. From then on the graph is launched: the same kernels on other numbers.
    A step that cannot be recorded, as one that draws random numbers, stays eager, with a notice.
    Weights and rates may change between steps. When something has moved to other memory, has
    another mask, or learns no longer, the graphs are thrown away; each mode of the modules has its
    own.
    """

    def __init__(self, optimizer: Optimizer, model: Module):
        self.optimizer, self.modules = optimizer, [m for _, m in model.named_modules()]
        self.state, self.facts = [t for _, t in model.named_state()], list[Any]()
        self.recorded: dict[Any, _Recorded | None] = {}  # None: not yet
        self.eager_steps = 0
        # Adam's update counts its steps on the host, and a graph would count no further.
        self.enabled = get_backend() == "cupy" and isinstance(optimizer, SGD)

    def run(self, step: Step, images: Array, labels: Array, lr: float, *how: Any) -> None:
        """Call `step(images, labels, lr, *how)`, or launch its graph."""
        if not self.enabled:
            step(images, labels, lr, *how)
            return
        # The rate is an array also where the step is eager: the same kernels then.
        arrays = images, labels, asarray(np.asarray(lr, self.optimizer.parameters[0].dtype))
        self._forget_if_changed()
        modes = tuple(m.training for m in self.modules)
        key, step = (*images.shape, *map(str, how), modes), lambda *a, step=step: step(*a, *how)
        if key in self.recorded and self.eager_steps > 1 and not self.recorded[key]:
            self._record(key, step, *arrays)
        graph = self.recorded.setdefault(key)
        self.eager_steps += graph is None
        (graph or step)(*arrays)

    def _forget_if_changed(self) -> None:
        facts: list[Any] = [x for t in self.state for x in (t._array, t.requires_grad)]
        facts += [p.constraint for p in self.optimizer.parameters]
        facts += [a for memory in self.optimizer.state for a in memory.values()]
        if len(facts) != len(self.facts) or not all(map(is_, facts, self.facts)):
            self.recorded.clear()
        self.facts = facts  # held, so that nothing else comes to lie there

    def _record(self, key: Any, step: Step, *arrays: Array) -> None:
        """A graph, on all of several GPUs or on none: in one they would wait for the others."""
        reason = ""
        try:
            self.recorded[key] = _Recorded(step, *arrays)
        except (RuntimeError, MemoryError) as error:  # CuPy's, and `BackendError`
            reason = str(error).partition("\n")[0]
        if not processes().agree(not reason):
            self.enabled, self.recorded = False, {}  # a graph holds memory of its own
            reason = reason or "another GPU could not record it"
            notice(f"the training step is no CUDA graph ({reason}): small batches are slower")


class _Recorded:
    """A step as a graph, and copies of the arrays that it reads: images, labels, learning rate."""

    def __init__(self, step: Step, *arrays: Array):
        from quatgrad.kernels.cupy_gpu.graph import Graph

        self.arrays = [a.copy() for a in arrays]
        self.graph = Graph(partial(step, *self.arrays))

    def __call__(self, *arrays: Array) -> None:
        for mine, given in zip(self.arrays, arrays, strict=True):
            mine[...] = given
        self.graph()
