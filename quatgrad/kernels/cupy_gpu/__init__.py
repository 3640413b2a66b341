"""Fast GPU kernels: CUDA sources, compiled when they are first used, and cuDNN's convolutions.

They take what `reference` takes, any strides included, and give the same bits every time. What is
not here comes from the gemm rung, whose convolutions use these patches.
"""

from quatgrad.kernels.cupy_gpu.activation import add, relu, relu_dx
from quatgrad.kernels.cupy_gpu.augment import augment
from quatgrad.kernels.cupy_gpu.conv import (
    conv2d,
    conv2d_dw,
    conv2d_dx,
    hamilton_conv2d,
    hamilton_conv2d_dw,
    hamilton_conv2d_dx,
    hamilton_linear,
    hamilton_linear_dw,
    hamilton_linear_dx,
    matmul,
    operand,
)
from quatgrad.kernels.cupy_gpu.hamilton import expand, fold, hamilton
from quatgrad.kernels.cupy_gpu.loss import cross_entropy, cross_entropy_dz, tally
from quatgrad.kernels.cupy_gpu.norm import batch_norm, batch_norm_dx, batch_norm_eval, follow
from quatgrad.kernels.cupy_gpu.optimizer import adam, sgd, sgd_masked
from quatgrad.kernels.cupy_gpu.plans import wide
from quatgrad.kernels.cupy_gpu.unit import conv_norm, conv_norm_dx
from quatgrad.kernels.cupy_gpu.windows import (
    avg_pool,
    avg_pool_dx,
    max_pool,
    max_pool_dx,
    patches,
    unpatches,
)

__all__ = [
    "adam",
    "add",
    "augment",
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
    "cross_entropy",
    "cross_entropy_dz",
    "expand",
    "fold",
    "follow",
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
    "operand",
    "patches",
    "relu",
    "relu_dx",
    "sgd",
    "sgd_masked",
    "tally",
    "unpatches",
    "wide",
]
