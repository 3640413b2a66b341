"""The table of identities: what an entry is, and how its error is measured.

A test draws the arguments by their names (see `draw`), calls the identity, and compares the sides
that it returns: |left - right| <= eps (machine epsilon) (scale). The bound `eps` is four times the
worst error of a careful implementation; 0 means that both sides are equal.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quatgrad.arrays import Array

Sides = tuple[Array, Array, Any]  # left, right, scale of the error (...)
ONE = np.eye(4)[0]
MAPS = "xgywv"


@dataclass(frozen=True)
class Identity:
    """A `number` in the published list, the `formula`, its bound in eps, and a function for both
    sides.
    """

    number: int
    formula: str
    eps: float
    sides: Callable[..., list[Sides]]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.sides.__name__

    def errors(self, rng: np.random.Generator, count: int, dtype: Any) -> Iterator[float]:
        """The worst error of each pair of sides, in units of machine epsilon times the scale."""
        names = inspect.signature(self.sides).parameters
        arguments = [draw(name, rng, count, dtype) for name in names]
        for left, right, scale in self.sides(*arguments):
            yield error(left, right, scale)


IDENTITIES: list[Identity] = []


def identity(number: int, formula: str, eps: float) -> Callable[[Any], Any]:
    """Put a function that computes the sides of an identity into the table."""

    def add(sides: Callable[..., list[Sides]]) -> Callable[..., list[Sides]]:
        IDENTITIES.append(Identity(number, formula, eps, sides))
        return sides

    return add


def error(left: Array, right: Array, scale: Any = 1.0) -> float:
    """max |left - right| / (machine epsilon scale), infinite for a NaN or a wrong dtype.

    A scale (...) has one number for each quaternion, vector or matrix.
    """
    if left.dtype != right.dtype or left.shape != right.shape:
        return np.inf
    difference = np.abs(np.float64(left) - np.float64(right))
    scale = np.float64(scale)
    if scale.ndim:
        difference = difference.reshape(*scale.shape, -1).max(axis=-1, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        allowed = np.finfo(left.dtype).eps * scale
        ratio = np.where(difference == 0, 0, difference / allowed)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0))


# --------------------------------------------------------------------------- arguments


def draw(name: str, rng: np.random.Generator, count: int, dtype: Any) -> Array:
    """`count` samples for an argument called `name`.

    p q r        quaternions over 30 decades (float32: 5): no zero among them
    h            quaternions of size 1e-300 to 1e300 (float32: 1e-36 to 1e36)
    k l          of size about 1: unit, pure, real, half turns, near 1 and near -1
    u            unit
    s            real numbers (...); a b exponents in [-3, 3]
    A B C        matrices (..., 3, 3, 4)
    m n          whole numbers, |m| < 1000
    x g          feature maps (..., 5, 6, 8) of two quaternions, of size about 1; y: whole numbers
    w            weights (4, 3, 3, 2, 2) between them; v: whole numbers
    """
    if name in MAPS:
        N = max(1, count // 64)
        shape = (4, 3, 3, 2, 2) if name in "wv" else (N, 5, 6, 8)
        whole = name in "yv"
        return (rng.integers(-9, 10, shape) if whole else rng.standard_normal(shape)).astype(dtype)
    if name in "ab":
        return rng.uniform(-3, 3, count).astype(dtype)
    if name == "s":
        return (rng.standard_normal(count) * 10 ** rng.uniform(-2, 2, count)).astype(dtype)
    if name in "ABC":
        return rng.standard_normal((max(1, count // 9), 3, 3, 4)).astype(dtype)
    if name in "mn":
        return rng.integers(-999, 1000, (count, 4)).astype(dtype)
    q = rng.standard_normal((count, 4))
    if name in "pqr":
        decades = 2.5 if dtype == np.float32 else 15
        spread = rng.random(count) < 0.7
        q[spread] *= 10 ** rng.uniform(-decades, decades, (spread.sum(), 4))
        q[rng.random(q.shape) < 0.05] = 0
    elif name == "h":
        q *= 10 ** rng.uniform(*((-36, 36) if dtype == np.float32 else (-300, 300)), (count, 1))
    else:
        kind = rng.integers(0, 8, count)
        q[(kind == 1)] /= np.linalg.norm(q[kind == 1], axis=-1, keepdims=True)
        q[kind == 2, 0] = 0  # pure
        q[kind == 3, 1:] = 0  # real
        digits = rng.integers(1, 8 if dtype == np.float32 else 17, (count, 1))
        for number, near in ((4, ONE), (5, -ONE), (6, 0 * ONE)):  # 6: unit, nearly a half turn
            q[kind == number] = (near + 10.0**-digits * q)[kind == number]
        turn = kind == 6
        axis = rng.standard_normal((count, 4)) * [0, 1, 1, 1]
        q[turn] += (axis / np.linalg.norm(axis, axis=-1, keepdims=True))[turn]
    if name == "u":
        q /= np.linalg.norm(q, axis=-1, keepdims=True)
    q[(q == 0).all(axis=-1)] = ONE
    return q.astype(dtype)


def size(q: Array) -> Array:
    """|q| in float64, by NumPy alone."""
    return np.hypot.reduce(np.float64(q), axis=-1)


def real(x: Array) -> Array:
    """The quaternions of real numbers (...)."""
    return x[..., None] * ONE.astype(x.dtype)


def like(unit: Array, q: Array) -> Array:
    """The quaternion `unit`, repeated, with the dtype and shape of q."""
    return np.broadcast_to(unit.astype(q.dtype), q.shape)
