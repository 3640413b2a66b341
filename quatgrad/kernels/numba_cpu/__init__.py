"""Fast CPU kernels, compiled by Numba on first use and cached beside the source.

They take what `reference` takes, any strides included, and give the same bits on any number of
threads. What is not here comes from the gemm rung, whose convolutions use these patches.
"""

import os

# Numba's threads and those of the BLAS take turns on the same cores. A thread that waits by
# spinning, as OpenMP's do unless told, keeps the other library's from running: on two cores a
# training step of small layers took 250 ms instead of 4. But a tenth of a millisecond is less than
# it takes to wake one up: a step of LeNet-300-100 is a tenth faster. Read when OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

from quatgrad.kernels.numba_cpu.jit import announce_compiling
from quatgrad.kernels.numba_cpu.layers import activation, conv_norm_act, norm, optimizer, pool
from quatgrad.kernels.numba_cpu.machine.allocator import keep_freed_memory
from quatgrad.kernels.numba_cpu.quaternion import algebra
from quatgrad.kernels.registry import kernels_of

globals().update(kernels_of("numba_cpu"))  # so that `numba_cpu.conv2d` is that kernel

keep_freed_memory()
announce_compiling()
