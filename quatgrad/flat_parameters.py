"""Parameters side by side in memory, so that one kernel steps all of them.

    w      [ stem.weight | bn.scale | ... | head.bias ]
    g      [    dL/dw of each at the same place       ]
    v      [    velocity                              ]
    alive  [    all bits, or none where it is pruned  ]

A ResNet-18 has 62 parameters: as many launches, several microseconds each, become one. A gradient
of such a parameter lies in the buffer too, and is overwritten by the next.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.autograd import Parameter
from quatgrad.kernels.registry import kernel

ALIGN = 64  # numbers: parameters start where memory lines do, as cuDNN wants it


def starts(parameters: Sequence[Parameter]) -> list[int]:
    """Where each parameter starts in such a memory, and where it ends: in numbers."""
    return [*accumulate((-(-p.size // ALIGN) * ALIGN for p in parameters), initial=0)]


class FlatParameters:
    """Memory for parameters of one dtype, their gradients and their velocities."""

    def __init__(self, parameters: Sequence[Parameter], state: Sequence[dict[str, Any]]):
        """Move them there; velocities start as those in `state`, or as 0.

        Every parameter has a gradient, and all are on one device. A constraint keeps an entry or
        makes it 0; applied to an array of ones in all bits, it gives `alive`.
        """
        xp, dtype = array_module(*(p.grad for p in parameters)), parameters[0].dtype
        self.starts = starts(parameters)
        self.w, self.g, self.v = xp.zeros((3, self.starts[-1]), dtype)
        self.alive = ~xp.zeros(self.starts[-1], f"u{dtype.itemsize}")
        self.places = []
        for p, memory, start in zip(parameters, state, self.starts[:-1], strict=True):
            flat = self.w, self.g, self.v, self.alive.view(dtype)
            w, g, v, alive = (a[start : start + p.size].reshape(p.shape) for a in flat)
            p.rebind(w, g)
            if "velocity" in memory:
                v[...] = memory["velocity"]
            if p.constraint:
                p.constraint(alive)
            memory["velocity"] = v
            self.places.append((w, g, v, p.constraint))

    def step(self, parameters: Sequence[Parameter], lr: float | Array, *numbers: Any) -> None:
        """`kernel("sgd_masked")`: v = momentum v + d, w -= lr (...), as in SGD, where alive."""
        if array_module(lr) is np:
            lr = asarray(np.asarray(lr, self.w.dtype))
        kernel("sgd_masked")(self.w, self.g, self.v, self.alive, lr, *numbers)
        for p in parameters:
            p.mark_written()

    def is_valid(self, parameters: Sequence[Parameter], state: Sequence[dict[str, Any]]) -> bool:
        """Is everything still here, and as it was: values, gradients, velocities, constraints?"""
        return all(
            p.is_bound_to(w, g) and memory.get("velocity") is v and p.constraint is constraint
            for p, memory, (w, g, v, constraint) in zip(parameters, state, self.places, strict=True)
        )


def is_possible(parameters: Sequence[Parameter]) -> bool:
    """Does every parameter have a gradient, and do all have one dtype?"""
    return len({p.dtype for p in parameters}) == 1 and all(p.grad is not None for p in parameters)
