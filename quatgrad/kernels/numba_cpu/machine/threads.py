"""Threads of Python that stay, for compiled code which Python need not wait for.

To start them anew for each call takes a tenth of a millisecond.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba


def in_threads(f: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
    """[f(*task) for each task], side by side; the first one in the thread that calls."""
    jobs = [_workers().submit(f, *task) for task in tasks[1:]]
    return [f(*tasks[0]), *(job.result() for job in jobs)]


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.get_num_threads(), "quatgrad")


if hasattr(os, "register_at_fork"):  # a fork has no threads
    os.register_at_fork(after_in_child=_workers.cache_clear)
