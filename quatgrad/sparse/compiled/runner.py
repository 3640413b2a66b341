"""A program with its arenas: one call for one image, threads that share the images of a batch."""

import threading
from itertools import pairwise

import numba
import numpy as np
from llvmlite import ir
from numba import types

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, read_only, serial_nogil
from quatgrad.kernels.numba_cpu.machine.threads import in_threads
from quatgrad.kernels.numba_cpu.simd.vector import intrinsic, pointer, scratch
from quatgrad.sparse.compiled.kernels import address
from quatgrad.sparse.compiled.table import ROW
from quatgrad.sparse.layout import SPAN
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
def run(arena, table, floats, ints, inputs, outputs, images, logits, side, size):
    """Images (N, H W C), so many side by side, in this thread."""
    sums, (N, K) = scratch(size), images.shape
    for first in range(0, N, side):
        some = min(side, N - first)
        for start in range(0, K, SPAN):  # lines of each image, while their channels are in L1
            for n in range(some):
                for k in range(start, min(K, start + SPAN)):
                    arena[inputs[k] + n] = images[first + n, k]
        for k in range(len(table)):
            call(arena, table, k, floats, ints, sums)
        for n in range(some):
            for k in range(len(outputs)):
                logits[first + n, k] = arena[outputs[k] + n]


class Compiled:
    """A program in memory, and the maps of each thread."""

    def __init__(self, program: Program):
        table = program.table.copy()
        table["function"] = [address(*kernel) for kernel in program.kernels]
        tables = table, program.floats, program.ints, program.inputs, program.outputs
        self.tables = [read_only(a) for a in tables]
        self.program, self.arenas = program, list[Array]()
        self.grow(1)

    def _arena(self) -> Array:
        arena = empty(self.program.arena.shape, np.dtype(np.float32))
        arena[:] = self.program.arena
        return arena

    def grow(self, threads: int) -> None:
        """Maps for so many threads."""
        self.arenas += [self._arena() for _ in range(threads - len(self.arenas))]

    def __call__(self, images: Array, thread: int) -> Array:
        """What the program gives for images (N, H W C), flat."""
        y = np.empty((len(images), len(self.program.outputs)), np.float32)
        sizes = self.program.side, self.program.sums
        run(self.arenas[thread], *self.tables, read_only(images), y, *sizes)
        return y


class Runner:
    """runner(images) -> logits, program by program; calls from several threads wait."""

    def __init__(self, programs: list[Program]):
        self.parts = [Compiled(program) for program in programs]
        self.lock = threading.Lock()

    def __call__(self, images: Array) -> Array:
        """Logits (N, K) of images (N, H W C), in as many threads as Numba has."""
        N = len(images)
        threads = max(1, min(numba.get_num_threads(), N // AT_LEAST))
        with self.lock:
            for part in self.parts:
                part.grow(threads)
            if threads == 1:
                return self._part(images, 0)
            cuts = [k * N // threads for k in range(threads + 1)]
            tasks = [(images[i:j], k) for k, (i, j) in enumerate(pairwise(cuts))]
            return np.concatenate(in_threads(self._part, tasks))

    def _part(self, x: Array, thread: int) -> Array:
        for part in self.parts:
            x = part(x, thread)
        return x
