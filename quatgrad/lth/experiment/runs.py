"""Runs on record: what list, show, compare and plot tell of them. Nothing is trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quatgrad.errors import RunError
from quatgrad.lth.experiment.experiment import records_of, tables
from quatgrad.lth.results import compare, plot
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Record


def find(run: str, out: str) -> Path:
    """The directory of a run: a path to it, or its name in `out`. `RunError` if it is none."""
    for path in (Path(run), Path(out) / run):
        if (path / "config.json").exists():
            return path
    raise RunError(
        f"{run} is no run, and there is none of that name in {out}: quatgrad-lth list "
        "shows what is there"
    )


def directories(out: Path) -> list[Path]:
    """Every run in `out`."""
    return sorted(p.parent for p in out.glob("*/config.json"))


def trials(directory: Path) -> list[compare.Runs]:
    """The records of each trial of a run, in order."""
    count = len(list(directory.glob("trial*")))
    return [runs for trial in range(count) if (runs := records_of(directory, trial))]


def links(directory: Path) -> list[Path]:
    """The links of a run to its stages, those of first passes too."""
    found = [*directory.glob("trial*/*/level_*"), *directory.glob("trial*/*/finetuned/level_*")]
    return sorted(p for p in found if p.is_symlink())


def summary(directory: Path) -> Record:
    """A run in short: its options, and for each network how far it came."""
    all_of_it = trials(directory)
    merged = compare.mean(all_of_it)
    networks = {
        name: {
            "trials": sum(name in runs for runs in all_of_it),
            "levels": len(records) - 1,
            "accuracy": records[0]["accuracy"],
            "last accuracy": records[-1]["accuracy"],
            "percent left": 100 * records[-1]["weights_left"] / records[-1]["weights_total"],
        }
        for name, records in merged.items()
    }
    unfinished = [p.resolve().name for p in links(directory) if not files.is_sealed(p)]
    config = files.read_json(directory / "config.json")["options"]
    return {
        "run": directory.name,
        "options": config,
        "networks": networks,
        "unfinished": unfinished,
    }


def list_text(found: list[Record]) -> str:
    """One line for each network of each run."""
    if not found:
        return "no runs here"
    width = max(len(s["run"]) for s in found)
    lines = []
    for s in found:
        name = s["run"]
        for network, n in s["networks"].items():
            lines.append(
                f"{name:{width}}  {network:<24} {n['trials']} x {n['levels']:2d} levels  dense "
                f"{n['accuracy']:7.2%}  {n['last accuracy']:7.2%} at {n['percent left']:5.1f} %"
            )
            name = ""
        if not s["networks"]:
            lines.append(f"{name:{width}}  no level is finished, or by another version of quatgrad")
            name = ""
        lines += [f"{name:{width}}  unfinished: {stage}" for stage in s["unfinished"]]
    return "\n".join(lines)


def show(directory: Path) -> Record:
    """A run in full: its options, every record, and the stage that each is of."""
    stages = {str(p.relative_to(directory)): p.resolve().name for p in links(directory)}
    return summary(directory) | {"trials": trials(directory), "stages": stages}


def show_text(directory: Path, told: Record) -> str:
    """The same for people: options, table, stages."""
    options = ", ".join(f"{k} {v}" for k, v in told["options"].items())
    found = "\n\n".join(tables(compare.mean(told["trials"]))) or "no level is finished"
    stages = [f"  {link}  {stage}" for link, stage in told["stages"].items()]
    return "\n".join([f"{directory}: {options}", "", found, "", "Stages:", *stages])


def side_by_side(paths: list[Path]) -> compare.Runs:
    """The networks of several runs by "1 real", "2 real", ..., each the mean of its trials."""
    found = {
        f"{number} {network}": records
        for number, path in enumerate(paths, 1)
        for network, records in compare.mean(trials(path)).items()
    }
    if not found:
        raise RunError(f"{', '.join(map(str, paths))}: no level is finished, nothing to compare")
    return found


def side_by_side_text(paths: list[Path], found: compare.Runs) -> str:
    """What the numbers mean, and how each run differs from the first; the table."""
    options = [files.read_json(path / "config.json")["options"] for path in paths]
    lines = []
    for number, (path, own) in enumerate(zip(paths, options, strict=True), 1):
        differs = [
            f"{k} {own.get(k, 'default')}"
            for k in sorted({*own, *options[0]})
            if own.get(k) != options[0].get(k)
        ]
        lines.append(f"{number}: {path.name}" + (f" ({', '.join(differs)})" if differs else ""))
    return "\n".join([*lines, "", compare.text_table(found)])


def draw(directory: Path, paths: list[Path]) -> None:
    """The picture of a run, once more, into files."""
    runs, said = compare.mean(trials(directory)), files.read_json(directory / "config.json")
    if not runs:
        raise RunError(f"{directory}: no level is finished, nothing to draw")
    if "classes" not in said:
        raise RunError(f"{directory} was run by another version of quatgrad; run it again")
    options: dict[str, Any] = said["options"]
    title = f"{options['model']} on {options['dataset']}: lottery tickets"
    figure = plot.figure(runs, title, 1 / said["classes"])
    for path in paths:
        plot.save(figure, path)
