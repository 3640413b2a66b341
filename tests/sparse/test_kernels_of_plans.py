"""Every kernel of a plan against the plain reader: one step at a time, odd sizes, nothing left."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quatgrad.kernels.numba_cpu.machine.cache import LANES
from quatgrad.kernels.reference import out_size
from quatgrad.sparse import reference
from quatgrad.sparse.batch import Part
from quatgrad.sparse.compiled.kernels import KERNELS
from quatgrad.sparse.compiled.runner import Runner
from quatgrad.sparse.compiled.table import BLOCK, TILES
from quatgrad.sparse.program import FUNCTIONS, Compiler
from quatgrad.sparse.steps import Channelwise, Layer, MaxPool, Move, Pointwise, Product, Steps

BATCHES = (1, 2, 3, 7, 64)
WINDOWS = {  # (H, W), window, stride, padding
    "1x1": ((5, 7), (1, 1), (1, 1), (0, 0)),
    "1x1, stride 2": ((9, 7), (1, 1), (2, 2), (0, 0)),
    "3x3": ((7, 5), (3, 3), (1, 1), (1, 1)),
    "3x3 of a wide map": ((6, 19), (3, 3), (1, 1), (1, 1)),
    "3x3, stride 2": ((9, 11), (3, 3), (2, 2), (1, 1)),
    "3x3, stride 2 of a wide map": ((5, 35), (3, 3), (2, 2), (1, 1)),
    "5x5": ((6, 17), (5, 5), (1, 1), (2, 2)),
    "2x3, no padding": ((6, 5), (2, 3), (1, 1), (0, 0)),
    "2x3, uneven": ((7, 18), (2, 3), (1, 2), (1, 0)),
    "4x4 maps": ((4, 4), (3, 3), (1, 1), (1, 1)),
    "one pixel": ((1, 1), (1, 1), (1, 1), (0, 0)),
    "the whole map": ((3, 5), (3, 5), (1, 1), (0, 0)),
    "one pixel of a padded map": ((2, 3), (4, 5), (1, 1), (1, 1)),
}
SURVIVORS = {"none": 0, "one": 1, "some": 0.4, "all": 1.0}
ALGEBRAS = {"real": (1, False), "quaternion": (4, False), "whole": (4, True)}


def alive_of(rng, shape, survivors, whole):
    """The weights that live; of "some" an output has none, and an input is not read."""
    alive = rng.random(shape) < survivors
    if survivors == 1 and isinstance(survivors, int):
        alive = np.zeros(shape, bool)
        alive.flat[rng.integers(alive.size)] = True
    if 0 < survivors < 1:
        alive[..., 0], alive[..., 1, :] = False, False
    return np.repeat(alive[:1], len(alive), axis=0) if whole else alive


def layer(size, window, stride, padding, algebra, survivors, P=3, Q=5, seed=0):
    """The steps of one layer, whose result is added to a map and cut at 0."""
    A, whole = ALGEBRAS[algebra]
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((A, *window, P, Q)).astype(np.float32)
    out = out_size(size, window, stride, padding)
    bias = rng.standard_normal((*out, A * Q)).astype(np.float32)
    step = Layer(
        "layer",
        0,
        1,
        w,
        stride,
        padding,
        rng.standard_normal(A * Q).astype(np.float32),
        rng.standard_normal(A * Q).astype(np.float32) if A == 4 else None,
        2,
        bool(seed % 2),
        alive_of(rng, w.shape, survivors, whole),
    )
    return Steps([(*size, A * P), bias.shape, bias.shape], [step], {2: bias}, 1)


def fast(steps, dense=False):
    """What the compiled reader gives, and by which kernels."""
    program = Compiler(Part(steps), lambda *layer: dense).program()
    return Runner([program]), program.kernels


def check(steps, dense=False, batches=(3,)):
    """The compiled reader against the plain one; the names of its kernels."""
    run, kernels = fast(steps, dense)
    x = np.random.default_rng(1).standard_normal((max(batches), *steps.shapes[0]))
    x = x.astype(np.float32)
    y = reference.run(steps, x)
    for n in batches:
        close = np.abs(run(x[:n].reshape(n, -1)) - y[:n]).max() / max(1, np.abs(y).max())
        assert close < 2e-6, kernels
    return kernels


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("window", WINDOWS)
def test_layers(window, algebra):
    for seed, (name, survivors) in enumerate(SURVIVORS.items()):
        steps = layer(*WINDOWS[window], algebra, survivors, seed=seed)
        for dense in (False, True):
            names = {kernel[0] for kernel in check(steps, dense)} - {"copies", "copied_numbers"}
            assert len(names) == 1
            if name in ("some", "all"):
                assert ("dense" in names.pop()) == dense


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("dense", [False, True])
def test_batches(algebra, dense):
    for window in "3x3 of a wide map", "3x3, stride 2", "the whole map":
        check(layer(*WINDOWS[window], algebra, 0.5), dense, BATCHES)


TILED = [(kind, False, T) for kind in ALGEBRAS for T in TILES[kind]]
TILED += [(kind, True, T) for kind in ("real", "quaternion") for T in BLOCK]


@pytest.mark.parametrize(("algebra", "dense", "T"), TILED)
def test_every_tile(algebra, dense, T):
    """Maps of so many vectors: one tile, and tiles of which the last overlaps the one before."""
    kind = "dense" * dense or algebra
    wanted = ("dense_quaternion" if dense and algebra == "quaternion" else kind, T)
    seen = 0
    for vectors in (T, *(n for n in range(T + 1, 40) if n % T)):
        size, Q = (vectors, LANES), 2 * BLOCK.get(T, 1) + 1
        steps = layer(size, (1, 1), (1, 1), (0, 0), algebra, 0.6, 2, Q)
        if fast(steps, dense)[1] == [wanted]:
            check(steps, dense)
            seen += 1
        if seen == 2:
            break
    assert seen


def other_steps():
    """Name -> steps of one operation that is no layer."""
    rng = np.random.default_rng(0)
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    taps = lambda w, *a: Channelwise("pool", 0, 1, w, *(a or ((1, 1), (0, 0))), f(w.shape[-1]))  # noqa: E731
    pool = lambda *a: MaxPool("max", 0, 1, *a)  # noqa: E731
    many = {
        "average": Steps([(7, 9, 3), (4, 5, 3)], [taps(f(3, 3, 3), (2, 2), (1, 1))]),
        "norm": Steps([(5, 17, 3), (5, 17, 3)], [taps(f(1, 1, 3))]),
        "norm of a pixel": Steps([(1, 1, 5), (1, 1, 5)], [taps(f(1, 1, 5))]),
        "mean": Steps([(4, 4, 5), (1, 1, 5)], [taps(np.full((4, 4, 5), 1 / 16, np.float32))]),
        "mean of a wide map": Steps([(3, 20, 5), (1, 1, 5)], [taps(np.ones((3, 20, 5), "f"))]),
        "weighted mean": Steps([(3, 4, 5), (1, 1, 5)], [taps(f(3, 4, 5))]),
        "max": Steps([(8, 9, 3), (4, 4, 3)], [pool((2, 2), (2, 2))]),
        "max of a wide map": Steps([(9, 70, 3), (4, 34, 3)], [pool((3, 3), (2, 2))]),
        "max of all": Steps([(3, 4, 3), (1, 1, 3)], [pool((3, 4), (1, 1))]),
        "longest": Steps([(5, 7, 8), (2, 3, 8)], [pool((3, 3), (2, 2), True)]),
        "move": Steps([(3, 4, 2), (2, 6, 1)], [Move("move", 0, 1, (0,), rng.integers(-1, 24, 12))]),
        "product": Steps([(3, 20, 2), (3, 20, 2)], [Product("mul", 0, 1, 0)]),
        "modrelu": Steps([(3, 4, 8), (3, 4, 8)], [Pointwise("modrelu", 0, 1, "modrelu", f(2))]),
    }
    for name in FUNCTIONS:
        numbers = {"leaky_relu": [0.1], "clip": [0.5, 0.7]}.get(name, [])
        step = Pointwise(name, 1, 2, name, np.float32(numbers))
        square = Product("mul", 0, 1, 0)  # log and sqrt are of what is more than 0
        many[name] = Steps([(3, 5, 2)] * 3, [square, step])
    for steps in many.values():
        steps.output = len(steps.shapes) - 1
    return many


OTHERS = other_steps()


@pytest.mark.parametrize("name", OTHERS)
def test_steps_that_are_no_layers(name):
    check(OTHERS[name], batches=(1, 3))


def test_every_kernel_has_a_case():
    """A kernel that no case above runs is found here."""
    used = {kernel[0] for steps in OTHERS.values() for kernel in fast(steps)[1]}
    for window in WINDOWS.values():
        for algebra in ALGEBRAS:
            for dense in (False, True):
                used |= {kernel[0] for kernel in fast(layer(*window, algebra, 0.5), dense)[1]}
    assert used == set(KERNELS)


PLAINER = {
    "AVX2": ("haswell", "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+f16c,+popcnt", 8),
    "SSE": ("x86-64", "+sse2", 4),
}
PROGRAM = """
import numpy as np
from networks import created, logits, trained
from quatgrad import sparse
from quatgrad.backend import use_backend
from quatgrad.kernels.numba_cpu.machine.cache import LANES
print(LANES)
x = np.random.default_rng(0).standard_normal((3, 16, 16, 4)).astype("f")
for algebra, whole in ("real", False), ("quaternion", False), ("quaternion", True):
    net, masks = trained(created("resnet8", algebra), (16, 16, 4), density=0.3, whole=whole)
    with use_backend("numpy"):
        y = logits(net, x)
    for kind in sparse.KINDS:
        z = sparse.prepare(net, (16, 16, 4), masks, dict.fromkeys(masks, kind))(x)
        assert np.abs(z - y).max() < 1e-5 * np.abs(y).max(), (algebra, kind)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="plainer processors of this kind")
@pytest.mark.parametrize("name", PLAINER)
def test_a_processor_with_shorter_vectors(name):
    """Numba compiles for what is there, and the plans are right."""
    cpu, features, lanes = PLAINER[name]
    chosen = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | chosen | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(lanes)]
