"""The numbers that decide claims: gaps at equal size, crossovers, collapse, jitter.

    gap(x) = quaternion accuracy - real accuracy, in points, at equal x

Between levels a curve is interpolated, linearly in log x.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

from quatgrad.paper.curves import Curve, Point
from quatgrad.paper.published import published

Gap = tuple[float, float]  # x, points


def gap(real: Curve, quaternion: Curve, x: float, axis: str = "x") -> float | None:
    """Quaternion - real accuracy where `axis` is x; None if a curve does not reach x."""
    r, q = real.at(x, axis), quaternion.at(x, axis)
    return None if r is None or q is None else q - r


def gaps(real: Curve, quaternion: Curve, axis: str = "x") -> list[Gap]:
    """(x, gap) at each quaternion level that the real curve spans, dense first."""
    sizes = [getattr(p, axis) for p in quaternion.points]
    return [(x, g) for x in sizes if (g := gap(real, quaternion, x, axis)) is not None]


def alive(curve: Curve) -> tuple[Point, ...]:
    """The levels before the collapse: the first pruning that took two thirds of the accuracy."""
    for i, (before, after) in enumerate(pairwise(curve.points), 1):
        if after.accuracy < before.accuracy / 3:
            return curve.points[:i]
    return curve.points


def both_alive(real: Curve, quaternion: Curve) -> float:
    """The smallest x at which neither network has collapsed."""
    # Counts are rounded tensor by tensor: levels of equal size differ in the fifth digit.
    return 0.999 * max(alive(real)[-1].x, alive(quaternion)[-1].x)


def widest_gap(real: Curve, quaternion: Curve) -> Gap | None:
    """The largest gap at a quaternion level where neither network has collapsed."""
    end = both_alive(real, quaternion)
    found = [(x, g) for x, g in gaps(real, quaternion) if x >= end]
    return max(found, key=lambda xg: xg[1], default=None)


def crossover(real: Curve, quaternion: Curve) -> float | None:
    """The x below which the quaternion network stays ahead; None if it never does.

    Levels of both networks count until one has collapsed. The crossover is the first zero of the
    gap after the last level with a gap below -jitter / 2. Infinity: there is no such level.
    """
    tie, end = jitter(real.dataset) / 2, both_alive(real, quaternion)
    sizes = sorted({p.x for p in real.points + quaternion.points if p.x >= end}, reverse=True)
    points = [(x, g) for x in sizes if (g := gap(real, quaternion, x)) is not None]
    behind = [i for i, (_, g) in enumerate(points) if g < -tie]
    if not behind:
        return math.inf if points else None
    for before, after in pairwise(points[behind[-1] :]):
        if before[1] < 0 <= after[1]:
            return _zero(before, after)
    return None


def first_lead(real: Curve, quaternion: Curve, axis: str) -> tuple[list[Gap], float]:
    """The gaps at the first quaternion levels in a row that are ahead, and where that lead ends.

    It ends at the zero of the gap, or at the last level that both curves reach.
    """
    points = gaps(real, quaternion, axis)
    start = next((i for i, (_, g) in enumerate(points) if g > 0), len(points))
    stop = next((i for i, (_, g) in enumerate(points) if i > start and g <= 0), None)
    lead = points[start:stop]
    if not lead:
        return [], math.nan
    return lead, lead[-1][0] if stop is None else _zero(lead[-1], points[stop])


def first_below(curve: Curve, accuracy: float) -> Point | None:
    """The first level with less than `accuracy` %."""
    return next((p for p in curve.points if p.accuracy < accuracy), None)


def matched_down_to(curve: Curve) -> Point | None:
    """The smallest pruned network that is as accurate as the dense one; None if none is."""
    as_good = [p for p in curve.points[1:] if p.accuracy >= curve.dense.accuracy]
    return as_good[-1] if as_good else None


def best_less_dense(curve: Curve) -> float:
    """Points by which the best pruned network exceeds the dense one."""
    return max(p.accuracy for p in curve.points[1:]) - curve.dense.accuracy


@cache
def jitter(dataset: str) -> float:
    """Standard deviation of one run from level to level, in points, of the published ResNets.

        sqrt(mean(d^2) / 6),    d = a[l-1] - 2 a[l] + a[l+1]

    over the levels with at least 80 % of the dense accuracy: d has six times the variance of a
    level. A curve's bend counts as jitter, so it is an upper bound. 0.7 points on CIFAR-100, 0.3
    on ImageNet64; 0 for the predecessor's datasets, which come with standard deviations.
    """
    squares = []
    for curve in published().values():
        flat = [p.accuracy for p in curve.points if p.accuracy >= 0.8 * curve.dense.accuracy]
        if curve.dataset == dataset and curve.model.startswith("resnet"):
            squares += [
                (a - 2 * b + c) ** 2 for a, b, c in zip(flat, flat[1:], flat[2:], strict=False)
            ]
    return math.sqrt(sum(squares) / len(squares) / 6) if squares else 0.0


def noise(dataset: str) -> float:
    """Points within which two single runs do not differ: 2 sqrt(2) times the jitter."""
    return 2 * math.sqrt(2) * jitter(dataset)


def _zero(before: Gap, after: Gap) -> float:
    """Where the line between two gaps of different signs is 0, linear in log x."""
    (x0, g0), (x1, g1) = before, after
    return math.exp(math.log(x0) + math.log(x1 / x0) * g0 / (g0 - g1))
