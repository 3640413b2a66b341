"""Compiled kernels with every index checked: on odd shapes and layouts, none is beyond its array.

In a process of its own, since NUMBA_BOUNDSCHECK is read once. Loops are compiled for one thread:
an error in another would be lost. What `simd` reads by address has no index to check.
"""

import os
import subprocess
import sys
from pathlib import Path

DRIVE = """
import numba
import numpy as np
from hypothesis import given, settings, strategies as st

njit = numba.njit
numba.njit = lambda *args, **options: njit(*args, **options | {"parallel": False})
import test_ladder as ladder
from quatgrad.kernels.numba_cpu.jit import parallel
from quatgrad.kernels.registry import kernels_of

@parallel
def beyond(x, n):
    for k in numba.prange(n):
        x[k] = 1

try:
    beyond(np.zeros(3), 4)
except IndexError:
    print("indices are checked")

for name, f in kernels_of("numba_cpu").items():
    if name in ladder.ELSEWHERE:
        continue

    @settings(max_examples=8, derandomize=True, deadline=None, database=None)
    @given(st.data())
    def run(data):
        f(*ladder.ARGUMENTS[name](ladder.Draw(data.draw, np.float32)))

    run()
    print(name)
"""


def test_no_kernel_reads_or_writes_beyond_its_arrays():
    here = Path(__file__).parent
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"] + "-bounds",
        "PYTHONPATH": os.pathsep.join([str(here), *sys.path]),
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVE],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("indices are checked")
    assert len(process.stdout.split("\n")) > 20
