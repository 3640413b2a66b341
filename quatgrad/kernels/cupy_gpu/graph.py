"""Many kernels as one CUDA graph: recorded once, launched again and again as one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from quatgrad.errors import BackendError


class Graph:
    """What f() does on the device; calling the graph does it again, on the same arrays.

    Recording computes nothing. f has run before, so that all it needs is compiled and planned; it
    neither reads numbers from the device nor takes arrays to it, and multiplies no matrices by
    cuBLAS, which CuPy does not record. Arrays that f makes have the graph's own memory: what f
    returns is overwritten by the next call. Errors: CuPy's, and `BackendError` for a copy from
    the host; afterwards the device can be used as before.
    """

    def __init__(self, f: Callable[[], Any]):
        import cupy

        self.stream, self.memory = cupy.cuda.Stream(), cupy.cuda.MemoryPool()
        cupy.get_default_memory_pool().free_all_blocks()  # what f's last run has left
        with self.stream, cupy.cuda.using_allocator(self.memory.malloc), _no_copies_from_host():
            self.stream.begin_capture()
            try:
                self.result = f()
            except Exception:
                with suppress(cupy.cuda.runtime.CUDARuntimeError):  # the first error says more
                    self.stream.end_capture()
                raise
            self.graph = self.stream.end_capture()

    def __call__(self) -> Any:
        """Launch it; the result of f, as soon as the device has got there."""
        self.graph.launch(self.stream)
        return self.result


@contextmanager
def _no_copies_from_host() -> Iterator[None]:
    """CuPy would record the copy from a buffer that is soon used for something else.

    It takes that buffer from the allocator of pinned memory, which can be made to refuse.
    """
    import cupy

    def refuse(nbytes: int) -> None:
        raise BackendError(f"a copy of {nbytes} bytes from the host cannot be part of a CUDA graph")

    cupy.cuda.set_pinned_memory_allocator(refuse)
    try:
        yield
    finally:
        cupy.cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)
