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

from quatgrad.kernels.numba_cpu import compiling, heap
from quatgrad.kernels.numba_cpu.activation import relu, relu_dx
from quatgrad.kernels.numba_cpu.add import add
from quatgrad.kernels.numba_cpu.algebra import (
    hamilton,
    quaternion_divide,
    quaternion_exp,
    quaternion_inverse,
    quaternion_log,
    quaternion_norm,
    quaternion_normalize,
    quaternion_power,
    quaternion_rotate,
    quaternion_sqrt,
)
from quatgrad.kernels.numba_cpu.blocks import expand, fold
from quatgrad.kernels.numba_cpu.convolution import (
    conv2d,
    conv2d_dw,
    conv2d_dx,
    hamilton_conv2d,
    hamilton_conv2d_dw,
    hamilton_conv2d_dx,
)
from quatgrad.kernels.numba_cpu.hamilton8 import (
    hamilton_linear,
    hamilton_linear_dw,
    hamilton_linear_dx,
)
from quatgrad.kernels.numba_cpu.matmul import matmul
from quatgrad.kernels.numba_cpu.norm import batch_norm, batch_norm_dx, batch_norm_eval
from quatgrad.kernels.numba_cpu.optimizer import adam, sgd
from quatgrad.kernels.numba_cpu.unit import conv_norm, conv_norm_dx
from quatgrad.kernels.numba_cpu.windows import (
    avg_pool,
    avg_pool_dx,
    max_pool,
    max_pool_dx,
    patches,
    unpatches,
)

heap.keep_freed_memory()
compiling.listen()

__all__ = [
    "adam",
    "add",
    "avg_pool",
    "avg_pool_dx",
    "batch_norm",
    "batch_norm_dx",
    "batch_norm_eval",
    "conv2d",
    "conv2d_dw",
    "conv2d_dx",
    "conv_norm",
    "conv_norm_dx",
    "expand",
    "fold",
    "hamilton",
    "hamilton_conv2d",
    "hamilton_conv2d_dw",
    "hamilton_conv2d_dx",
    "hamilton_linear",
    "hamilton_linear_dw",
    "hamilton_linear_dx",
    "matmul",
    "max_pool",
    "max_pool_dx",
    "patches",
    "quaternion_divide",
    "quaternion_exp",
    "quaternion_inverse",
    "quaternion_log",
    "quaternion_norm",
    "quaternion_normalize",
    "quaternion_power",
    "quaternion_rotate",
    "quaternion_sqrt",
    "relu",
    "relu_dx",
    "sgd",
    "unpatches",
]
