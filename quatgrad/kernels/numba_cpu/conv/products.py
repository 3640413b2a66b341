"""Convolutions and quaternion layers as matrix products, like `gemm`, of this rung's kernels."""

from quatgrad.kernels.gemm import Products
from quatgrad.kernels.numba_cpu.conv.expand import expand, fold
from quatgrad.kernels.numba_cpu.conv.patches import patches, unpatches
from quatgrad.kernels.numba_cpu.simd.matmul import matmul

PRODUCTS = Products(matmul, expand, fold, patches, unpatches)
