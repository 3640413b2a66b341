"""The steps of the optimizers, as formulas.

Only these kernels, and the running statistics and metrics, write to their arguments: to a parameter
w and to what the optimizer remembers of it. g is only read.
"""

from collections.abc import Sequence
from typing import NamedTuple

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register

Arrays = Sequence[Array]


class AdamRule(NamedTuple):
    """The numbers of Adam that are the same at each step."""

    betas: tuple[float, float]
    eps: float
    decay: float
    decoupled: bool


@register
def sgd(
    w: Array, g: Array, v: Array, lr: float | Array, momentum: float, nesterov: bool, decay: float
) -> None:
    """d = g + decay w;  v <- momentum v + d;  w <- w - lr (d + momentum v if nesterov else v)."""
    d = g + decay * w
    v[...] = momentum * v + d
    w -= lr * (d + momentum * v if nesterov else v)


@register
def sgd_all(
    ws: Arrays, gs: Arrays, vs: Arrays, lr: float, momentum: float, nesterov: bool, decay: float
) -> None:
    """`sgd` of each parameter of a list."""
    for w, g, v in zip(ws, gs, vs, strict=True):
        sgd(w, g, v, lr, momentum, nesterov, decay)


@register
def sgd_masked(
    w: Array, g: Array, v: Array, alive: Array, lr: Array,
    momentum: float, nesterov: bool, decay: float,
) -> None:  # fmt: skip
    """`sgd` of all parameters laid side by side; then w <- w where alive, else 0.

    alive: unsigned integers of w's size, all bits set or none. lr: the number in an array.
    """
    sgd(w, g, v, lr, momentum, nesterov, decay)
    bits = w.view(alive.dtype)
    bits &= alive


@register
def adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, rule: AdamRule) -> None:
    """m <- b1 m + (1 - b1) d,  v <- b2 v + (1 - b2) d^2,  w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^t), v^ = v / (1 - b2^t) at step t = 1, 2, ...; d = g + decay w, or, decoupled,
    d = g after w <- w - lr decay w.
    """
    (b1, b2), eps, decay, decoupled = rule
    if decoupled:
        w *= 1 - lr * decay
    d = g if decoupled else g + decay * w
    m[...] = b1 * m + (1 - b1) * d
    v[...] = b2 * v + (1 - b2) * (d * d)
    w -= lr / (1 - b1**t) * m / (array_module(w).sqrt(v / (1 - b2**t)) + eps)
