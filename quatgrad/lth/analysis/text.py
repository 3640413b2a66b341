"""An analysis in words and tables, for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LEGEND = """\
Of the first trial's tickets. on a path: the share of weights left that lie on a path from a pixel
to a class; overlap: what the tickets of two trials share beyond chance, 1 if equal; whole, dead:
quaternions with 4 and 0 components left, and by chance; together: 1 by chance, 4 if whole."""


def text(directory: Path, found: Mapping[str, Any]) -> str:
    """The analysis in short: a table for each network, what holds of its curve, and warnings."""
    parts = [
        _table(name, levels, found["overlaps"].get(name, ()))
        for name, levels in found["levels"].items()
    ]
    parts.append(LEGEND)
    parts.append("\n".join([*_curves(found["curves"]), *_across(found["overlaps"])]))
    if found["lines"]:
        lines = [f"  {name}: {_barrier(line)}" for name, line in found["lines"].items()]
        head = "Error on the line between two trainings in two orders of the data:"
        parts.append("\n".join([head, *lines]))
    warnings = [f"WARNING: layer collapse: {line}" for line in found["warnings"]]
    parts.append("\n".join(warnings) or "No layer collapsed.")
    parts.append(f"Pictures and all numbers: {directory / 'analysis'}")
    return "\n\n".join(parts)


def _table(
    name: str, levels: Sequence[Mapping[str, Any]], overlaps: Sequence[Mapping[str, Any]]
) -> str:
    """Densities, paths, components of quaternions against chance, overlap beyond chance."""
    quaternions = sum(levels[0]["components"]) > 0
    lines = [f"{name}:" if "-" not in name else f"{name}, a control:"]
    lines.append("level  % left on a path  overlap" + (COMPONENTS if quaternions else ""))
    for i, level in enumerate(levels):
        shared = overlaps[i]["corrected"] if i < len(overlaps) else None
        line = f"{level['level']:5d} {100 * level['density']:7.2f} "
        line += f"{_share(level['effective'], level['weights_left']):>9} {_number(shared):>8}"
        lines.append(line + (_components(level) if quaternions else ""))
    return "\n".join(lines)


COMPONENTS = " |   1, i, j, k in %   |  whole chance |   dead chance | together"


def _components(level: Mapping[str, Any]) -> str:
    """The quaternions of one level: their components, how many are whole and dead, co-survival."""
    total = sum(level["components"]) or 1
    line = " | " + " ".join(f"{100 * n / total:4.1f}" for n in level["components"])
    for k in (4, 0):
        counts = [level["quaternions"][which] for which in ("found", "chance")]
        line += " | " + " ".join(f"{_share(c[k], sum(c)):>6}" for c in counts)
    return f"{line} | {_number(level['togetherness']):>8}"


def _curves(curves: Mapping[str, Any]) -> list[str]:
    """Area and sparsest matching level of each network."""
    tolerance, width = next(iter(curves.values()))["tolerance"], max(map(len, curves))
    lines = [
        f"Sparsest level no more than {100 * tolerance:.3g} points below the dense network, "
        "and mean accuracy over log(weights):"
    ]
    for name, curve in curves.items():
        best, (low, high) = curve["sparsest"], curve["limits"]
        gap = f"{100 * best['difference']:+.1f}"
        gap += f" +- {100 * best['interval']:.1f}" if best["interval"] is not None else ""
        line = f"  {name:{width}}  level {best['level']}, {best['weights_left']:,} weights ({gap})"
        if curve["area"] is not None:
            line += f"; {curve['area']:.1%} from {high:,} to {low:,}"
        lines.append(line)
    return lines


def _across(overlaps: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rows = overlaps.get("real and quaternion", ())
    known = [r for r in rows if r["corrected"] is not None]
    found = ", ".join(f"{r['corrected']:.2f}" for r in known)
    head = "Overlap of real and quaternion tickets beyond chance, level"
    return [f"{head} {known[0]['level']} on: {found}"] if known else []


def _barrier(line: Mapping[str, Any]) -> str:
    return (
        f"barrier {line['barrier']:.1%} (ends {line['errors'][0]:.1%} and "
        f"{line['errors'][-1]:.1%}, highest {max(line['errors']):.1%})"
    )


def _share(part: float | None, whole: float) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
