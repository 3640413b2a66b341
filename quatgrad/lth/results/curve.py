"""One number of a curve of accuracy against weights: its area, and how far it holds the dense one.

Records are those of a search, one for each level.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from quatgrad.errors import OptionError
from quatgrad.lth.results.compare import half_width
from quatgrad.lth.store.records import Record


def area(
    records: Sequence[Record],
    low: float,
    high: float,
    size: Callable[[Record], float] = attrgetter("weights_left"),
) -> float:
    """The mean of the accuracy over log(weights) from `low` to `high` weights.

    1 / log(high / low) integral accuracy dlog(w), accuracies joined by straight lines in log(w).
    Only areas between the same limits compare. `size`: of a record, what is in the place of its
    weights. Raises `OptionError` where the records do not span the limits.
    """
    levels = {size(r): r.accuracy for r in records}  # of equal sizes the last
    w, y = (np.array(x, np.float64) for x in zip(*sorted(levels.items()), strict=True))
    if not w[0] <= low < high <= w[-1]:
        raise OptionError(
            f"area: {low:g} to {high:g} weights are not inside a curve from {w[0]:g} to {w[-1]:g}"
        )
    inside = w[(w > low) & (w < high)]
    x = np.log(np.array([low, *inside, high]))
    heights = np.interp(x, np.log(w), y)
    return float(np.trapezoid(heights, x) / (x[-1] - x[0]))


@dataclass(frozen=True)
class Match:
    """A level against the dense network: the mean of accuracy - dense accuracy over trials.

    interval  +- of it at 95 %, paired; None as in `compare.half_width`
    matches   difference >= -tolerance;  surely: its whole interval is
    """

    level: int
    weights_left: int
    difference: float
    interval: float | None
    matches: bool
    surely: bool


def matching(trials: Sequence[Sequence[Record]], tolerance: float = 0.01) -> list[Match]:
    """Every level that all trials have, against their dense networks."""
    found = []
    for records in zip(*trials, strict=False):
        gaps = [r.accuracy - t[0].accuracy for r, t in zip(records, trials, strict=True)]
        gap, half, first = statistics.fmean(gaps), half_width(gaps, records), records[0]
        matches = gap >= -tolerance
        surely = half is not None and gap - half >= -tolerance
        found.append(Match(first.level, first.weights_left, gap, half, matches, surely))
    return found


def sparsest(matches: Sequence[Match]) -> Match:
    """The last level that matches; the dense one does in any case."""
    return [m for m in matches if m.matches][-1]
