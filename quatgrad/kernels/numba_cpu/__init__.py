"""Fast CPU kernels, compiled by Numba on first use and cached beside the source.

They take the same arguments as `reference`, with any strides, and give the same bits on any number
of threads. A kernel that is missing here comes from the gemm rung.
"""

import os

from quatgrad.kernels.numba_cpu.machine.waiting import turns

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads both when Numba loads it
os.environ.setdefault("GOMP_SPINCOUNT", turns())

from quatgrad.kernels.numba_cpu.jit import announce_compiling
from quatgrad.kernels.numba_cpu.layers import (
    activation,
    attention,
    conv_norm_act,
    layer_norm,
    norm,
    optimizer,
    pool,
    recurrent,
    segments,
    sums,
)
from quatgrad.kernels.numba_cpu.machine.allocator import keep_freed_memory
from quatgrad.kernels.numba_cpu.machine.fork import survive_forks
from quatgrad.kernels.numba_cpu.quaternion import rotation
from quatgrad.kernels.registry import kernels_of

globals().update(kernels_of("numba_cpu"))  # so that `numba_cpu.conv2d` is that kernel

keep_freed_memory()
survive_forks()
announce_compiling()
