"""Fast CPU kernels, compiled by Numba on first use and cached beside the source."""
