"""Sums of gradients on a GPU that run while the backward pass goes on.

    backward   | head | stage 4 | stage 3 | stage 2 | stage 1 | stem |        | step
    sums                        |   bucket 0    |             |      | bucket 1

Gradients lie side by side, in the order of the layers, and backward has those of the last layers
first. So they are cut, from the end, into a few buckets of neighbours. As soon as the last gradient
of a bucket is there, its sum starts on a second stream; the step waits for all of them. In a step
that is recorded as a CUDA graph the sums are a branch of it.

Source: Li et al., PyTorch Distributed, VLDB 2020, section 3.2.3.
"""

from collections.abc import Callable, Sequence
from typing import Any

from quatgrad.arrays import Array
from quatgrad.autograd import Parameter, Tensor
from quatgrad.flat_parameters import FlatParameters

#: Bytes of a bucket, at least, as in PyTorch's DistributedDataParallel. The sum of a smaller one
#: would take its time for messages and not for bytes: see cost.py.
LEAST = 25 << 20


def cut(starts: Sequence[int], least: int) -> list[range]:
    """Which parameters are in each bucket: neighbours with `least` numbers, from the last one on.

    Parameter i has the numbers from starts[i] to starts[i + 1]. The last bucket, which has the
    first parameters, has what is left.
    """
    buckets, stop = list[range](), len(starts) - 1
    for i in reversed(range(stop)):
        if starts[stop] - starts[i] >= least or i == 0:
            buckets.append(range(i, stop))
            stop = i
    return buckets


class Buckets:
    """The gradients of an arena, in buckets.

    `add_up(g)` makes the array g its sum over all processes. `beside` is a second stream: see
    `kernels.cupy_gpu.nccl.Beside`. `least`: bytes of a bucket.
    """

    def __init__(
        self,
        flat: FlatParameters,
        parameters: Sequence[Parameter],
        add_up: Callable[[Array], None],
        beside: Any,
        least: int,
    ):
        self.flat, self.add_up, self.beside = flat, add_up, beside
        self.ranges = cut(flat.starts, least // flat.g.dtype.itemsize)
        self.gradients = [flat.g[flat.starts[r.start] : flat.starts[r.stop]] for r in self.ranges]
        self.bucket = {id(parameters[i]): k for k, r in enumerate(self.ranges) for i in r}
        self.missing: list[int] = []

    def backward(self, loss: Tensor, g: Array) -> None:
        """`loss.backward(g)`, and all sums before whatever the current stream does next."""
        self.missing = [*map(len, self.ranges)]
        loss.backward(g, completed=self._completed)
        for k in range(len(self.missing)):  # a parameter that the loss does not depend on
            if self.missing[k]:
                self._sum(k)
        self.beside.join()

    def _completed(self, leaf: Tensor) -> None:
        """A gradient is there."""
        k = self.bucket.get(id(leaf))
        if k is None:
            return
        self.missing[k] -= 1
        if not self.missing[k]:
            self._sum(k)

    def _sum(self, k: int) -> None:
        with self.beside():
            self.add_up(self.gradients[k])
