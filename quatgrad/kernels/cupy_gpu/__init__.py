"""Fast GPU kernels: CUDA sources, compiled when they are first used, and cuDNN's convolutions.

They take the same arguments as `reference`, with any strides, and give the same bits every time. A
kernel that is missing here comes from the gemm rung.
"""

from quatgrad.kernels.cupy_gpu import activation, augment, conv_norm_act, loss, optimizer
from quatgrad.kernels.cupy_gpu.device import require_gpu as require_gpu
from quatgrad.kernels.registry import kernels_of

globals().update(kernels_of("cupy_gpu"))  # so that `cupy_gpu.conv2d` is that kernel
