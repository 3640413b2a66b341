"""Memory for the arrays of a recorded step: those that are gone make room for new ones.

    [ a | b |   free   | c | d |                  not used yet                      ]

It is as much as an ordinary step has, but it stays, so a call that is repeated finds its arguments
where they were. Its addresses are taken from the system at once, and become memory when they are
written.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

import numpy as np

from quatgrad import calls
from quatgrad.kernels.numba_cpu.machine.cache import LINE

#: Bytes of addresses: a step of more is so long that Python's share is nothing. A system that gives
#: away no more than it has is asked for fewer, down to what a small network takes.
LARGEST, SMALLEST = 1 << 32, 1 << 26
#: One thread at a time: kernels ask for memory at one place. The others get it from NumPy.
_alone = Lock()


class Arena:
    """arena(size) is an array of so many bytes. When nobody holds it any more, others get them."""

    def __init__(self) -> None:
        self.thread, self.memory = get_ident(), _addresses()
        self.is_full = not self.memory.size
        self.start: int = self.memory.ctypes.data
        self.free = [(0, self.memory.size)]  # from place to place, in order
        self.given_back: list[tuple[int, int]] = []

    def __call__(self, size: int) -> np.ndarray:
        """The bytes: the first free ones that suffice. Other threads get memory from NumPy."""
        size = max(LINE, size + -size % LINE)
        if get_ident() != self.thread:
            return np.empty(size, np.uint8)
        self._collect()
        k = next((k for k, (start, end) in enumerate(self.free) if end - start >= size), None)
        if k is None:
            self.is_full = True
            return np.empty(size, np.uint8)
        start, end = self.free[k]
        self.free[k : k + 1] = [(start + size, end)] if start + size < end else []
        block = np.frombuffer(self.memory.data[start : start + size], np.uint8)
        # Noted, and no more: an array may go in the middle of anything.
        weakref.finalize(block, self.given_back.append, (start, start + size)).atexit = False
        return block

    @contextmanager
    def used(self) -> Iterator[None]:
        """Arrays that kernels make in the block, in this thread, are here."""
        with _alone:
            calls.memory = self
            try:
                yield
            finally:
                calls.memory = None

    def _collect(self) -> None:
        """What was given back is free, as one piece with free neighbours."""
        if not self.given_back:
            return
        while self.given_back:
            self.free.append(self.given_back.pop())
        pieces = sorted(self.free)
        self.free = pieces[:1]
        for start, end in pieces[1:]:
            if start == self.free[-1][1]:
                self.free[-1] = self.free[-1][0], end
            else:
                self.free.append((start, end))

    def place(self, address: int) -> tuple[np.ndarray, int] | None:
        """(memory, where in it) of an address, or None if it is not in this memory."""
        at = address - self.start
        return (self.memory, at) if 0 <= at < self.memory.size else None


def _addresses() -> np.ndarray:
    """As many as there are to be had, or none."""
    size = LARGEST
    while size >= SMALLEST:
        try:
            return np.empty(size, np.uint8)
        except MemoryError:
            size //= 2
    return np.empty(0, np.uint8)
