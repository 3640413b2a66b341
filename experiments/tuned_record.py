"""A study of `quatgrad-lth tune` on record, and the tickets of the settings that it found.

    python experiments/tuned_record.py NAME STUDY [RUN ...]

The study's files go to results/tuned/NAME, with "runs" for the folder where it was made. Each RUN
has the tickets of one network or more, by --preset tuned-DATASET.toml. Of the trials that all have
finished, tickets.csv has every level, the trial by its seed, and tickets.json the differences of
networks, paired by seed, with intervals of 95 % (Student's t); tickets.png lays them over at equal
weights, multiply-adds and bytes. Those by --scope SCOPE, other than layer by layer, are in
tickets-SCOPE. Nothing is trained.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import beyond
import beyond_draw
from beyond_record import Level, Trials, read, write

from quatgrad.errors import RunError
from quatgrad.lth.results import plot
from quatgrad.lth.results.run import Run, seeds
from quatgrad.lth.store import files

OUT = Path(__file__).parent / "results" / "tuned"
COPIED = ("trials.csv", "result.json", "final.json", "ablation.json", "study.json")


def copy(study: Path, folder: Path) -> None:
    """The files of the study that it has; its folder, and the one of its runs, become "runs"."""
    for path in [*(study / name for name in COPIED), *study.glob("tuned-*.toml")]:
        if path.exists():
            text = path.read_text().replace(str(study.parents[1]), "runs")
            (folder / path.name).write_text(text)
    shutil.copy(study / "best.png", folder)


def merged(runs: Sequence[Run]) -> Trials:
    """The trials, by their seed, that every network of these runs has finished.

    A trial has ended where it has as many levels as others of its network, or by its own rule.
    """
    found: dict[int, dict[str, list[Level]]] = {}
    for run in runs:
        first, most = run.config.options.get("seed", 0), Counter[str]()
        for networks in run.trials.values():
            most |= Counter({name: len(levels) for name, levels in networks.items()})
        for number, networks in run.trials.items():
            seed = first + number
            of = found.setdefault(seed, {})
            for name, records in networks.items():
                ended = files.exists(run.search_path(number, name) / "ended.json")
                if len(records) == most[name] or ended:
                    of[name] = [Level.of(seed, name, record) for record in records]
    every = set().union(*found.values())
    for seed, of in found.items():
        if missing := ", ".join(sorted(every - of.keys())):
            print(f"seed {seed} is left out: not finished of {missing}")
    return [of for of in found.values() if of.keys() == every]


def differences(trials: Trials) -> dict[str, dict[str, Any]]:
    """Of each pair of networks: dense, and along the tickets at equal weights and costs."""
    return {
        f"{one} - {other}": {
            what: gap and {"mean": gap.mean, "interval": gap.half}
            for what, gap in beyond.gaps(trials, one, other).items()
        }
        for other, one in itertools.combinations(trials[0], 2)
    }


def tickets(runs: Sequence[Run], folder: Path) -> None:
    """tickets.csv, tickets.json and tickets.png; `RunError` for runs that saw other images.

    The first seed of a run draws its subset and what is held out.
    """
    if len({run.config.options["data"] for run in runs}) > 1:
        names = ", ".join(run.path.name for run in runs)
        raise RunError(f"{names} are of other images: give all the same --seed and data")
    trials, scope = merged(runs), runs[0].config.options.get("scope", "layer")
    name = "tickets" if scope == "layer" else f"tickets-{scope}"
    write(trials, folder / f"{name}.csv")
    curves = beyond_draw.levels(trials)
    first = runs[0].config.first_run
    given = first.overrides if first else {}
    told = {
        "task": runs[0].config.task,
        "chance": runs[0].config.chance,
        "setting": runs[0].setting,
        "seeds": len(trials),
        "options": {k: v for k, v in given.items() if k in ("keep", "levels", "trials")}
        | ({} if scope == "layer" else {"scope": scope}),
        "differences": differences(trials),
    }
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    draw(folder)
    print(f"{folder.name}: tickets of {', '.join(curves)}, {len(trials)} seeds")


def draw(folder: Path) -> None:
    """tickets.png of a study on record, and those of other scopes."""
    for path in folder.glob("tickets*.json"):
        told, trials = json.loads(path.read_text()), read(folder, f"{path.stem}.csv")
        scope = f", --scope {s}" if (s := told["options"].get("scope")) else ""
        caption = f"{told['setting']}; {seeds(beyond_draw.levels(trials))}; settings tuned for each"
        title = f"{told['task']}: lottery tickets{scope}"
        picture = beyond_draw.against_costs(trials, title, told["chance"], caption)
        plot.save(picture, path.with_suffix(".png"))


def main() -> None:
    """Run the command."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("name", metavar="NAME")
    p.add_argument("study", type=Path, metavar="STUDY")
    p.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    options = p.parse_args()
    folder = OUT / options.name
    files.prepare_directory(folder)
    copy(options.study.resolve(), folder)
    if options.runs:
        tickets([Run(path) for path in options.runs], folder)


if __name__ == "__main__":
    main()
