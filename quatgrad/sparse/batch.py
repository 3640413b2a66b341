"""Many images at once: the layers of one pixel at the end see them side by side.

A linear layer of one image is a product of a matrix and a vector, in which each weight is loaded
for one multiplication. Of 16 images it is a 1x1 layer of a map with 16 pixels.
"""

from dataclasses import dataclass, replace

import numpy as np

from quatgrad.kernels.numba_cpu.machine.cache import LANES
from quatgrad.sparse.steps import INPUT, Channelwise, Layer, Pointwise, Product, Step, Steps

SIDE = LANES  # images side by side
SHARE = 0.01  # of a network's products, below which a tail is not worth a program of its own


@dataclass(frozen=True, eq=False)
class Part:
    """Steps, how many images they take at once, and the channel of each entry if that is many."""

    steps: Steps
    side: int = 1
    order: np.ndarray | None = None


def in_parts(steps: Steps) -> list[Part]:
    """Parts that give what `steps` give, one after the other."""
    least = SHARE * sum(_products(step, steps) for step in steps.steps)
    for k, first in enumerate(steps.steps):
        tail = steps.steps[k:]
        if sum(_products(step, steps) for step in tail) < least:
            break
        if isinstance(first, Layer) and _can_stand_side_by_side(steps, first, tail):
            head = Part(Steps(steps.shapes, steps.steps[:k], steps.constants, first.x))
            return [head] * (k > 0) + [_side_by_side(steps, tail, first)]
    return [Part(steps)]


def _products(step: Step, steps: Steps) -> int:
    H, W, _ = steps.shapes[step.y]
    return H * W * step.weight.size if isinstance(step, Layer) else 0


def _can_stand_side_by_side(steps: Steps, first: Layer, tail: list[Step]) -> bool:
    """Are all steps of one pixel, and does only the first read a map that none of them writes?"""
    known = {step.y for step in tail} | set(steps.constants)
    pixels = all(
        steps.shapes[step.y][:2] == (1, 1)
        and isinstance(step, Layer | Channelwise | Pointwise | Product)
        and (step is first or (set(step.reads) <= known and _is_pixelwise(step)))
        for step in tail
    )
    whole = first.window == steps.shapes[first.x][:2] and first.padding == (0, 0)
    return pixels and whole and set(first.reads) - known == {first.x}


def _is_pixelwise(step: Step) -> bool:
    if not isinstance(step, Layer | Channelwise):
        return True
    return (step.window, step.stride, step.padding) == ((1, 1), (1, 1), (0, 0))


def _side_by_side(steps: Steps, tail: list[Step], first: Layer) -> Part:
    """The tail on SIDE images. Its channels are entries of the map before, component by component.

    So a window of that whole map is a 1x1 layer, of quaternions too.
    """
    A, H, W, P, Q = first.weight.shape
    shapes = [(1, SIDE, C) for _, _, C in steps.shapes]
    shapes[INPUT] = (1, SIDE, A * H * W * P)
    weight, alive = (a.reshape(A, 1, 1, H * W * P, Q) for a in (first.weight, first.alive))
    changed = replace(first, x=INPUT, stride=(1, 1), weight=weight, alive=alive)
    constants = {m: np.repeat(c, SIDE, axis=1) for m, c in steps.constants.items()}
    order = np.arange(A * H * W * P).reshape(A, H, W, P).transpose(1, 2, 0, 3).ravel()
    return Part(Steps(shapes, [changed, *tail[1:]], constants, steps.output), SIDE, order)
