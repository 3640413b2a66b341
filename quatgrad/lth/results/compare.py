"""Networks against each other: the table of levels, and accuracies at equal numbers of weights."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from scipy import stats

from quatgrad.lth.search.selection import POINTS

Record = dict[str, Any]
Runs = Mapping[str, Sequence[Record]]  # network -> records of its levels


def mean(trials: Sequence[Runs]) -> Runs:
    """Records whose accuracy is the mean over trials; `interval` is +- of it at 95 %.

    t s / sqrt(n) with Student's t of n - 1 degrees of freedom; none for one trial. A level counts
    where all trials that have the network have it.
    """
    merged = {}
    for name in dict.fromkeys(name for runs in trials for name in runs):
        levels = zip(*(runs[name] for runs in trials if name in runs), strict=False)
        merged[name] = [_merge(records) for records in levels]
    return merged


def _merge(records: Sequence[Record]) -> Record:
    accuracies = [r["accuracy"] for r in records]
    merged = records[0] | {"accuracy": statistics.fmean(accuracies), "trials": len(records)}
    if all("points" in r for r in records):
        merged["points"] = {p: _point([r["points"][p] for r in records]) for p in POINTS}
    half = half_width(accuracies)
    return merged if half is None else merged | {"interval": half}


def _point(found: Sequence[Record]) -> Record:
    """The means of a point, and its accuracy's interval."""
    mean_of = {key: statistics.fmean(f[key] for f in found) for key in found[0]}
    half = half_width([f["accuracy"] for f in found])
    return mean_of if half is None else mean_of | {"interval": half}


def half_width(values: Sequence[float]) -> float | None:
    """t s / sqrt(n): half the 95 % interval of their mean; None for one value."""
    n = len(values)
    if n == 1:
        return None
    return float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)


def full_size(runs: Runs) -> int:
    """Prunable weights of the dense real network: 100 % on the paper's axis.

    A quaternion network has exactly a quarter in its quaternion layers, so its curve starts a
    little above 25 %. Where the real one was not run, 100 % is the first that was.
    """
    return runs["real" if "real" in runs else next(iter(runs))][0]["weights_total"]


def rows(runs: Runs) -> list[dict[str, Any]]:
    """One row for each level: what is left and the accuracy, for each network."""
    table = []
    for level in range(max(len(records) for records in runs.values())):
        row: dict[str, Any] = {"level": level}
        for algebra, records in runs.items():
            r = records[level] if level < len(records) else None
            row[f"{algebra}_percent_left"] = r and 100 * r["weights_left"] / r["weights_total"]
            row[f"{algebra}_weights_left"] = r and r["weights_left"]
            row[f"{algebra}_accuracy"] = r and r["accuracy"]
            if any("interval" in r for r in records):
                row[f"{algebra}_interval"] = r and r["interval"]
            if all("points" in r for r in records):
                for point in POINTS[1:]:
                    row[f"{algebra}_{point}_epoch"] = r and r["points"][point]["epoch"]
                    row[f"{algebra}_{point}_accuracy"] = r and r["points"][point]["accuracy"]
        table.append(row)
    return table


def text_table(runs: Runs) -> str:
    """The table on the screen: level, % of its own weights left, weights left, accuracy."""
    wide = any("interval" in r for records in runs.values() for r in records)
    head, sizes = "level", {name: max(len(name), 10) for name in runs}
    for name, size in sizes.items():
        head += f" | {name:>{size}}: % left {'weights':>10} {'accuracy':>9}"
        head += f" {'+-':>7}" if wide else ""
    lines = [head, "".join("+" if c == "|" else "-" for c in head)]
    for row in rows(runs):
        line = f"{row['level']:5d}"
        for name, size in sizes.items():
            accuracy, percent = row[f"{name}_accuracy"], row[f"{name}_percent_left"]
            if accuracy is None:
                line += f" | {'':{size + 29 + 8 * wide}}"
                continue
            line += f" | {percent:{size + 8}.2f} {row[f'{name}_weights_left']:10,d} {accuracy:9.2%}"
            line += f" {row[f'{name}_interval']:7.2%}" if wide else ""
        lines.append(line)
    return "\n".join(lines)


def points_table(runs: Runs) -> str:
    """Test accuracy at the epochs that validation images choose; "" where none were held out."""
    rows = [
        [name, str(r["level"]), *(_cell(r["points"][point]) for point in POINTS)]
        for name, records in runs.items()
        for r in records
        if "points" in r
    ]
    if not rows:
        return ""
    head = ["network", "level", "last", "best accuracy", "lowest loss (early stop)"]
    sizes = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        " | ".join(f"{x:>{n}}" for x, n in zip(row, sizes, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(["Test accuracy at the epochs that the validation images choose:", *lines])


def _cell(point: Record) -> str:
    half = f" +- {point['interval']:.2%}" if "interval" in point else ""
    return f"{point['accuracy']:.2%}{half}, epoch {point['epoch']:.3g}"


def equal_weights(runs: Runs) -> list[tuple[int, float, float]]:
    """(weights, real accuracy, quaternion accuracy) at each quaternion level the real run spans.

    The real accuracy is interpolated linearly in the logarithm of the number of weights. At
    equal weights a quaternion network spends four times the multiply-adds.
    """
    real = [(math.log(r["weights_left"]), r["accuracy"]) for r in runs["real"]][::-1]
    points = []
    for r in runs["quaternion"]:
        x = math.log(r["weights_left"])
        for (x0, y0), (x1, y1) in pairwise(real):
            if x0 <= x <= x1:
                y = y0 + (y1 - y0) * ((x - x0) / (x1 - x0) if x1 > x0 else 1)
                points.append((r["weights_left"], y, r["accuracy"]))
                break
    return points


def verdict(runs: Runs) -> str:
    """Where the quaternion network is furthest from the real one of equal weights."""
    points = equal_weights(runs)
    if not points:
        return "Real and quaternion share no number of weights: add --levels to compare them there."
    weights, real, quaternion = max(points, key=lambda p: abs(p[2] - p[1]))
    gap = abs(quaternion - real) * 100
    ahead = "ahead" if quaternion >= real else "behind"
    return (
        f"Widest gap at equal weights: the quaternion network is {gap:.1f} points {ahead}, at "
        f"{weights:,} weights ({quaternion:.1%} against {real:.1%}).\n"
        "Each of its weights is multiplied in four places: there it spends about four times the "
        "multiply-adds."
    )
