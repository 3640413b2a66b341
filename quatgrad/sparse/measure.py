"""The density at which a sparse layer takes as long as a dense one, on this processor.

    python -m quatgrad.sparse.measure

prints it for layers as in ResNet-18, and for linear ones, and what the engine's kernels take of the
time of a dense plan: `choice` has these numbers.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from quatgrad.kernels.reference import Pair
from quatgrad.sparse import engine
from quatgrad.sparse.plan import Plan
from quatgrad.sparse.steps import Layer, Steps

DENSITIES = (0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
BLOCKS = 15  # of calls, one after the other for each way, so that all see the same machine
BLOCK_S = 0.01


def random_layer(
    channels: int,
    size: Pair,
    density: float = 1.0,
    components: int = 1,
    whole: bool = False,
    window: int = 3,
) -> Steps:
    """A layer that keeps the size of a map (H, W) and its channels; what lives is random."""
    rng = np.random.default_rng(0)
    P = channels // components
    w = rng.standard_normal((components, window, window, P, P)).astype(np.float32)
    alive = rng.random(w.shape[whole:]) < density
    shape, shift = (*size, channels), np.zeros(channels, np.float32)
    step = Layer(
        "weight",
        0,
        1,
        w,
        (1, 1),
        (window // 2,) * 2,
        shift,
        relu=True,
        alive=np.broadcast_to(alive, w.shape),
    )
    return Steps([shape, shape], [step], {}, 1)


def images_of(steps: Steps, batch: int) -> np.ndarray:
    """Random images for them."""
    shape = batch, *steps.shapes[0]
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def seconds(plans: Iterable[Callable[..., Any]], images: np.ndarray) -> list[float]:
    """What a call of each plan takes: the least of its blocks, which are interleaved."""
    plans, best = list(plans), []
    counts = []
    for plan in plans:
        plan(images)
        best.append(_block(plan, images, 1))
        counts.append(max(1, int(BLOCK_S / best[-1])))
    for _ in range(BLOCKS):
        for k, plan in enumerate(plans):
            best[k] = min(best[k], _block(plan, images, counts[k]))
    return best


def _block(plan: Callable[..., Any], images: np.ndarray, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        plan(images)
    return (time.perf_counter() - start) / calls


def _plan(steps: Steps, kind: str) -> Plan:
    return Plan(steps, steps.shapes[0], {"weight": kind})


def break_even(
    channels: int, size: Pair, components: int = 1, whole: bool = False, window: int = 3
) -> float:
    """The density at which both ways take the same time; 1 where sparse is always the faster."""
    layer = lambda density: random_layer(channels, size, density, components, whole, window)  # noqa: E731
    plans = [_plan(layer(1.0), "dense")] + [_plan(layer(d), "sparse") for d in DENSITIES]
    dense, *sparse = seconds(plans, images_of(layer(1.0), 1))
    return float(np.interp(dense, sparse[::-1], DENSITIES[::-1], right=1.0))


def engine_share(channels: int, size: Pair, components: int = 1) -> float:
    """The time of the engine's kernels for a batch, of that of a dense plan."""
    steps = random_layer(channels, size, 1.0, components)
    dense, fast = seconds(
        [_plan(steps, "dense"), lambda x: engine.run(steps, x)], images_of(steps, 64)
    )
    return fast / dense


def main() -> None:
    """Print the table."""
    maps = {
        "32x32x64": (64, (32, 32)),
        "16x16x128": (128, (16, 16)),
        "8x8x256": (256, (8, 8)),
        "4x4x512": (512, (4, 4)),
    }
    ways = {"real": (1, False), "quaternion": (4, False), "whole": (4, True)}
    print("map".ljust(10), *(way.rjust(12) for way in ways), "engine, real", "quaternion")
    for name, shape in maps.items():
        found = [break_even(*shape, *way) for way in ways.values()]
        found += [engine_share(*shape, A) for A in (1, 4)]
        print(name.ljust(10), *(f"{x:12.2f}" for x in found))
    for channels in 512, 2048:
        found = [break_even(channels, (1, 1), *way, 1) for way in ways.values()]
        print(f"1x1x{channels}".ljust(10), *(f"{x:12.2f}" for x in found))


if __name__ == "__main__":
    main()
