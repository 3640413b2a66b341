"""Our curves beside the published ones, level by level and claim by claim, as text.

Two means agree if they differ by at most

    sqrt(h_published^2 + h_ours^2 + e^2)

h  half of the 95 % t-interval. A single run has none: its h is twice the jitter of the published
   curves from level to level (0.7 points on CIFAR-100, 0.3 on ImageNet64), or twice the published
   standard deviation
e  the error of reading the published accuracy off a raster figure; 0 where it is exact
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from quatgrad.errors import OptionError
from quatgrad.paper import measure
from quatgrad.paper.claims import TOO_LITTLE, Verdict, judge
from quatgrad.paper.curves import Curve, Curves, Point, by_key
from quatgrad.paper.published import TRIALS, digitisation_error, published

#: Where gaps are compared: % of the dense real network.
SIZES = (25.0, 12.5, 6.25, 3.125, 1.5625, 0.78, 0.39, 0.195)

#: The gaps of a row.
GAPS = ("published", "ours", "half", "equal")


@dataclass(frozen=True)
class Match:
    """One of our levels, and the published accuracy at the same size; all in %."""

    level: int
    x: float
    published: float
    ours: float
    half_width: float | None
    tolerance: float
    agrees: bool | None  # None: smaller than published, so not judged


def matches(ours: Curve, theirs: Curve) -> list[Match]:
    """Our levels that the published curve spans, each with the published accuracy there.

    It is the accuracy of the published level with the same fraction of weights, to 2 %. Where
    there is none, it is interpolated at x.
    """
    found = []
    for p in ours.points:
        same = [q for q in theirs.points if abs(q.fraction / p.fraction - 1) < 0.02]
        accuracy = same[0].accuracy if same else theirs.at(p.x)
        if accuracy is None:
            continue
        near = min(theirs.points, key=lambda q: abs(math.log(q.x / p.x)))
        allowed = tolerance(ours, p, near)
        agrees = None if ours.scaled else abs(p.accuracy - accuracy) <= allowed
        found.append(Match(p.level, p.x, accuracy, p.accuracy, p.half_width, allowed, agrees))
    return found


def tolerance(ours: Curve, point: Point, published: Point) -> float:
    """Points by which our mean may differ from the published one: the formula of this file."""
    if published.half_width is None:
        spread = half = 2 * measure.jitter(ours.dataset)
    else:
        # half = t std / sqrt(n): back to the standard deviation
        half, t = published.half_width, float(stats.t.ppf(0.975, TRIALS - 1))
        spread = 2 * half / t * math.sqrt(TRIALS)
    mine = spread if point.half_width is None else point.half_width
    return math.hypot(half, mine, digitisation_error(ours.dataset, ours.model))


def report(curves: list[Curve]) -> dict[str, Any]:
    """Curves, gaps and claims, ready for JSON; without curves, the published results judged."""
    ours = by_key(curves)
    if len(ours) < len(curves):
        raise OptionError("two of the runs are of the same network; verify them one at a time")
    return {
        "curves": [_curve(c, published().get(c.key)) for c in curves],
        "gaps": [
            row
            for key in dict.fromkeys(c.key[:2] for c in curves if not c.synthetic)
            for row in _gaps(ours, *key)
        ],
        "source": _source(curves),
        "claims": [] if _synthetic(curves) else [asdict(v) for v in judge(ours or published())],
    }


def _synthetic(curves: list[Curve]) -> bool:
    return any(c.synthetic for c in curves)


def _source(curves: list[Curve]) -> str:
    """Whose curves the claims are judged from."""
    if not curves:
        return "the published results"
    if _synthetic(curves):
        return "made images: none is"
    smaller = sorted({c.scaled for c in curves if c.scaled})
    return "our runs" + "".join(f"; smaller than published: {s}" for s in smaller)


def _curve(ours: Curve, theirs: Curve | None) -> dict[str, Any]:
    found = [] if theirs is None or ours.synthetic else matches(ours, theirs)
    return {
        **{"dataset": ours.dataset, "model": ours.model, "algebra": ours.algebra},
        **{"run": ours.label, "scaled": ours.scaled, "made": ours.synthetic},
        "trials": ours.dense.trials,
        "levels": [asdict(m) for m in found],
        "agree": sum(m.agrees is True for m in found),
    }


def _gaps(ours: Curves, dataset: str, model: str) -> list[dict[str, Any]]:
    """Quaternion - real at equal sizes, published and ours; our real controls - real."""
    rows = []
    for x in SIZES:
        row = {"dataset": dataset, "model": model, "x": x}
        for name in GAPS:
            curves = published() if name == "published" else ours
            algebra = name if name in ("half", "equal") else "quaternion"
            real, other = (curves.get((dataset, model, a)) for a in ("real", algebra))
            row[name] = measure.gap(real, other, x) if real and other else None
        if row["ours"] is not None:
            rows.append(row)
    return rows


# ---------------------------------------------------------------------------- as text


def text(found: dict[str, Any]) -> str:
    """A report to read: curves, gaps, claims."""
    parts = [_curve_text(c) for c in found["curves"]]
    if found["gaps"]:
        parts.append(_gaps_text(found["gaps"]))
    parts.append(_claims_text([Verdict(**v) for v in found["claims"]], found["source"]))
    return "\n\n".join(parts) + "\n"


def _curve_text(c: dict[str, Any]) -> str:
    trials = f"{c['trials']} trial{'s' if c['trials'] > 1 else ''}"
    lines = [f"{c['model']} on {c['dataset']}, {c['algebra']}: {trials}, {c['run']}"]
    if c["made"]:
        return "\n".join([*lines, "  its images were made: not compared"])
    if c["scaled"]:
        lines.append(f"  smaller than published ({c['scaled']}): its levels are not judged")
    if not c["levels"]:
        return "\n".join([*lines, "  nothing was published for it"])
    lines.append("  level   % of dense real   published     ours            difference  allowed")
    for m in c["levels"]:
        half = f"± {m['half_width']:.2f}" if m["half_width"] is not None else ""
        difference = m["ours"] - m["published"]
        word = {True: "agrees", False: "differs", None: ""}[m["agrees"]]
        lines.append(
            f"  {m['level']:5d} {m['x']:17.3f} {m['published']:11.2f} {m['ours']:8.2f} {half:8} "
            f"{difference:+11.2f} {m['tolerance']:8.2f}  {word}".rstrip()
        )
    if not c["scaled"]:
        lines.append(f"  {c['agree']} of {len(c['levels'])} levels agree")
    return "\n".join(lines)


def _gaps_text(gaps: list[dict[str, Any]]) -> str:
    lines = [
        "Quaternion less real accuracy, in points, at equal weights. The quaternion network",
        "multiplies each weight in four places: about four times the multiply-adds.",
        "  network                     % of dense real   published     ours   half-width real"
        "   equal real",
    ]
    for g in gaps:
        theirs, ours, half, equal = ("-" if g[k] is None else f"{g[k]:+.1f}" for k in GAPS)
        name = f"{g['model']} on {g['dataset']}"
        lines.append(f"  {name:27} {g['x']:15.3g} {theirs:>11} {ours:>8} {half:>17} {equal:>12}")
    return "\n".join(lines)


def _claims_text(verdicts: list[Verdict], source: str) -> str:
    lines = [f"The papers' claims, judged from {source}"]
    for v in verdicts:
        if v.verdict != TOO_LITTLE:
            lines += ["", f"{v.claim:4}{v.verdict.upper()}"]
            for part in (v.statement, v.numbers):
                lines += textwrap.wrap(part, 96, initial_indent="    ", subsequent_indent="      ")
    missing = [v for v in verdicts if v.verdict == TOO_LITTLE]
    if missing:
        lines += ["", TOO_LITTLE.upper()]
        lines += [f"{v.claim:4}{v.numbers}" for v in missing]
    return "\n".join(lines)
