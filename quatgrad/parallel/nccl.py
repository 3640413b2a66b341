"""Processes with a GPU each, whose arrays go over NCCL.

They are started by mpirun; or by the first of them, on one machine; or there is one alone. What
else process 0 and the others say, which is not much, goes over MPI or pipes.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.errors import OptionError
from quatgrad.flat_parameters import ALIGN
from quatgrad.optim import Optimizer
from quatgrad.parallel import pipes
from quatgrad.parallel.buckets import LEAST, Buckets
from quatgrad.parallel.mpi import Mpi, launched, world
from quatgrad.parallel.processes import Several

#: Where launchers say the number of a process among those of its machine.
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")


def nccl(sync_norm: bool) -> Several:
    """All processes that mpirun has started; without it, this one with its GPU."""
    if not launched():
        return One(sync_norm)
    said = next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), None)
    if said is not None:
        with suppress(OptionError):  # `Nccl.ready` says it, when all are there
            take_gpu(int(said))  # now, because an MPI for GPUs starts CUDA
    return Nccl(world(), sync_norm)


def on_node(n: int, sync_norm: bool, work: Callable[..., Any], *args: Any) -> Several:
    """Process 0 of n on this machine; the others do work(group, *args)."""
    from quatgrad.kernels.cupy_gpu.nccl import gpus, unique_id

    unique_id()  # is NCCL there?
    if n > gpus():
        raise OptionError(f"`processes` {n} need a GPU each, and this machine has {gpus()}")
    return pipes.start(n, OnNode, sync_norm, work, *args)


class _OnGpu(Several):
    """Arrays of CuPy go over NCCL; those of NumPy as a subclass says."""

    wire: Any = None
    cut: Buckets | None = None
    least = LEAST

    def buckets(self, optimizer: Optimizer) -> Buckets | None:
        """Of the arena that SGD has after its first step, if each process can have its part.

        Not with synchronised norms: they talk during backward, and NCCL wants one order of all
        messages everywhere, which two streams do not give.
        """
        flat = getattr(optimizer, "flat", None)
        if self.sync_norm or not flat or ALIGN % self.size:
            return None
        if not flat.is_valid(optimizer.parameters, optimizer.state):
            return None
        if self.cut is None or self.cut.flat is not flat:
            from quatgrad.kernels.cupy_gpu.nccl import Beside

            how = self.sum_in_order, Beside(), self.least
            self.cut = Buckets(flat, optimizer.parameters, *how)
        return self.cut

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        xp = array_module(a)
        a = xp.ascontiguousarray(a)
        every = xp.empty((self.size, *a.shape), a.dtype)
        self.connected().all_gather(a, every)
        return every

    def exchange(self, flat: Array) -> Array:
        """See `Several.exchange`."""
        parts = array_module(flat).empty((self.size, flat.size // self.size), flat.dtype)
        self.connected().all_to_all(flat, parts)
        return parts

    def join(self, part: Array, flat: Array) -> None:
        """See `Several.join`."""
        self.connected().all_gather(part, flat)

    def connected(self) -> Any:
        """The GPUs, connected at the first call, which all processes make."""
        if self.wire is None:
            from quatgrad.kernels.cupy_gpu.nccl import Wire, unique_id

            self.wire = Wire(self.size, self.rank, self.tell(unique_id()))
        return self.wire

    def tell(self, value: Any) -> Any:
        """What process 0 has."""
        return value


class One(_OnGpu):
    """One process with one GPU, by the same path."""

    def __init__(self, sync_norm: bool):
        super().__init__(1, 0, sync_norm)

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        return a[None].copy() if isinstance(a, np.ndarray) else super().gather(a)

    def send(self, message: bytes) -> None:
        """There is nobody."""


class Nccl(_OnGpu, Mpi):
    """Several, found over MPI; each takes the GPU of its number among those of its host."""

    def __init__(self, comm: Any, sync_norm: bool):
        super().__init__(comm, sync_norm)

    def ready(self) -> None:
        """See `Several.ready`."""
        take_gpu(sum(r < self.rank for r in self.beside))

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        return Mpi.gather(self, a) if isinstance(a, np.ndarray) else super().gather(a)

    def tell(self, value: Any) -> Any:
        """See `_OnGpu.tell`."""
        return self.comm.bcast(value)


class OnNode(_OnGpu, pipes.Pipes):
    """Several on one machine, started by the first; each takes the GPU of its number."""

    def __init__(self, size: int, rank: int, sync_norm: bool, ends: list[Any]):
        pipes.Pipes.__init__(self, size, rank, sync_norm, ends)
        take_gpu(rank)

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        here = isinstance(a, np.ndarray)
        return pipes.Pipes.gather(self, a) if here else super().gather(a)

    def tell(self, value: Any) -> Any:
        """See `_OnGpu.tell`."""
        if self.rank:
            return pickle.loads(self.receive())
        self.send(pickle.dumps(value))
        return value


def take_gpu(number: int) -> None:
    """Of the GPUs that this process may see, see this one from now on; one that is alone, anyway.

    Raises `OptionError` where there are several, and too few.
    """
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if number >= len(visible) > 1:
        raise OptionError(
            f"process {number + 1} of this machine has no GPU: CUDA_VISIBLE_DEVICES names "
            f"{len(visible)}, {','.join(visible)}; start as many processes, or name more"
        )
    chosen = visible[number % len(visible)] if visible else str(number)
    os.environ["CUDA_VISIBLE_DEVICES"] = chosen
