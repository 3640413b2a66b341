"""Processes with a GPU each, whose arrays go over NCCL; started by mpirun, or one alone.

What is said from process 0 to the others, which is not much, goes over MPI.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module
from quatgrad.parallel.mpi import Mpi, launched, world
from quatgrad.parallel.processes import Several


def nccl(sync_norm: bool) -> Several:
    """All processes that mpirun has started; without it, this one with its GPU."""
    if not launched():
        return One(sync_norm)
    return Nccl(world(), sync_norm)


class _OnGpu(Several):
    """Arrays of CuPy go over NCCL; those of NumPy as a subclass says."""

    wire: Any = None

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
        number = sum(r < self.rank for r in self.beside)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            visible.split(",")[number] if visible and "," in visible else visible or str(number)
        )

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        return Mpi.gather(self, a) if isinstance(a, np.ndarray) else super().gather(a)

    def tell(self, value: Any) -> Any:
        """See `_OnGpu.tell`."""
        return self.comm.bcast(value)
