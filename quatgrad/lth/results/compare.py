"""Networks against each other: the table of levels, and accuracies at equal numbers of weights."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, zip_longest
from typing import Any

from scipy import special

from quatgrad.lth.store.records import POINTS, Record, Selected


@dataclass(frozen=True)
class SelectedMean:
    """Means over trials of an epoch that validation images selected; `interval` of the accuracy."""

    epoch: float
    accuracy: float
    interval: float | None


@dataclass(frozen=True)
class LevelMean:
    """A level of a network: the mean accuracy of its trials.

    interval   +- of it at 95 %, t s / sqrt(n) with Student's t of n - 1 degrees of freedom; None
               for one trial, and where two trials are one network
    selection  the same of each epoch that validation images selected, if any
    """

    level: int
    weights_left: int
    weights_total: int
    accuracy: float
    interval: float | None = None
    trials: int = 1
    selection: Mapping[str, SelectedMean] = field(default_factory=dict)

    @property
    def percent_left(self) -> float:
        """Weights left, in % of the network's own."""
        return 100 * self.weights_left / self.weights_total


Trial = Mapping[str, Sequence[Record]]  # network -> records of its levels
Curves = Mapping[str, Sequence[LevelMean]]  # network -> its levels


def mean(trials: Sequence[Trial]) -> Curves:
    """Means over trials. A level counts where all trials that have the network have it."""
    merged = {}
    for name in dict.fromkeys(name for trial in trials for name in trial):
        levels = zip(*(trial[name] for trial in trials if name in trial), strict=False)
        merged[name] = [_merge(records) for records in levels]
    return merged


def _merge(records: Sequence[Record]) -> LevelMean:
    first, accuracies = records[0], [r.accuracy for r in records]
    selections = [r.selection for r in records if r.selection]
    points = POINTS if len(selections) == len(records) else ()
    return LevelMean(
        *(first.level, first.weights_left, first.weights_total, statistics.fmean(accuracies)),
        half_width(accuracies, records),
        len(records),
        {p: _selected([s[p] for s in selections], records) for p in points},
    )


def _selected(members: Sequence[Selected], records: Sequence[Record]) -> SelectedMean:
    accuracies = [s.accuracy for s in members]
    epoch = statistics.fmean(s.epoch for s in members)
    return SelectedMean(epoch, statistics.fmean(accuracies), half_width(accuracies, records))


def half_width(values: Sequence[float], trials: Sequence[Record] = ()) -> float | None:
    """Half the 95 % interval of the mean of values, one of each trial; None for one trial.

    None also where two trials ended with the same bits: nothing that was drawn differs, so they are
    one network, and how far networks scatter is not known from it.
    """
    n = len(values)
    one = n == 1 or len({record.trained for record in trials}) < len(trials)
    return None if one else t_interval(statistics.stdev(values), n)


def t_interval(std: float, n: int) -> float:
    """t(0.975, n-1) s / sqrt(n): half the 95 % interval of a mean of n values."""
    return float(special.stdtrit(n - 1, 0.975)) * std / math.sqrt(n)


def full_size(runs: Curves) -> int:
    """Prunable weights of the dense real network: 100 % on the paper's axis.

    A quaternion network has exactly a quarter in its quaternion layers, so its curve starts a
    little above 25 %. Where the real one was not run, 100 % is the first that was.
    """
    return runs[whole(runs)][0].weights_total


def whole(runs: Curves) -> str:
    """The network that is 100 %: the real one, or the first that was run."""
    return "real" if "real" in runs else next(iter(runs))


def rows(runs: Curves) -> list[dict[str, Any]]:
    """One row for each level: what is left and the accuracy, for each network."""
    table = []
    for number in range(max(len(levels) for levels in runs.values())):
        row: dict[str, Any] = {"level": number}
        for name, levels in runs.items():
            level = levels[number] if number < len(levels) else None
            row[f"{name}_percent_left"] = level and level.percent_left
            row[f"{name}_weights_left"] = level and level.weights_left
            row[f"{name}_accuracy"] = level and level.accuracy
            if unequal_trials(runs):
                row[f"{name}_trials"] = level and level.trials
            if any(x.interval is not None for x in levels):
                row[f"{name}_interval"] = level and level.interval
            if all(x.selection for x in levels):
                for point in POINTS[1:]:
                    row[f"{name}_{point}_epoch"] = level and level.selection[point].epoch
                    row[f"{name}_{point}_accuracy"] = level and level.selection[point].accuracy
        table.append(row)
    return table


def tables(runs: Curves) -> list[str]:
    """The networks in a table, and one for each control; then that of validation images, if any."""
    kinds = dict.fromkeys(name.partition("-")[2] for name in runs)
    of_kinds = [
        text_table({n: r for n, r in runs.items() if n.partition("-")[2] == kind}) for kind in kinds
    ]
    points = points_table(runs)
    return [*of_kinds, points] if points else of_kinds


def unequal_trials(runs: Curves) -> bool:
    """Have the networks not all as many trials? Then a table says how many each has."""
    return len({level.trials for levels in runs.values() for level in levels}) > 1


