"""SIGTERM and SIGINT: at once as a rule, but a network in training is saved first."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quatgrad.backend import notice
from quatgrad.parallel.mpi import by_mpirun


class Interrupted(KeyboardInterrupt):
    """The signal `number` ended the process; `saved` says what was saved."""

    def __init__(self, number: int, saved: str = ""):
        super().__init__(number)
        self.number, self.saved = number, saved


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Both signals call `handler(number)` in the block; in a thread, nothing is changed.

    In a job of Slurm SIGTERM stays as it is: submitit ignores it, and queues the job again by a
    signal of its own; it goes on from its last checkpoint.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [signal.SIGINT] + [signal.SIGTERM] * (os.environ.get("SUBMITIT_EXECUTOR") != "slurm")
    before = {s: signal.signal(s, lambda number, _: handler(number)) for s in ours}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def at_once(number: int) -> None:
    """A handler that ends the process at once."""
    raise Interrupted(number)


@contextmanager
def remembered() -> Iterator[list[int]]:
    """In the block, a first signal is only put on the list; a second one ends the process at once.

    The code of the block reads the list, saves its work, and stops. Under mpirun, which would not
    wait for that, the first one ends it.
    """
    stop_requests: list[int] = []

    def remember(number: int) -> None:
        if stop_requests or by_mpirun():
            raise Interrupted(number)
        stop_requests.append(number)
        notice("stopping after this step (a second signal: at once)")

    with handled(remember):
        yield stop_requests
    if stop_requests:
        raise Interrupted(stop_requests[0], "a finished level")
