"""What one process of several does with a batch, and how their numbers become one.

    process 0                                   process 1, 2, ...
    leads: reads, prunes, writes, and           help: wait for a training,
    sends each training to all                  and train along

A step is the same on all of them: forward and backward on the own share of the batch, then a sum of
gradients, then the same update everywhere. All sums are in the order of the processes, so equal
numbers of processes give equal bits. One process is the trivial case: `ALONE`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from quatgrad.arrays import Array, array_module, asarray, to_numpy
from quatgrad.autograd import Parameter, Tensor
from quatgrad.calls import call
from quatgrad.errors import InvariantError, OptionError, RunError
from quatgrad.kernels.parts import synchronised
from quatgrad.nn import Buffer, Dropout, Module
from quatgrad.optim import Optimizer
from quatgrad.parallel.buckets import Buckets
from quatgrad.tensor_file import digest


class Share(NamedTuple):
    """What a process takes of a batch.

    rows    its images
    weight  of their mean loss in the mean loss of the batch
    counts  are its losses and right answers counted?
    whole   do all processes compute the whole batch, because it is too small to share?
    """

    rows: slice
    weight: float
    counts: bool = True
    whole: bool = False


WHOLE = Share(slice(None), 1.0, whole=True)


class Processes:
    """One process: it takes whole batches, and there is nothing to sum."""

    size, rank, sync_norm = 1, 0, False

    def share(self, n: int) -> Share:
        """What this process takes of a batch of n."""
        return WHOLE

    def norms(self, share: Share) -> AbstractContextManager[None]:
        """Inside, batch norms have the statistics of the whole batch, if they are to."""
        return nullcontext()

    def backward(self, loss: Tensor, optimizer: Optimizer, model: Module, share: Share) -> None:
        """The part of dL/dw of this process, L the mean loss of the whole batch."""
        loss.backward()

    def complete(self, optimizer: Optimizer, model: Module, share: Share) -> None:
        """After `backward`: all parts are added."""

    def own(self, sums: Array) -> Array:
        """Where steps add their losses and scores: for one process to the sums themselves."""
        return sums

    def add(self, sums: Array, mine: Array, share: Share) -> None:
        """sums += what all processes have added to `mine`, which is 0 then."""

    def sum_metrics(self, sums: Array, share: Share) -> Array:
        """The sum over all processes, of those whose share counts."""
        return sums

    def agree(self, ready: bool) -> bool:
        """Are all processes ready for what they do together?"""
        return ready

    def training(
        self, model: Module, dataset: Any, recipe: Any, optimizer: Any, *how: Any
    ) -> AbstractContextManager[None]:
        """Around a training: process 0 has sent it to the others, which train along."""
        return nullcontext()

    def go_on(self) -> None:
        """Before each step, and after the last; the others end here if process 0 has stopped."""


ALONE = Processes()
_now: Processes = ALONE


def processes() -> Processes:
    """Those that train together now; `ALONE` where nothing was started."""
    return _now


@contextmanager
def use_processes(group: Processes) -> Iterator[None]:
    """Train with these for the length of a `with` block."""
    global _now
    before, _now, Dropout.process = _now, group, group.rank
    try:
        yield
    finally:
        _now, Dropout.process = before, before.rank


class Stopped(Exception):  # noqa: N818  (no error: process 0 wants it so)
    """Process 0 has stopped a training, or ended the work."""


class Several(Processes):
    """Many processes; subclasses say how they talk, by the functions at the end."""

    def __init__(self, size: int, rank: int, sync_norm: bool):
        self.size, self.rank, self.sync_norm = size, rank, sync_norm
        self.datasets: list[Any] = []
        self.buffer: Array | None = None
        self.places: tuple[Any, list[Any], list[Array]] = None, [], []
        self.averaged: tuple[Module | None, list[Buffer]] = None, []

    def share(self, n: int) -> Share:
        """Neighbouring rows, as equal as can be; of fewer than two for each process all rows."""
        if n < 2 * self.size:
            return Share(slice(0, n), 1 / self.size, self.rank == 0, whole=True)
        first, last = n * self.rank // self.size, n * (self.rank + 1) // self.size
        return Share(slice(first, last), (last - first) / n)

    def norms(self, share: Share) -> AbstractContextManager[None]:
        """See `Processes.norms`."""
        if not self.sync_norm or share.whole:
            return nullcontext()
        return synchronised(self.gather, share.weight)

    def backward(self, loss: Tensor, optimizer: Optimizer, model: Module, share: Share) -> None:
        """See `Processes.backward`; where there are buckets, they are summed on the way."""
        g = call(_weighted, loss, share.weight)
        if buckets := self.buckets(optimizer):
            with buckets.beside():  # running statistics are there since the forward pass
                self.sum_gradients([], model, share)
            buckets.backward(loss, g)
        else:
            loss.backward(g)

    def complete(self, optimizer: Optimizer, model: Module, share: Share) -> None:
        """See `Processes.complete`."""
        if not self.buckets(optimizer):
            self.sum_gradients(optimizer.parameters, model, share)

    def buckets(self, optimizer: Optimizer) -> Buckets | None:
        """Of gradients that are summed while backward goes on; None: they are summed after it."""
        return None

    def sum_gradients(self, parameters: Sequence[Parameter], model: Module, share: Share) -> None:
        """Make each gradient its sum over all processes, in their order, in one message.

        Running statistics of norms that each process has by itself become their mean.
        """
        moving = [p for p in parameters if p.grad is not None]
        own = [] if self.sync_norm else self._own_statistics(model)
        arrays = [*(p.grad for p in moving), *(b.data for b in own)]
        if not arrays:
            return
        flat, places = self._places(arrays)
        for place, a in zip(places, arrays, strict=True):
            place[...] = a
        flat[sum(p.size for p in moving) :] *= share.weight
        self.sum_in_order(flat)
        for p, g in zip(moving, places, strict=False):
            _take(p, g)
        for b, mean in zip(own, places[len(moving) :], strict=True):
            b.update(partial(_copy_to, mean))

    def _places(self, arrays: list[Any]) -> tuple[Array, list[Array]]:
        """Memory for the numbers of these arrays, one after the other, and in it each one's place.

        The memory has a multiple of `size` numbers. Both are the same at every step.
        """
        xp, dtype = array_module(*arrays), np.result_type(*{a.dtype for a in arrays})
        shapes, sizes = [a.shape for a in arrays], [a.size for a in arrays]
        flat = self.memory(-(-sum(sizes) // self.size) * self.size, dtype, xp)
        if self.places[0] is not flat or self.places[1] != shapes:
            ends = zip(shapes, sizes, accumulate(sizes), strict=True)
            places = [flat[end - size : end].reshape(shape) for shape, size, end in ends]
            self.places = flat, shapes, places
        return flat, self.places[2]

    def memory(self, length: int, dtype: Any, xp: Any) -> Array:
        """(length,) to be summed; the same at every step. It starts as zeros."""
        if self.buffer is None or self.buffer.size != length or self.buffer.dtype != dtype:
            self.buffer = xp.zeros(length, dtype)
        return self.buffer

    def _own_statistics(self, model: Module) -> list[Buffer]:
        """Those of its norms; a walk through the modules takes longer than many a sum."""
        if self.averaged[0] is not model:
            self.averaged = model, running_statistics(model)
        return self.averaged[1]

    def sum_in_order(self, flat: Array) -> None:
        """flat <- its sum over all processes: each adds up a part, in order; then all get all."""
        parts = self.exchange(flat)
        mine = parts[0]
        for other in parts[1:]:
            mine += other
        self.join(mine, flat)

    def own(self, sums: Array) -> Array:
        """See `Processes.own`."""
        return array_module(sums).zeros_like(sums)

    def add(self, sums: Array, mine: Array, share: Share) -> None:
        """See `Processes.add`."""
        sums += self.sum_metrics(mine, share)
        mine[...] = 0

    def sum_metrics(self, sums: Array, share: Share) -> Array:
        """The sum over all processes, in their order."""
        every = self.gather(sums if share.counts else array_module(sums).zeros_like(sums))
        total = every[0].copy()
        for other in every[1:]:
            total += other
        return total

    def agree(self, ready: bool) -> bool:
        """See `Processes.agree`."""
        return bool(to_numpy(self.gather(asarray(np.array([float(ready)])))).all())

    # ------------------------------------------------------------------ who leads, who helps

    @contextmanager
    def training(
        self, model: Module, dataset: Any, recipe: Any, optimizer: Any, *how: Any
    ) -> Iterator[None]:
        """Process 0 sends the training; all compare what they start from, and what they end with.

        `how`: what else is sent along, as `help` gets it.
        """
        if self.rank == 0:
            self._check_size(recipe.batch_size)
            number, memory = self._number(dataset), optimizer.state_dict()
            self.send(_packed((model, number, recipe, memory, how)))
        self.compare(model)
        try:
            yield
        except GeneratorExit:
            if self.rank == 0:
                self.send(b"")  # in place of the order to go on
            raise
        self.compare(model)

    def _check_size(self, batch: int) -> None:
        if batch < 2 * self.size:
            raise OptionError(
                f"a `batch_size` of {batch} is too small for {self.size} processes: two images for "
                f"each are the least; give {2 * self.size} or more, or start fewer processes"
            )

    def _number(self, dataset: Any) -> int:
        found = [i for i, known in enumerate(self.datasets) if known is dataset]
        if not found:
            raise OptionError(
                f"the images of {dataset.name} are not those that the processes were started with"
            )
        return found[0]

    def compare(self, model: Module) -> None:
        """Raise `InvariantError` unless all processes have the same network and masks."""
        held = {name: to_numpy(t.data) for name, t in model.named_state()}
        for name, p in model.named_parameters():
            if p.constraint is not None:
                alive = np.ones(p.shape, p.dtype)
                alive_there = array_module(p.data).asarray(alive)
                p.constraint(alive_there)
                held[f"mask of {name}"] = to_numpy(alive_there)
        mine = np.frombuffer(bytes.fromhex(digest(held)), np.uint8).astype(np.float64)
        every = self.gather(array_module(*(p.data for p in model.parameters())).asarray(mine))
        differs = [r for r in range(self.size) if (to_numpy(every[r]) != to_numpy(every[0])).any()]
        if differs:
            raise InvariantError(
                f"process {differs[0]} of {self.size} has another network than process 0: weights, "
                "masks or statistics differ; look for memory that is damaged, or another program"
            )

    def go_on(self) -> None:
        """See `Processes.go_on`."""
        if self.rank == 0:
            self.send(b"on")
        elif self.receive() != b"on":
            raise Stopped

    def help(self, train: Callable[..., Any], datasets: Sequence[Any]) -> None:
        """What the others do: train along with process 0, until it ends.

        train(model, dataset, recipe, state of the optimizer, *how) is one training.
        """
        while message := self.receive():
            model, number, recipe, memory, how = pickle.loads(message)
            with suppress(Stopped):
                train(model, datasets[number], recipe, memory, *how)

    def end(self) -> None:
        """Process 0 lets the others go."""
        self.send(b"")

    def ready(self) -> None:
        """Take what this process computes with; `OptionError` where there is none for it."""

    def farewell(self) -> None:
        """A process has said what is wrong, and ends: the others are not to say it again."""

    def has_farewell(self) -> bool:
        """Has another one said it, or does it within a second?"""
        return False

    # --------------------------------------------------------------------- how they talk

    def gather(self, a: Array) -> Array:
        """(K,) of each process -> (size, K) on all."""
        raise NotImplementedError

    def exchange(self, flat: Array) -> Array:
        """(size k,) of each -> (size, k): the part of this process from each."""
        return self.gather(flat).reshape(self.size, self.size, -1)[:, self.rank].copy()

    def join(self, part: Array, flat: Array) -> None:
        """flat (size k,) <- the parts (k,) of all processes."""
        flat[...] = self.gather(part).reshape(-1)

    def send(self, message: bytes) -> None:
        """Process 0: to all others."""
        raise NotImplementedError

    def receive(self) -> bytes:
        """The others: what process 0 sends."""
        raise NotImplementedError


def lost(rank: int, size: int, what: str = "has died") -> RunError:
    """What to say when a process is not there any more."""
    return RunError(
        f"process {rank} of {size} {what}, and the others end: was it killed or stopped, or the "
        "memory too small? The same command goes on from the last checkpoint"
    )


def _take(p: Parameter, g: Array) -> None:
    """Make g the gradient: without a copy, unless a GPU steps it where it is."""
    if isinstance(g, np.ndarray) and g.dtype == p.dtype:
        p.grad = g  # until the next sum
    else:
        assert p.grad is not None
        p.grad[...] = g


def _weighted(loss: Tensor, weight: float) -> Array:
    return array_module(loss.data).ones_like(loss.data) * weight


def _copy_to(values: Array, array: Array) -> None:
    array[...] = values


def running_statistics(model: Module) -> list[Buffer]:
    """The running statistics of norms; what dropout has drawn is counted, and no statistic."""
    counted = {id(m.draws) for _, m in model.named_modules() if isinstance(m, Dropout)}
    floats = (t for _, t in model.named_state() if isinstance(t, Buffer) and t.dtype.kind == "f")
    return [t for t in floats if id(t) not in counted]


def _packed(job: Any) -> bytes:
    try:
        return pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OptionError(
            f"this network cannot be sent to other processes ({error}): let its parts be classes "
            "and functions of a file, not made inside of functions"
        ) from error
