"""A program with its arenas: one call for one image, threads that share the images of a batch."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numba
import numpy as np
from llvmlite import ir
from numba import types

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, read_only, serial_nogil
from quatgrad.kernels.numba_cpu.simd.vector import intrinsic, pointer, scratch
from quatgrad.sparse.compiled.kernels import address
from quatgrad.sparse.compiled.table import ROW
from quatgrad.sparse.program import Program

AT_LEAST = 2  # images for each thread: fewer are not worth to wake one up


@intrinsic
def call(typing_context, arena, table, k, floats, ints, sums):
    """Call the kernel of row k; its address is the first number of the row."""
    signature = types.void(arena, table, types.int64, floats, ints, sums)

    def generate(target, b, signature, args):
        arena, table, floats, ints, sums = (
            pointer(target, b, signature.args[i], args[i]) for i in (0, 1, 3, 4, 5)
        )
        row = ir.ArrayType(ir.IntType(8), ROW.itemsize).as_pointer()
        row = b.gep(b.bitcast(table, row), [args[2]])
        given = [arena, row, floats, ints, sums]
        kind = ir.FunctionType(ir.IntType(8).as_pointer(), [x.type for x in given])
        at = b.load(b.bitcast(row, ir.IntType(64).as_pointer()))
        b.call(b.inttoptr(at, kind.as_pointer()), given)
        return target.get_dummy_value()

    return signature, generate


@serial_nogil
def run(arena, table, floats, ints, inputs, outputs, images, logits, size):
    """Images (N, H W C), one after the other, in this thread."""
    sums = scratch(size)
    for n in range(len(images)):
        for k in range(len(inputs)):
            arena[inputs[k]] = images[n, k]
        for k in range(len(table)):
            call(arena, table, k, floats, ints, sums)
        for k in range(len(outputs)):
            logits[n, k] = arena[outputs[k]]


class Runner:
    """runner(images) -> logits; calls from several threads wait for each other."""

    def __init__(self, program: Program):
        table = program.table.copy()
        table["function"] = [address(*kernel) for kernel in program.kernels]
        self.first, self.outputs = program.arena, len(program.outputs)
        self.tables = [
            read_only(a)
            for a in (table, program.floats, program.ints, program.inputs, program.outputs)
        ]
        self.sums = program.sums
        self.arenas: list[Array] = []
        self.lock = threading.Lock()
        self.arena(0)

    def arena(self, thread: int) -> Array:
        """The maps of a thread."""
        while len(self.arenas) <= thread:
            new = empty(self.first.shape, np.dtype(np.float32))
            new[:] = self.first
            self.arenas.append(new)
        return self.arenas[thread]

    def __call__(self, images: Array) -> Array:
        """Logits (N, K) of images (N, H W C), in as many threads as Numba has."""
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
        run(self.arena(thread), *self.tables, read_only(images), logits, self.sums)


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.get_num_threads(), "quatgrad plan")


if hasattr(os, "register_at_fork"):  # a fork has no threads
    os.register_at_fork(after_in_child=_workers.cache_clear)
