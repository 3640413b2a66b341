"""Random quaternions, the same on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from quatgrad.backend import Array, asarray, check_dtype, generator
from quatgrad.quaternion.algebra import normalize


def random_unit(
    shape: int | tuple[int, ...], rng: int | np.random.Generator, dtype: Any = np.float32
) -> Array:
    """Unit quaternions uniform on the sphere |q| = 1, hence uniform rotations; (*shape, 4).

    Four normals have no preferred direction, so they are drawn and normalised. `rng` is a seed
    or a generator. Source: Muller 1959, doi:10.1145/377939.377946.
    """
    check_dtype(dtype, "random_unit")
    if not isinstance(rng, np.random.Generator):
        rng = generator(rng, "random_unit")
    shape = (shape,) if isinstance(shape, int) else shape
    return asarray(normalize(rng.standard_normal((*shape, 4))).astype(dtype))
