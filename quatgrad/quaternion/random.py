"""Random quaternions, the same on every backend."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from quatgrad.arrays import Array, asarray, check_dtype
from quatgrad.quaternion.algebra import normalize
from quatgrad.random import Source, as_generator
from quatgrad.scalars import integer

Shape = int | tuple[int, ...]


def random(shape: Shape, rng: Source, dtype: Any = np.float32) -> Array:
    """Quaternions of four independent normal numbers, mean 0 and variance 1; (*shape, 4).

    No direction is preferred, and E |q|^2 = 4. `rng` is a seed or a generator.
    """
    check_dtype(dtype, "random")
    return asarray(_normal("random", shape, rng).astype(dtype))


def random_unit(shape: Shape, rng: Source, dtype: Any = np.float32) -> Array:
    """Unit quaternions uniform on the sphere |q| = 1, hence uniform rotations; (*shape, 4).

    Four normals have no preferred direction, so they are drawn and normalised. `rng` is a seed
    or a generator. Source: Muller 1959, doi:10.1145/377939.377946.
    """
    check_dtype(dtype, "random_unit")
    return asarray(normalize(_normal("random_unit", shape, rng)).astype(dtype))


def _normal(purpose: str, shape: Shape, rng: Source) -> Array:
    """Normal numbers (*shape, 4) in float64, rounded only later: both dtypes draw the same."""
    shape = shape if isinstance(shape, Iterable) else (shape,)
    sizes = [integer(n, f"{purpose}: a size") for n in shape]
    return as_generator(rng, purpose).standard_normal((*sizes, 4))
