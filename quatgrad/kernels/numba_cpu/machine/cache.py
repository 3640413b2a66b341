"""The processor's vectors and caches, from which the sizes of blocks follow.

The caches are counted in numbers of float32. All processors with AVX2 or AVX-512 have at least
such an L1; with a smaller L2 the kernels are slower, and the results are the same.
"""

from llvmlite import binding
from numba.core import config

_wanted = vars(config)["CPU_FEATURES"]  # where NUMBA_CPU_FEATURES says which to use
_FEATURES = (
    binding.get_host_cpu_features()
    if _wanted is None
    else {name[1:]: name[:1] == "+" for name in _wanted.split(",")}
)
#: Numbers in a vector.
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4
#: Bytes that memory and caches move at once.
LINE = 64
#: Numbers in the L1 cache of a core: 32 KB.
L1 = 1 << 13
#: Numbers in the L2 cache of a core: 2 MB.
L2 = 1 << 19
