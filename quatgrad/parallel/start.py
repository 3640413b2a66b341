"""Starting several processes, and ending them: together, or all at once."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from quatgrad.errors import OptionError, QuatgradError
from quatgrad.parallel.mpi import Mpi, world
from quatgrad.parallel.processes import Several, use_processes

T = TypeVar("T")
#: How processes talk.
KINDS = ("mpi", "nccl")


#: Has a group of several led, and so ended? A second one would wait for those that are gone.
_ended = False


def group(kind: str, sync_norm: bool) -> Several:
    """All processes that were started together."""
    if _ended:
        raise OptionError(
            "the processes that were started together have ended with their first run: start "
            "another one by an mpirun of its own"
        )
    if kind == "nccl":
        from quatgrad.parallel.nccl import nccl

        return nccl(sync_norm)
    found = Mpi(world(), sync_norm)
    share_cores(found.local_size)
    return found


def lead(
    several: Several,
    agree: Mapping[str, Any],
    prepare: Callable[[], Sequence[Any]],
    train: Callable[..., Any],
    main: Callable[[], T],
) -> T:
    """In process 0 what `main()` gives, with all training shared; the others help, and end.

    `agree`: what must be the same in all of them. `prepare` loads the datasets. `train`: see
    `Several.help`. An error in one process ends all of them.
    """
    global _ended
    _ended = several.size > 1
    try:
        compare_starts(several, agree)
        several.datasets = [*alike(several, prepare)]
        images = [dataset.fingerprint() for dataset in several.datasets]
        compare_starts(several, {"images": images})
        with use_processes(several):
            if several.rank:
                for number in (signal.SIGTERM, signal.SIGINT):  # process 0 decides
                    signal.signal(number, signal.SIG_IGN)
                several.help(train, several.datasets)
                sys.exit(0)
            result = main()
        several.end()
        return result
    except BaseException as error:
        if several.rank and isinstance(error, QuatgradError) and several.has_farewell():
            os._exit(2)
        if not (isinstance(error, SystemExit) and error.code == 0):
            atexit.register(end_all, several, getattr(error, "number", None))
        raise


def alike(several: Several, work: Callable[[], T]) -> T:
    """What the work gives in each process; where it fails in some, the lowest raises its error."""
    wrong: QuatgradError | None = None
    try:
        result = work()
    except QuatgradError as error:
        wrong = error
    failed = several.gather(np.array([wrong is not None], np.int64))[:, 0]
    if not failed.any():
        return result
    if wrong is None or failed.argmax() != several.rank:
        sys.exit(2)
    raise wrong


def compare_starts(several: Several, agree: Mapping[str, Any]) -> None:
    """Raise `OptionError` in process 0 unless all were started alike; the others end in silence."""
    said = json.dumps(agree, sort_keys=True, default=str).encode()
    lengths = several.gather(np.array([len(said)], np.int64))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(said)] = np.frombuffer(said, np.uint8)
    every = several.gather(padded)
    texts = [every[r, : int(lengths[r, 0])].tobytes() for r in range(several.size)]
    other = next((r for r in range(several.size) if texts[r] != texts[0]), None)
    if other is None:
        return
    if several.rank:
        sys.exit(2)
    theirs = json.loads(texts[other])
    mine = json.loads(said)
    differs = [k for k in sorted({*mine, *theirs}) if mine.get(k) != theirs.get(k)]
    told = ", ".join(f"{k} {mine.get(k)!s:.60} and {theirs.get(k)!s:.60}" for k in differs[:3])
    raise OptionError(
        f"process {other} was started otherwise than process 0: {told}; give all the same command, "
        "and the same version of quatgrad on every machine"
    )


def end_all(several: Several, number: int | None) -> None:
    """End this process without a farewell, which would wait for the others: so all end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    several.farewell()
    os._exit(128 + number if number else 2)


def share_cores(n: int) -> None:
    """Use one n-th of the cores of this host, unless the environment says how many."""
    if "NUMBA_NUM_THREADS" not in os.environ:
        import numba

        available = len(os.sched_getaffinity(0))
        cores = available if available < (os.cpu_count() or 1) else available // n
        numba.set_num_threads(max(1, min(cores, numba.get_num_threads())))
