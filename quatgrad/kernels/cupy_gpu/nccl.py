"""Bytes between GPUs, by NCCL: what each process has, to all; and to each its part.

NCCL adds up too, in an order of its own; here it only moves, and CuPy adds in the order of the
processes. All calls go to the current stream, so they can be part of a CUDA graph: NCCL allows it
from 2.9 on, if all processes record the same (NCCL's user guide, "Using NCCL with CUDA Graphs").
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from quatgrad.errors import BackendError

MISSING = (
    "`parallel` nccl: CuPy finds no NCCL; pip install 'quatgrad[nccl12]', or nccl13 beside CUDA 13"
)


def _binding() -> Any:
    """CuPy's binding of NCCL; `BackendError` where NCCL is not installed."""
    with suppress(ImportError):
        from cupy.cuda import nccl  # a module that nothing else imports

        if nccl.available:
            return nccl
    raise BackendError(MISSING)


def is_installed() -> bool:
    """Does CuPy find NCCL?"""
    with suppress(BackendError):
        return bool(_binding())
    return False


def gpus() -> int:
    """How many there are."""
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def unique_id() -> Any:
    """What process 0 makes and all must know to find each other."""
    return _binding().get_unique_id()


class Wire:
    """All GPUs, one for each process; made at the same time in all of them."""

    def __init__(self, size: int, rank: int, identity: Any):
        self.nccl, self.size = _binding(), size
        self.comm = self.nccl.NcclCommunicator(size, identity, rank)

    def all_gather(self, a: Any, every: Any) -> None:
        """every (size, ...) <- the contiguous a (...) of all processes."""
        how = a.nbytes, self.nccl.NCCL_UINT8, self._stream()
        self.comm.allGather(int(a.data.ptr), int(every.data.ptr), *how)

    def all_to_all(self, flat: Any, parts: Any) -> None:
        """parts (size, k) <- of each process the k numbers of its flat (size k) meant for this."""
        part, start, to = parts.nbytes // self.size, int(flat.data.ptr), int(parts.data.ptr)
        self.nccl.groupStart()
        try:
            for peer in range(self.size):
                how = part, self.nccl.NCCL_UINT8, peer, self._stream()
                self.comm.send(start + peer * part, *how)
                self.comm.recv(to + peer * part, *how)
        finally:
            self.nccl.groupEnd()

    def _stream(self) -> int:
        import cupy

        return cupy.cuda.get_current_stream().ptr


class Beside:
    """A second stream, for what may run beside the work of the current one; also in a CUDA graph.

    In a graph it is a branch: it leaves the recorded stream by one event and comes back by another
    (CUDA C++ programming guide, "Cross-stream dependencies and events").
    """

    def __init__(self) -> None:
        import cupy

        self.current = cupy.cuda.get_current_stream
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.given, self.done = (cupy.cuda.Event(disable_timing=True) for _ in range(2))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """In the block, work follows all that the current stream has been given so far."""
        self.stream.wait_event(self.current().record(self.given))
        with self.stream:
            yield

    def join(self) -> None:
        """What the current stream is given from now on follows the work here."""
        self.current().wait_event(self.stream.record(self.done))
