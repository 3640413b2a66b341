"""Runs on record: what list, show, compare and plot print of them. Nothing is trained here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quatgrad.errors import RunError
from quatgrad.lth.experiment.experiment import duration
from quatgrad.lth.results import compare, plot
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files


def find(run: str, out: str) -> Run:
    """A run, by the path of its directory or its name in `out`. `RunError` if it is none.

    Its path is that of the directory itself: not ".", and no link to it.
    """
    for path in (Path(run), Path(out) / run):
        if files.exists(path / "config.json"):
            return Run(path.resolve())
    raise RunError(
        f"{run} is no run, and there is none of that name in {out}: quatgrad-lth list "
        "shows what is there"
    )


def runs_in(out: Path) -> list[Run]:
    """Every run in `out`."""
    return [Run(p.parent) for p in sorted(out.glob("*/config.json"))]


def summary(run: Run) -> dict[str, Any]:
    """A run in short: its options, and for each network how far it came."""
    networks = {
        name: {
            "trials": sum(name in trial for trial in run.trials.values()),
            "levels": len(levels) - 1,
            "accuracy": levels[0].accuracy,
            "last accuracy": levels[-1].accuracy,
            "percent left": levels[-1].percent_left,
        }
        for name, levels in run.curves.items()
    }
    date, records = run.finished_at, run.measured
    return {
        "run": run.path.name,
        "date": date and date.isoformat(timespec="minutes"),
        "seconds": sum(r.seconds for r in records),
        "versions": sorted({r.version for r in records}),
        "options": run.config.options,
        "networks": networks,
        "unfinished": run.unfinished,
    }


def listed(run: Run) -> dict[str, Any]:
    """`summary`; of a run that cannot be read what is wrong with it."""
    try:
        return summary(run)
    except RunError as error:
        nothing: dict[str, Any] = {"options": {}, "networks": {}, "unfinished": []}
        return {"run": run.path.name, **nothing, "error": str(error)}


def list_text(found: list[dict[str, Any]]) -> str:
    """A line for each run, and one for each of its networks."""
    lines = []
    for s in found:
        lines.append("  ".join([s["run"], *when_text(s)]))
        lines += [
            f"  {network:<24} {n['trials']} x {n['levels']:2d} levels  dense {n['accuracy']:7.2%}  "
            f"{n['last accuracy']:7.2%} at {n['percent left']:5.1f} %"
            for network, n in s["networks"].items()
        ]
        if not s["networks"]:
            nothing = "no level is finished, or by another version of quatgrad"
            lines.append(f"  {s.get('error', nothing)}")
        lines += [f"  unfinished: {stage}" for stage in s["unfinished"]]
    return "\n".join(lines) or "no runs here"


def when_text(s: dict[str, Any]) -> list[str]:
    """Date, time of training and version of a run, as far as `summary` knows them."""
    if not s.get("date"):
        return []
    versions = ", ".join(s["versions"])
    return [s["date"].replace("T", " "), f"trained {duration(s['seconds'])}", f"by {versions}"]


def show(run: Run) -> dict[str, Any]:
    """A run in full: its options, every record, and the stage that each is of."""
    stages = {str(p.relative_to(run.path)): p.resolve().name for p in run.links}
    return summary(run) | {"trials": plain([*run.trials.values()]), "stages": stages}


def plain(trials: Sequence[compare.Trial]) -> list[dict[str, list[dict[str, Any]]]]:
    """The records of trials as JSON has them."""
    return [{name: [r.plain() for r in trial[name]] for name in trial} for trial in trials]


def show_text(run: Run) -> str:
    """The same for people: options, table, stages."""
    options = ", ".join(f"{k} {v}" for k, v in run.config.options.items())
    tables = "\n\n".join(compare.tables(run.curves)) or "no level is finished"
    stages = [f"  {p.relative_to(run.path)}  {p.resolve().name}" for p in run.links]
    about = ", ".join(when_text(summary(run))) or "not finished"
    options = textwrap.fill(f"{run.path}: {options}", compare.width(), subsequent_indent="  ")
    return "\n".join([options, about, "", tables, "", "Stages:", *stages])


def side_by_side(runs: Sequence[Run]) -> compare.Curves:
    """The networks of several runs by "1 real", "2 real", ..., each the mean of its trials."""
    found = {
        f"{number} {name}": levels
        for number, run in enumerate(runs, 1)
        for name, levels in run.curves.items()
    }
    if not found:
        paths = ", ".join(str(run.path) for run in runs)
        raise RunError(f"{paths}: no level is finished, nothing to compare")
    return found


def side_by_side_text(runs: Sequence[Run], found: compare.Curves) -> str:
    """What the numbers mean, and how each run differs from the first; the table."""
    return "\n".join([*numbered(runs), "", compare.text_table(found)])


def numbered(runs: Sequence[Run]) -> list[str]:
    """A line for each run: its number, its name, and which options are not those of the first."""
    first, lines = runs[0].config.options, []
    for number, run in enumerate(runs, 1):
        own = run.config.options
        changed = [k for k in sorted({*own, *first}) if own.get(k) != first.get(k)]
        differs = [f"{k} {own.get(k, 'default')}" for k in changed]
        lines.append(f"{number}: {run.path.name}" + (f" ({', '.join(differs)})" if differs else ""))
    return lines


def draw(run: Run, paths: list[Path]) -> Figure:
    """The picture of a run, once more, also into files."""
    if not run.curves:
        raise RunError(f"{run.path}: no level is finished, nothing to draw")
    figure = run.picture(run.curves)
    for path in paths:
        plot.save(figure, path)
    return figure