def text_table(runs: Curves) -> str:
    """The table on the screen: level, % of its own weights left, weights left, accuracy.

    Networks that do not fit beside each other in the terminal are below each other.
    """
    wide = any(x.interval is not None for levels in runs.values() for x in levels)
    count = max(len(levels) for levels in runs.values())
    levels_column = ["level", "-----", *(f"{level:5d}" for level in range(count))]
    groups = [[levels_column]]
    for name, levels in runs.items():
        if unequal_trials(runs):
            name += f" ({levels[0].trials} trial{'s' * (levels[0].trials > 1)})"
        size = max(len(name), 10)
        head = f"{name:>{size}}: % left {'weights':>10} {'accuracy':>9}" + f" {'+-':>7}" * wide
        column = [head, "-" * len(head)]
        for x in levels:
            cell = f"{x.percent_left:{size + 8}.2f} {x.weights_left:10,d} {x.accuracy:9.2%}"
            half = "-" if x.interval is None else f"{x.interval:.2%}"
            column.append(cell + f" {half:>7}" * wide)
        if len(groups[-1]) > 1 and sum(len(c[0]) + 3 for c in [*groups[-1], column]) > width():
            groups.append([levels_column])
        groups[-1].append(column)
    return "\n\n".join(map(_joined, groups))


def _joined(columns: Sequence[Sequence[str]]) -> str:
    lines = table([*zip_longest(*columns, fillvalue="")], str.ljust)
    lines[1] = lines[1].replace(" | ", "-+-")
    return "\n".join(lines)


def width() -> int:
    """Characters of a line of the terminal; what is written to a file has no limit."""
    return shutil.get_terminal_size((10_000, 24)).columns


def table(rows: Sequence[Sequence[str]], align: Callable[[str, int], str]) -> list[str]:
    """Rows of cells as lines; a column is as wide as its widest cell."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" | ".join(map(align, row, sizes)) for row in rows]


def points_table(runs: Curves) -> str:
    """Test accuracy at the epochs that validation chooses; "" where none were held out."""
    rows = [
        [name, str(level.level), *(_cell(level.selection[point]) for point in POINTS)]
        for name, levels in runs.items()
        for level in levels
        if level.selection
    ]
    if not rows:
        return ""
    rows.insert(0, ["network", "level", "last", "best accuracy", "lowest loss (early stop)"])
    lines = ["Test accuracy at the epochs that validation chooses:"]
    return "\n".join(lines + [line.rstrip() for line in table(rows, str.rjust)])


def _cell(selected: SelectedMean) -> str:
    half = f" +- {selected.interval:.2%}" if selected.interval is not None else ""
    return f"{selected.accuracy:.2%}{half}, epoch {selected.epoch:.3g}"


def equal_weights(runs: Curves, other: str = "real") -> list[tuple[int, float, float]]:
    """(weights, real accuracy, quaternion accuracy) at each quaternion level the real run spans.

    The real accuracy is interpolated linearly in the logarithm of the number of weights. At
    equal weights a quaternion network spends four times the multiply-adds. `other` is in the place
    of the real network.
    """
    real = [(math.log(x.weights_left), x.accuracy) for x in runs[other]][::-1]
    points = []
    for level in runs["quaternion"]:
        x = math.log(level.weights_left)
        for (x0, y0), (x1, y1) in pairwise(real):
            if x0 <= x <= x1:
                y = y0 + (y1 - y0) * ((x - x0) / (x1 - x0) if x1 > x0 else 1)
                points.append((level.weights_left, y, level.accuracy))
                break
    return points


def verdict(runs: Curves, other: str = "real") -> str:
    """How far the quaternion network is ahead of the real one of equal weights, and how far behind.

    Where their intervals overlap there is no difference; without intervals, as of one seed, nobody
    knows. `other` is in the place of the real network.
    """
    points, name = equal_weights(runs, other), other.capitalize()
    if not points:
        return f"{name} and quaternion share no number of weights: more --levels may compare them."
    halves = {
        name: [replace(level, accuracy=level.interval or 0.0) for level in runs[name]]
        for name in (other, "quaternion")
    }
    gaps = [
        (quaternion - real, weights, quaternion, real)
        for (weights, real, quaternion), (_, *both) in zip(
            points, equal_weights(halves, other), strict=True
        )
        if abs(quaternion - real) > sum(both)
    ]
    lines = [
        f"{100 * abs(gap):.1f} points {word}, at {weights:,} weights ({quaternion:.1%} against "
        f"{real:.1%})"
        for word, (gap, weights, quaternion, real) in (
            [("ahead", max(gaps)), ("behind", min(gaps))] if gaps else []
        )
        if (gap > 0) == (word == "ahead")
    ]
    both_runs = [level for name in halves for level in runs[name]]
    seeds = min(level.trials for level in both_runs)
    unknown = any(level.interval is None for level in both_runs)
    found = f"the quaternion network is at most {' and '.join(lines)}" if lines else "no difference"
    chance = (
        f"{'one seed' if seeds == 1 else 'no interval is known'}: chance may be all of it"
        if unknown
        else f"{seeds} seeds; where intervals overlap there is no difference"
    )
    beside = "" if other == "real" else f", beside {other}"
    return (
        f"At equal weights{beside}: {found} ({chance}).\nEach of its weights is multiplied in four "
        "places: there it spends about four times the multiply-adds."
    )
