"""The first training on a machine: kernels of backward are compiled while those of forward are.

Compiling takes one core half a minute. A helper, a process on another core, makes the network once
more: forward by the gemm rung, which needs no compiler, then backward from each operation to its
weights. What it compiles goes to the disk, where the training finds it. If it fails, or ends too
early, nothing is lost but time.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from quatgrad import models
from quatgrad.autograd import Function, Tensor
from quatgrad.backend import get_backend
from quatgrad.kernels.registry import use_kernels
from quatgrad.nn import Module
from quatgrad.optim import SGD

#: Fewer compiled kernels on the disk: this is the first training, and worth a helper.
FEW = 8
#: Images in the helper's batch, at most.
MOST = 16

_helpers: list[subprocess.Popen[bytes]] = []  # one, which ends before this process, or with it


def start(make: Callable[[], Module], input_shape: tuple[int, ...], batch_size: int) -> None:
    """Start the helper, once, if there is work for it: if `make()` is a network of `models`."""
    if _helpers or get_backend() != "numba":
        return
    # Here, because it loads Numba: half a second.
    from numba import get_num_threads

    from quatgrad.kernels.numba_cpu.machine.disk_cache import keeps_fewer_than

    if get_num_threads() == 1 or not keeps_fewer_than(FEW):
        return
    made = make().architecture
    if not made or "source" in made:
        return
    work = json.dumps([dict(made), [min(batch_size, MOST), *input_shape]])
    command = [sys.executable, "-c", f"from {__name__} import help_along; help_along()", work]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    quiet = subprocess.DEVNULL
    _helpers.append(
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=os.environ | path)
    )


def help_along() -> None:
    """The life of the helper, which ends when its parent does."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    architecture, shape = json.loads(sys.argv[1])
    compile_backward(models.create_again(architecture), shape)


def compile_backward(model: Module, shape: tuple[int, ...]) -> None:
    """Run every operation's backward that leads to a weight, the last first; then SGD's step."""
    with use_kernels("gemm"):
        y = model(Tensor(np.zeros(shape, np.float32)))
    for node, shape in _nodes(y):
        node.needs_input_grad = False, *node.needs_input_grad[1:]  # dx has forward's kernels
        node.backward(np.ones(shape, np.float32))
    for p in model.parameters():
        p.grad = np.zeros_like(p.data)
    SGD(model.parameters(), 0.9, nesterov=True).step(0.0)


def _nodes(y: Tensor) -> Iterator[tuple[Function, tuple[int, ...]]]:
    """The operations from which y comes, each once, and the shapes of their outputs."""
    todo: list[tuple[Any, tuple[int, ...]]] = [(y._node, y.shape)]
    seen = set[int]()
    while todo:
        node, shape = todo.pop(0)
        if isinstance(node, Function) and id(node) not in seen:
            seen.add(id(node))
            yield node, shape
            todo += zip(node.parents or (), node.shapes, strict=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
