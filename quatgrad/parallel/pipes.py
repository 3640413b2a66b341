"""Processes of one machine that the first starts itself and talks to through pipes.

For the GPUs of a node, whose arrays go over NCCL: there is little else to say, and no MPI is
needed.

    process 0 --- pipe --- process 1         gather: all to process 0, and all of that to all
        `-------- pipe --- process 2
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import QuatgradError, line
from quatgrad.parallel.processes import Several, lost

#: Seconds in which process 0 says by itself what is wrong, if it does not wait for its GPU.
GRACE = 1.0
SAID = 2  # the exit code of a process that has said what is wrong


class Pipes(Several):
    """Several processes; process 0 has a pipe to each other, and each other one to it."""

    def __init__(self, size: int, rank: int, sync_norm: bool, pipes: list[Connection]):
        super().__init__(size, rank, sync_norm)
        self.pipes = pipes
        self.others: list[Any] = []  # of process 0

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        mine = np.ascontiguousarray(a).tobytes()
        if self.rank:
            self.send(mine)
            every = self.receive()
        else:
            every = b"".join([mine, *map(self._hear, range(self.size - 1))])
            self.send(every)
        return np.frombuffer(every, a.dtype).reshape(self.size, *a.shape).copy()

    def send(self, message: bytes) -> None:
        """See `Several.send`."""
        for i, pipe in enumerate(self.pipes):
            try:
                pipe.send_bytes(message)
            except OSError:
                self._end(i)

    def receive(self) -> bytes:
        """See `Several.receive`."""
        return self._hear(0)

    def _hear(self, i: int) -> bytes:
        try:
            return self.pipes[i].recv_bytes()
        except (EOFError, OSError):
            self._end(i)

    def _end(self, i: int) -> NoReturn:
        """Nobody is at the other end of a pipe: process 0 says so, if that one has not."""
        if self.rank:
            os._exit(1)
        if _exit_code(self.others[i]) == SAID:
            sys.exit(SAID)
        raise lost(i + 1, self.size)


def _exit_code(other: Any) -> int | None:
    """Of a process that ends, within GRACE: the thread that asks second is told a moment later."""
    end = time.monotonic() + GRACE
    while other.exitcode is None and time.monotonic() < end:
        time.sleep(0.01)
    return other.exitcode


def start(
    n: int, make: Callable[..., Pipes], sync_norm: bool, work: Callable[..., Any], *args: Any
) -> Pipes:
    """Process 0 of n: the others are started, each with work(make(...), *args).

    A watch ends this process when another one dies, and the others when this one does.
    """
    spawn = multiprocessing.get_context("spawn")
    pipes, others = [], []
    for rank in range(1, n):
        mine, theirs = spawn.Pipe()
        how = theirs, make, (n, rank, sync_norm), work, args
        other = spawn.Process(target=_other, args=how, daemon=True)
        other.start()
        theirs.close()
        pipes.append(mine)
        others.append(other)
    threading.Thread(target=_watch_others, args=(others,), daemon=True).start()
    group = make(n, 0, sync_norm, pipes)
    group.others = others
    return group


def _other(pipe: Connection, make: Any, about: Any, work: Callable[..., Any], args: Any) -> None:
    """The life of another process; what a terminal sends is for the first alone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch_first, daemon=True).start()
    code: Any = 1
    try:
        work(make(*about, [pipe]), *args)
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except (QuatgradError, MemoryError, OSError) as error:
        print(f"error: {line(error)}", file=sys.stderr)
        code = SAID
    except Exception:  # a bug
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without a farewell: that of NCCL waits for process 0, which waits for this one


def _watch_first() -> None:
    first = multiprocessing.parent_process()
    assert first is not None
    wait([first.sentinel])
    time.sleep(GRACE)  # in which this one may say what was wrong
    os._exit(1)


def _watch_others(others: list[Any]) -> None:
    """End this process when one of the others has died: it may wait for a message of its GPU."""
    left = {other.sentinel: (rank, other) for rank, other in enumerate(others, 1)}
    while left:
        for sentinel in wait([*left]):
            rank, other = left.pop(sentinel)
            if code := _exit_code(other):
                time.sleep(GRACE)
                if code != SAID:
                    told = lost(rank, len(others) + 1)
                    print(f"error: {told}", file=sys.stderr, flush=True)
                os._exit(SAID)
