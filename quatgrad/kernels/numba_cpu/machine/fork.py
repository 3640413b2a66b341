"""Kernels in a forked process: their loops run in the thread that calls them, with the same bits.

GNU's OpenMP, on which Numba's threads run on Linux, does not survive a fork, the way in which
`multiprocessing` starts processes there up to Python 3.13: Numba kills a forked process that runs
a parallel loop. So compiled loops do not call Numba's `parallel_for` but a function of ours, which
calls it, or in a forked process runs the loop itself.
"""

import ctypes
import os
from importlib import import_module
from typing import Any

import numba
from llvmlite import binding, ir

#: What loops call it: parallel_for(loop, arrays, sizes, steps, data, axes, arrays, threads).
_NAME = "numba_parallel_for"

_forked = ctypes.c_int32(0)
_engines: list[Any] = []  # each holds the code of a function, and lives as long as the process


def survive_forks() -> None:
    """Let the loops that are compiled or loaded from now on run in forked processes."""
    if not hasattr(os, "register_at_fork"):
        return
    numba.get_num_threads()  # starts the threads, and Numba gives `parallel_for` its address
    if numba.threading_layer() != "omp":
        return  # the others survive
    pool = import_module("numba.np.ufunc.omppool")
    binding.add_symbol(_NAME, _compiled(pool.parallel_for))
    os.register_at_fork(after_in_child=lambda: setattr(_forked, "value", 1))


def _compiled(parallel_for: int) -> int:
    """The address of: loop(arrays, sizes, steps, data) if forked, else parallel_for(...)."""
    n, flag = ir.IntType(64), ir.IntType(32)
    module, kind = ir.Module(), ir.FunctionType(ir.VoidType(), [n] * 7 + [flag])
    f = ir.Function(module, kind, "run_loop")
    builder = ir.IRBuilder(f.append_basic_block())

    def call(address: Any, *arguments: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)

    forked = builder.load(builder.inttoptr(n(ctypes.addressof(_forked)), flag.as_pointer()))
    with builder.if_else(builder.icmp_signed("!=", forked, flag(0))) as (alone, shared):
        with alone:
            call(f.args[0], *f.args[1:5])
        with shared:
            call(n(parallel_for), *f.args)
    builder.ret_void()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(f.name)
