"""Fast GPU kernels. None yet: on CuPy arrays every kernel comes from the gemm rung."""
