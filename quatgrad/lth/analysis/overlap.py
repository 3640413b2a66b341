"""Two masks against each other: what they share, and what they would share by chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quatgrad.arrays import asarray, to_numpy
from quatgrad.errors import ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.lth.analysis.mask_stats import components_of, rows


@dataclass(frozen=True)
class Overlap:
    """What two tickets share. Of n entries of a component tensor, a and b are alive in them.

    shared     sum |A and B|
    union      sum |A or B|
    chance     sum a b / n: the mean of `shared` if one of the masks were shuffled
    variance   sum a b (n - a) (n - b) / (n^2 (n - 1)): its variance (hypergeometric)
    most       sum min(a, b)
    """

    shared: int
    union: int
    chance: float
    variance: float
    most: int

    @property
    def jaccard(self) -> float:
        """|A and B| / |A or B|: 1 for equal masks, and high for any two dense ones."""
        return self.shared / self.union if self.union else 1.0

    @property
    def corrected(self) -> float | None:
        """(shared - chance) / (most - chance): 0 by chance, 1 at best; None if there is no room."""
        room = self.most - self.chance
        return (self.shared - self.chance) / room if room > 1e-9 * self.most else None

    @property
    def deviations(self) -> float | None:
        """(shared - chance) / standard deviation: how surely it is not chance."""
        sd = math.sqrt(self.variance)
        return (self.shared - self.chance) / sd if sd > 0 else None


def overlap(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Overlap:
    """The overlap of masks of one network, component tensor by component tensor.

    So equal densities of layers and components, which a rule prescribes, count as chance.
    Raises `ShapeError` for masks of different networks.
    """
    if {n: m.shape for n, m in one.items()} != {n: m.shape for n, m in other.items()}:
        raise ShapeError("overlap: the masks belong to different networks; see `expanded`")
    total = np.zeros(5)
    for name, mask in one.items():
        A, B = rows(mask), rows(other[name])
        n, a, b = A.shape[1], A.sum(axis=1, dtype=float), B.sum(axis=1, dtype=float)
        variance = a * b * (n - a) * (n - b) / (n**2 * max(n - 1, 1))
        parts = ((A & B).sum(axis=1), (A | B).sum(axis=1), a * b / n, variance, np.minimum(a, b))
        total += [part.sum() for part in parts]
    shared, union, chance, variance, most = total.tolist()
    return Overlap(round(shared), round(union), chance, variance, round(most))


def expanded(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Masks of the real network that computes the same: a component in its four places.

    So a quaternion ticket meets that of its real twin. By chance means: if the real one were
    shuffled; the four places of a component are not independent of each other.
    """
    return {
        name: to_numpy(kernel("expand")(asarray(mask.astype(np.float32)))) != 0
        if components_of(mask) == 4
        else mask
        for name, mask in masks.items()
    }
