"""A function as a list of calls: of compiled functions, and of Python's where those are not all.

The first run notes each call with its arguments. To repeat the run is to make the same calls on the
same arrays, without the Python that led to them: a small network waits for that half of its time.
A note holds no array alive. It holds its place in an `Arena`, which a later array of the same run
may have too: the order of the calls is the same, so each finds what it found.

Calls that Python makes otherwise, and what it decides, are not repeated. What computes beside
compiled functions goes through `quatgrad.calls.call`; there Python runs again, as a whole.
"""

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any

import numpy as np
from numba.core.registry import CPUDispatcher

from quatgrad import calls
from quatgrad.kernels.numba_cpu.machine.arena import Arena

#: A call: the function, its arguments, and of its results those that are copied, with the copies.
Note = tuple[Callable[..., Any], tuple[Any, ...], list[tuple[int | None, np.ndarray]]]


class Recorder:
    """Runs a function and notes its calls; `repeat` makes them again.

    `refused` says why a repetition would not do the same, or nothing.
    """

    def __init__(self, arena: Arena):
        self.arena, self.notes = arena, list[Note]()
        self.thread, self.listening, self.refused = get_ident(), False, ""

    def run(self, f: Callable[[], Any]) -> None:
        """f(), noted. Arrays that it makes are in the arena."""

        def compiled(function: Any, *args: Any) -> Any:
            if not self.hears() or not any(isinstance(a, np.ndarray) for a in args):
                return plain(function, *args)
            return self._note(function, args, plain(function, *args))

        with self.arena.used():  # alone: what is changed here is changed for all threads
            plain = CPUDispatcher.__call__
            self.listening, calls.recorder = True, self
            CPUDispatcher.__call__ = compiled  # type: ignore[method-assign, assignment]
            try:
                f()
            finally:
                del CPUDispatcher.__call__
                self.listening, calls.recorder = False, None

    def repeat(self) -> None:
        """All calls, in order."""
        for f, args, copies in self.notes:
            y = f(*args)
            for i, a in copies:
                a[...] = y if i is None else y[i]

    def hears(self) -> bool:
        """Is this call one of the run's, and not part of one that is noted as a whole?"""
        return self.listening and get_ident() == self.thread

    def call(self, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """f(*args, **options), noted as a whole; if f is `noted_inside`, its calls."""
        if not self.hears() or getattr(getattr(f, "__self__", None), "noted_inside", False):
            return f(*args, **options)
        self.listening = False
        before, calls.memory = calls.memory, None
        try:
            y = f(*args, **options)
        finally:
            self.listening, calls.memory = True, before
        if f is np.asarray and y is args[0]:  # nothing was to be done
            return y
        return self._note(partial(f, **options) if options else f, args, y)

    def _note(self, f: Callable[..., Any], args: tuple[Any, ...], y: Any) -> Any:
        """Write the call down; its result, new arrays in it being moved to the arena."""
        several, copies = type(y) is tuple, list[tuple[int | None, Any]]()
        results = y if several else (y,)
        kept = list(results)
        for i, a in enumerate(results):
            if a is None:
                continue
            if not isinstance(a, np.ndarray | np.generic):
                self.refused = f"{f} gives a {type(a).__name__}"
            elif not _is_part_of(a, args):
                kept[i] = self._copy(np.asarray(a))
                copies.append((i if several else None, self.held(kept[i])))
        self.notes.append((f, self.held(args), copies))
        return tuple(kept) if several else kept[0]

    def _copy(self, a: np.ndarray) -> np.ndarray:
        copy = np.ndarray(a.shape, a.dtype, self.arena(a.nbytes))
        copy[...] = a
        return copy

    def held(self, x: Any) -> Any:
        """x, or where it is an array in the arena, the place alone: its memory may be given on."""
        if type(x) in (tuple, list):
            return type(x)(map(self.held, x))
        if not isinstance(x, np.ndarray) or not x.size:
            return x
        place = self.arena.place(x.__array_interface__["data"][0])
        if place is None:
            return x
        a = np.ndarray(x.shape, x.dtype, *place, x.strides)
        a.flags.writeable = x.flags.writeable
        return a


def _is_part_of(a: Any, args: tuple[Any, ...]) -> bool:
    """Does a share the memory of an argument?"""
    return isinstance(a, np.ndarray) and any(
        isinstance(b, np.ndarray) and np.may_share_memory(a, b) for b in args
    )
