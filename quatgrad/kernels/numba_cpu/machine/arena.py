"""Memory for the arrays of a recorded step: those that are gone make room for new ones.

    chunk   [ a | b |   free   | c | free ]

It is as much as an ordinary step has, but it stays, so a call that is repeated finds its arguments
where they were.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

import numpy as np

from quatgrad import calls
from quatgrad.kernels.numba_cpu.machine.cache import LINE

#: Bytes that are taken from the system at once; a larger array has a chunk of its own.
CHUNK = 1 << 25
#: Bytes of all chunks, at most: a step of more is so long that Python's share is nothing.
LARGEST = 1 << 28
#: One thread at a time: kernels ask for memory at one place. The others get it from NumPy.
_alone = Lock()


class Arena:
    """arena(size) is an array of so many bytes. When nobody holds it any more, others get them."""

    def __init__(self) -> None:
        self.thread = get_ident()
        self.chunks: list[np.ndarray] = []
        self.starts: list[int] = []  # addresses of the chunks
        self.free: list[tuple[int, int]] = []  # from address to address, in order
        self.given_back: list[tuple[int, int]] = []
        self.is_full = False

    def __call__(self, size: int) -> np.ndarray:
        """The bytes: the first free ones that suffice. Other threads get memory from NumPy."""
        size = max(LINE, size + -size % LINE)
        if get_ident() != self.thread or not self._has(size):
            return np.empty(size, np.uint8)
        k = next(k for k, (start, end) in enumerate(self.free) if end - start >= size)
        start, end = self.free[k]
        self.free[k : k + 1] = [(start + size, end)] if start + size < end else []
        place = self.place(start)
        assert place, "free memory is in a chunk"
        chunk, at = place
        block = np.frombuffer(chunk.data[at : at + size], np.uint8)
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

    def _has(self, size: int) -> bool:
        """Are so many bytes free, if need be in a new chunk?"""
        self._collect()
        if any(end - start >= size for start, end in self.free):
            return True
        self.is_full = sum(map(len, self.chunks)) + max(size, CHUNK) > LARGEST
        if not self.is_full:
            self._grow(max(size, CHUNK))
        return not self.is_full

    def _grow(self, size: int) -> None:
        chunk = np.empty(size, np.uint8)
        self.chunks.append(chunk)
        self.starts.append(chunk.ctypes.data)
        self.free = sorted([*self.free, (self.starts[-1], self.starts[-1] + len(chunk))])

    def _collect(self) -> None:
        """What was given back is free, as one piece with free neighbours of the same chunk."""
        while self.given_back:
            self.free.append(self.given_back.pop())
        pieces = sorted(self.free)
        self.free = pieces[:1]
        for start, end in pieces[1:]:
            if start == self.free[-1][1] and start not in self.starts:
                self.free[-1] = self.free[-1][0], end
            else:
                self.free.append((start, end))

    def place(self, address: int) -> tuple[np.ndarray, int] | None:
        """(chunk, where in it) of an address, or None if it is not in this memory."""
        for chunk, start in zip(self.chunks, self.starts, strict=True):
            if start <= address < start + len(chunk):
                return chunk, address - start
        return None
