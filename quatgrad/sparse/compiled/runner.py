"""A program with its arenas: one call for one image, threads that share the images of a batch."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numba
import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, read_only
from quatgrad.sparse.compiled.run import run
from quatgrad.sparse.program import Program, Tables

AT_LEAST = 2  # images for each thread: fewer are not worth to wake one up


class Runner:
    """runner(images) -> logits; calls from several threads wait for each other."""

    def __init__(self, program: Program, outputs: int):
        self.program, self.outputs = program, outputs
        self.table = read_only(program.table)
        self.tables = Tables(*map(read_only, program.tables))
        self.arenas: list[Array] = []
        self.lock = threading.Lock()
        self.arena(0)

    def arena(self, thread: int) -> Array:
        """The maps of a thread."""
        while len(self.arenas) <= thread:
            new = empty(self.program.arena.shape, np.dtype(np.float32))
            new[:] = self.program.arena
            self.arenas.append(new)
        return self.arenas[thread]

    def __call__(self, images: Array) -> Array:
        """Logits (N, K) of images (N, H W, C), in as many threads as Numba has."""
        N = len(images)
        threads = max(1, min(numba.get_num_threads(), N // AT_LEAST))
        logits = np.empty((N, self.outputs), np.float32)
        with self.lock:
            if threads == 1:
                self._part(images, logits, 0)
                return logits
            cuts = [k * N // threads for k in range(threads + 1)]
            parts = [slice(*cut) for cut in pairwise(cuts)]
            jobs = [
                _workers().submit(self._part, images[part], logits[part], k + 1)
                for k, part in enumerate(parts[1:])
            ]
            self._part(images[parts[0]], logits[parts[0]], 0)
            for job in jobs:
                job.result()
        return logits

    def _part(self, images: Array, logits: Array, thread: int) -> None:
        arena, size = self.arena(thread), self.program.sums
        run(arena, self.table, self.tables, read_only(images), logits, size)


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.get_num_threads(), "quatgrad plan")
