"""A forked process runs compiled kernels, with the same bits, and never hangs or dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

TESTS = Path(__file__).parent.parent

START = """
import multiprocessing as mp, os, sys, threading
import numpy as np
from quatgrad import Tensor, models, ops
from quatgrad.kernels import numba_cpu

def products(i=0):
    x = np.random.default_rng(i).standard_normal((300, 400)).astype(np.float32)
    return numba_cpu.matmul(x, x.T).tobytes() + numba_cpu.relu(x).tobytes()

def trained(i=0):
    from blobs import blobs
    from quatgrad.train import Recipe, train
    net = models.create("lenet-300-100", "quaternion", 3, 4, 12, image_size=(4, 4))
    train(net, blobs(), Recipe(1, 16, 0.1), progress=False)
    return b"".join(a.tobytes() for a in net.state_dict().values())

def forked(f):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if f() else 2
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0
"""
CASES = {
    "a process": "before = products(); assert forked(lambda: products() == before)",
    "a process before the first kernel": "assert forked(lambda: products() == products())",
    "its own child": (
        "before = products(); assert forked(lambda: forked(lambda: products() == before))"
    ),
    "a pool": (
        "before = [products(i) for i in range(4)]\n"
        "with mp.get_context('fork').Pool(2) as pool:\n"
        "    assert pool.map_async(products, range(4)).get(timeout=60) == before"
    ),
    "training": "before = trained(); assert forked(lambda: trained() == before)",
    "threads of the process": (
        "before, found = products(), []\n"
        "def work(): found.append(products())\n"
        "def all_of_them():\n"
        "    threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "    for t in threads: t.start()\n"
        "    for t in threads: t.join()\n"
        "    return found == [before] * 3\n"
        "assert forked(all_of_them)"
    ),
    "the parent goes on": "a = products(); assert forked(products); assert products() == a",
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_run_in(case):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + CASES[case]],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_whatever_numbas_threads_run_on(layer):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + CASES["a process"]],
        env=environment | {"NUMBA_THREADING_LAYER": layer},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
