"""The command: python experiments/reproduce.py, any figure or table of both papers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from quatgrad.data import synthetic
from quatgrad.errors import OptionError
from quatgrad.lth.command.arguments import Parser
from quatgrad.lth.command.arguments import parser as options_parser
from quatgrad.lth.command.run_command import run_command
from quatgrad.lth.experiment import experiment as lottery
from quatgrad.lth.experiment.options import Options, networks_of
from quatgrad.lth.results import plot
from quatgrad.lth.store import files
from quatgrad.option_fields import replaced
from quatgrad.paper import experiments, figures, models_table, verify
from quatgrad.paper.curves import Curve
from quatgrad.paper.ours import MADE, read_run
from quatgrad.paper.published import published

DESCRIPTION = """\
Reproduce "Large Neural Networks at a Fraction" and its predecessor: any figure or table by name.

  python experiments/reproduce.py list                              what there is, and its cost
  python experiments/reproduce.py run cifar100-resnet18 --scale tiny
  python experiments/reproduce.py run mnist-lenet-12 --scale full --data-dir DIR
  python experiments/reproduce.py verify RUN ...                    your curves and the papers'
  python experiments/reproduce.py verify                            the papers' own, judged
  python experiments/reproduce.py table                             parameters of all networks

run takes every option of experiments/lth.py as well (--help there), which replaces the one
published; the same command again goes on where it was interrupted."""


def parser() -> argparse.ArgumentParser:
    """The sub-commands."""
    p = Parser(
        prog="quatgrad-reproduce",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="every figure and table, and what it takes")
    run = commands.add_parser("run", help="train, prune, compare", allow_abbrev=False)
    run.add_argument("name", metavar="NAME", help="as in the list")
    run.add_argument("--scale", choices=experiments.SCALES, default="tiny", help="default: tiny")
    check = commands.add_parser("verify", help="claim by claim, from runs or as published")
    check.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="directory of a run")
    check.add_argument("--json", action="store_true", help="all numbers as JSON")
    commands.add_parser("table", help="the parameter table; takes quatgrad-models' options")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code of `run_command`."""
    return run_command("quatgrad-reproduce", command, argv)


def command(arguments: list[str]) -> int:
    """Run the sub-command that the arguments name."""
    given, rest = parser().parse_known_args(arguments)
    if given.command == "table":
        return models_table.main(rest)
    if given.command == "run":
        run(given.name, given.scale, vars(options_parser().parse_args(rest)))
    elif rest:
        raise OptionError(f"{given.command} does not know {rest[0]}; --help lists the options")
    elif given.command == "list":
        print("\n".join(experiments.listing()))
    else:
        found = verify.report([c for path in given.runs for c in read_run(path)])
        print(json.dumps(found, indent=1) if given.json else verify.text(found), end="")
    return 0


def run(name: str, scale: str, given: dict[str, Any]) -> Path:
    """Run an experiment; write pictures and verdicts beside its runs. Returns the directory."""
    fixed = {"dataset", "model"} & given.keys()
    if fixed:
        raise OptionError(f"`{fixed.pop()}` is part of the name {name}: choose another from list")
    if "real" not in networks_of(given.get("algebra", "both")):
        raise OptionError(
            "everything is measured by the real network: `algebra` is both, all or real,..."
        )
    panels = experiments.experiment(name).panels
    out = Path(given.get("out", "runs")) / f"{name}-{scale}"
    files.prepare_directory(out)
    curves = []
    for dataset, model in panels:
        options = replaced(experiments.options(dataset, model, scale, given), out=str(out))
        is_synthetic = scale == "tiny" and options.data.data_dir is None
        if is_synthetic:
            options = replaced(options, data_dir=str(synthetic_data(dataset, out)))
        curves += run_panel(options, is_synthetic)
    conclude(out, curves)
    return out


def run_panel(options: Options, is_synthetic: bool) -> list[Curve]:
    """One network, real and quaternion: its curves."""
    dataset = lottery.load(options, options.model.networks[0])
    directory = lottery.open_directory(options, dataset)
    if is_synthetic:
        files.write_file(directory / MADE, b"The images of this run were made.\n")
    lottery.run(options, partial(print, flush=True))
    return read_run(directory)


def synthetic_data(dataset: str, out: Path) -> Path:
    """A folder with synthetic images in the official format; written once."""
    folder = out / f"made-{dataset}"
    if not folder.exists():
        unfinished = out / f"made-{dataset}.{os.getpid()}"
        train, test = experiments.TINY_IMAGES[dataset]
        synthetic.make(dataset, unfinished, train, test, experiments.TINY_CLASSES).rename(folder)
    return folder


def conclude(out: Path, curves: list[Curve]) -> None:
    """Write pictures with the published points, their numbers, and the report as text and JSON."""
    known, keys = published(), dict.fromkeys(c.key for c in curves)
    both = [known[key] for key in keys if key in known] + curves
    pictures = {"accuracy": figures.figure(both), "parameters": figures.figure(both, "parameters")}
    for dataset, model in dict.fromkeys(c.key[:2] for c in curves):
        same = [c for c in both if c.key[:2] == (dataset, model)]
        pictures[f"beyond-{dataset}-{model}"] = figures.beyond(same)
    for name, figure in pictures.items():
        plot.save(figure, out / f"{name}.png")
        plot.save(figure, out / f"{name}.svg")
    names = ("dataset", "model", "algebra")
    rows = [dict(zip(names, c.key, strict=True)) | asdict(p) for c in curves for p in c.points]
    files.write_csv(out / "curves.csv", rows)
    found = verify.report(curves)
    files.write_json(out / "verify.json", found)
    files.write_file(out / "verify.txt", verify.text(found).encode())
    print("\n" + verify.text(found))
    print(f"Pictures: {', '.join(str(out / name) + '.png' for name in pictures)} (also .svg)")
    print(f"Numbers: {out / 'curves.csv'}")
    print(f"Verdicts: {out / 'verify.txt'} (also .json)")


if __name__ == "__main__":
    sys.exit(main())
