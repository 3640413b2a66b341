"""The command: python experiments/lth.py, also installed as quatgrad-lth."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quatgrad.backend import BACKENDS
from quatgrad.errors import OptionError, unknown
from quatgrad.lth.analysis.text import text as analysis_text
from quatgrad.lth.command import analysing, deploying, exporting, prediction, reporting, tuning
from quatgrad.lth.command.arguments import Parser, current, parser, with_flags
from quatgrad.lth.command.run_command import run_command
from quatgrad.lth.experiment import experiment, garbage, plan, runs, sweep, verify
from quatgrad.lth.experiment.options import Options, resolve, spelled_out
from quatgrad.lth.results import compare, plot
from quatgrad.lth.ticket.controls import CONTROLS
from quatgrad.option_fields import replaced

# ------------------------------------------------------------------------------- the commands


def cmd_run(arguments: list[str]) -> int:
    """run [options]: train, prune, compare."""
    given, as_json = _given(parser(), arguments)
    return _run(resolve(given), as_json)


def cmd_branch(arguments: list[str]) -> int:
    """branch RUN --control NAME [options]: the run as it was first, with the control."""
    p = parser()
    p.add_argument("run", metavar="RUN", help="directory of a run, or its name in --out")
    given, as_json = _given(p, arguments)
    if "control" not in given:
        raise OptionError(f"branch trains a control beside a run: --control {'|'.join(CONTROLS)}")
    run = runs.find(given.pop("run"), given.pop("out", "runs"))
    directory, first = run.path, experiment.options_of(run)
    here: dict[str, Any] = {"out": str(directory.parent), "quiet": False, "plot": None}
    options = replaced(first, **(here | spelled_out(given)))
    if options.config("") != first.config(""):
        raise OptionError(f"these options are not those of {directory.name}: give them to run")
    return _run(options, as_json)


def _run(options: Options, as_json: bool) -> int:
    stream = sys.stderr if as_json else sys.stdout
    directory, trials = experiment.run(options, partial(print, file=stream, flush=True))
    if as_json:
        print(json.dumps({"run": str(directory), "trials": runs.plain(trials)}, indent=1))
    return 0


def cmd_plan(arguments: list[str]) -> int:
    """plan [options]: what run would do."""
    given, as_json = _given(parser(), arguments)
    told = plan.plan(resolve(given))
    return _tell(told, plan.text(told), as_json)


def cmd_list(arguments: list[str]) -> int:
    """list: every run in --out."""
    given, as_json = _given(_small("list", ""), arguments)
    found = [runs.listed(run) for run in runs.runs_in(_readable(given["out"]))]
    return _tell(found, runs.list_text(found), as_json)


def cmd_show(arguments: list[str]) -> int:
    """show RUN: options, table, stages."""
    given, as_json = _given(_small("show", "one"), arguments)
    run = runs.find(given["run"], given["out"])
    return _tell(runs.show(run), runs.show_text(run), as_json)


def cmd_compare(arguments: list[str]) -> int:
    """compare RUN ...: their networks side by side."""
    given, as_json = _given(_small("compare", "many"), arguments)
    compared = [runs.find(run, given["out"]) for run in given["runs"]]
    found = runs.side_by_side(compared)
    return _tell(compare.rows(found), runs.side_by_side_text(compared, found), as_json)


def cmd_plot(arguments: list[str]) -> int:
    """plot RUN [--plot FILE]: draw the picture from the record."""
    p = _small("plot", "one")
    p.add_argument("--plot", metavar="FILE", help="draw it there (.png or .svg), not in the run")
    given, as_json = _given(p, arguments)
    run = runs.find(given["run"], given["out"])
    files = [run.path / f"accuracy.{kind}" for kind in ("png", "svg")]
    files = [Path(given["plot"])] if "plot" in given else files
    runs.draw(run, files)
    told = [str(path) for path in files]
    return _tell(told, "\n".join(told), as_json)


def cmd_report(arguments: list[str]) -> int:
    """report RUN [--to FILE]: all of it as one HTML file."""
    p = _small("report", "one")
    p.add_argument("--to", metavar="FILE", help="write it there, not as report.html in the run")
    p.add_argument("--model", metavar="FILE.py:NAME", help="what makes it, where it is your own")
    given, as_json = _given(p, arguments)
    run = runs.find(given["run"], given["out"])
    path = reporting.write(run, Path(given.get("to", run.path / "report.html")), given.get("model"))
    return _tell(str(path), str(path), as_json)


def cmd_analyse(arguments: list[str]) -> int:
    """analyse RUN: its tickets in numbers and pictures, in the run's folder analysis/."""
    p = _small("analyse", "one")
    p.add_argument("--tolerance", type=float, metavar="X", default=0.01, help="a level matches the "
                   "dense network down to X below its accuracy (default: 0.01)")  # fmt: skip
    p.add_argument("--connectivity", type=int, metavar="LEVEL", action="append", default=[],
                   help="also the error on the line between two networks, trained from the ticket "
                   "of this level in two orders of the data. It trains: for each network and "
                   "level twice what the level took. May be repeated")  # fmt: skip
    p.add_argument("--data-dir", metavar="DIR", help="where the data lie now")
    p.add_argument("--backend", choices=tuple(BACKENDS), help="what computes, if not as in the run")
    given, as_json = _given(p, arguments)
    run = runs.find(given.pop("run"), given.pop("out"))
    found = analysing.report(run, **given)
    return _tell(found, analysis_text(run.path, found), as_json)


def cmd_predict(arguments: list[str]) -> int:
    """predict RUN IMAGE ...: the classes of pictures; predict RUN --text T: what comes after T."""
    p = _small("predict", "")
    prediction.add_network(p)
    prediction.add_input(p)
    given, as_json = _given(p, arguments)
    net = prediction.network_of(given)
    if prediction.is_of_text(net, given):
        text = prediction.write(net, given)
        answer = {"network": dict(net.said), "text": text}
        return _tell(answer, f"{prediction.title(net, given)}\n\n{text}", as_json)
    found = prediction.predict(net, given["images"])
    told = {"network": dict(net.said), "images": found}
    text = f"{prediction.title(net, given)}\n{prediction.predict_text(found)}"
    return _tell(told, text, as_json)


def cmd_evaluate(arguments: list[str]) -> int:
    """evaluate RUN --dataset NAME: accuracy and confusion matrix on its test images."""
    p = _small("evaluate", "")
    prediction.add_network(p)
    p.add_argument("--dataset", required=True, help="whose test data; of a path without any, all")
    p.add_argument("--data-dir", metavar="DIR", help="where they are (else $QUATGRAD_DATA)")
    p.add_argument("--plot", metavar="FILE", help="draw the confusion matrix (.png or .svg)")
    given, as_json = _given(p, arguments)
    if "plot" in given:
        plot.check_path(Path(given["plot"]))
    net = prediction.network_of(given)
    found = prediction.evaluate(net, given["dataset"], given.get("data_dir"))
    text = prediction.title(net, given)
    if "plot" in given:
        prediction.draw(found, net, given["plot"])
    return _tell({"network": dict(net.said)} | found.plain(), f"{text}\n{found.text()}", as_json)


def cmd_save(arguments: list[str]) -> int:
    """save RUN FILE: a network in a file of its own."""
    p = _small("save", "")
    prediction.add_network(p)
    p.add_argument("file", metavar="FILE", help=f"a new {prediction.SUFFIX} file")
    given, as_json = _given(p, arguments)
    net = prediction.network_of(given)
    path = prediction.save(net, given["file"])
    told = {"file": str(path), "network": dict(net.said)}
    return _tell(told, f"{path}: {prediction.title(net, given)}", as_json)


def cmd_deploy(arguments: list[str]) -> int:
    """deploy RUN ...: levels by accuracy, kB and ms; with --kb, --ms what is best."""
    p = _small("deploy", "many")
    deploying.add_arguments(p)
    given, as_json = _given(p, arguments)
    return _tell(*deploying.deploy(given), as_json)


def cmd_export(arguments: list[str]) -> int:
    """export RUN --to ticket|c|onnx: a network for a device, and what its weights cost."""
    p = _small("export", "")
    prediction.add_network(p)
    exporting.add_arguments(p)
    given, as_json = _given(p, arguments)
    return _tell(*exporting.export(prediction.network_of(given), given), as_json)


def cmd_verify(arguments: list[str]) -> int:
    """verify RUN ...: 1 if anything is wrong."""
    given, as_json = _given(_small("verify", "many"), arguments)
    found = [verify.verify(runs.find(run, given["out"])) for run in given["runs"]]
    _tell(found, "\n".join(map(verify.text, found)), as_json)
    return int(any(told["wrong"] for told in found))


def cmd_gc(arguments: list[str]) -> int:
    """gc [--delete]: say what no run needs, or remove it."""
    p = _small("gc", "")
    how = p.add_mutually_exclusive_group()
    how.add_argument("--delete", action="store_true", help="remove it")
    how.add_argument("--dry-run", action="store_true", help="only say so (default)")
    given, as_json = _given(p, arguments)
    found = {path: garbage.size(path) for path in garbage.garbage(_readable(given["out"]))}
    kept = [p for p in found if not garbage.remove(p)] if "delete" in given else list(found)
    told = {"garbage": {str(p): n for p, n in found.items()}, "left": [str(p) for p in kept]}
    lines = [f"  {path}  {plan.amount(n)}" for path, n in found.items()]
    total = f"{len(found)} that no run needs, {plan.amount(sum(found.values()))}"
    end = f"{len(found) - len(kept)} removed" + (f", {len(kept)} in use" if kept else "")
    end = end if "delete" in given else "nothing was removed; gc --delete removes them"
    return _tell(told, "\n".join([*lines, f"{total}; {end}"]), as_json)


def cmd_sweep(arguments: list[str]) -> int:
    """sweep --vary NAME=A,B,... [options]: a run for each combination, several at a time."""
    p = Parser(
        prog="quatgrad-lth sweep",
        allow_abbrev=False,
        description=COMMANDS["sweep"][1],
        epilog="All other options are those of run.",
    )
    sweep.add_arguments(p)
    p.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    given, rest = p.parse_known_args(arguments)
    chosen = sweep.combinations([current(f"--{v}")[2:] for v in given.vary])
    options = [resolve(vars(parser().parse_args([*rest, *c, "--quiet"]))) for c in chosen]
    found: list[dict[str, Any]] = [{} for _ in chosen]
    for i, result in sweep.sweep(options, given):
        found[i] = {"options": " ".join(chosen[i])} | result
        if not given.json:
            told = result.get("run") or with_flags(result["error"])
            print(f"  {found[i]['options']}: {told}", flush=True)
    wrong = sum("error" in f for f in found)
    _tell(found, f"{len(found) - wrong} of {len(found)} runs are finished", given.json)
    return int(wrong > 0)


def cmd_tune(arguments: list[str]) -> int:
    """tune FILE | show STUDY | final STUDY: search for settings, with equal budgets."""
    return _tell(*tuning.command(arguments))


#: Verb -> what does it, and what its help says.
COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "run": (cmd_run, "train, prune, compare"),
    "plan": (cmd_plan, "a dry run: what run would do"),
    "branch": (cmd_branch, "train a control beside a run"),
    "list": (cmd_list, "every run in --out"),
    "show": (cmd_show, "options, table and stages of a run"),
    "compare": (cmd_compare, "the networks of runs side by side"),
    "plot": (cmd_plot, "draw the picture of a run from its record"),
    "report": (cmd_report, "one HTML file with all of a run: curves, tables, options"),
    "analyse": (cmd_analyse, "tickets of a run in numbers and pictures, in its folder analysis/"),
    "predict": (
        cmd_predict,
        "the classes of pictures, or how a text goes on, by a network of a run",
    ),
    "evaluate": (cmd_evaluate, "a network of a run on the test data of a dataset"),
    "save": (cmd_save, "a network of a run as one .safetensors file, for quatgrad.load"),
    "deploy": (cmd_deploy, "levels of runs by accuracy, kB and ms: what to take to a device"),
    "export": (cmd_export, "a network of a run for a device: a .ticket, C99 or ONNX"),
    "verify": (cmd_verify, "prove runs from their files; the exit code is 1 if anything is wrong"),
    "gc": (cmd_gc, "list what no run needs, or remove it"),
    "sweep": (cmd_sweep, "a run for each combination of options, several at a time"),
    "tune": (cmd_tune, "search for settings, with the same budget for each network"),
}

#: Verbs that take a single run: a pattern of the shell may match several.
OF_ONE_RUN = {
    "show",
    "plot",
    "report",
    "analyse",
    "predict",
    "evaluate",
    "save",
    "export",
    "branch",
}


def _small(name: str, how_many: str) -> Parser:
    """A parser for a command that reads runs: none, one or many of them."""
    p = Parser(
        prog=f"quatgrad-lth {name}",
        argument_default=argparse.SUPPRESS,
        description=COMMANDS[name][1],
    )
    if how_many == "one":
        p.add_argument("run", metavar="RUN", help="directory of a run, or its name in --out")
    elif how_many == "many":
        p.add_argument("runs", metavar="RUN", nargs="+", help="as for show")
    p.add_argument(
        "--out", metavar="DIR", default="runs", help="where runs are kept (default: runs)"
    )
    return p


def _given(p: argparse.ArgumentParser, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    """The options that were given, and whether the answer is to be JSON."""
    p.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    given = vars(p.parse_intermixed_args(arguments))  # pictures after options, too
    return given, given.pop("json", False)


def _readable(out: str) -> Path:
    """The folder `out`; `OSError` if it is there and cannot be read, which `glob` passes over."""
    path = Path(out)
    if path.exists():
        os.listdir(path)
    return path


def _tell(value: Any, text: str, as_json: bool) -> int:
    print(json.dumps(value, indent=1) if as_json else text)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: that of `run_command`, or 1 if `verify` finds a fault."""
    return run_command("quatgrad-lth", command, argv)


def command(arguments: list[str]) -> int:
    """Run the verb that the arguments begin with, or `run`."""
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    if name not in COMMANDS:
        raise OptionError(unknown("command", name, COMMANDS))
    named = arguments if name in OF_ONE_RUN else []
    found = [a for a in named if os.path.isfile(os.path.join(a, "config.json"))]
    if len(found) > 1:
        raise OptionError(
            f"{name} takes one run, and here are {len(found)}: {', '.join(found[:4])}; "
            "a * stands for all names that match"
        )
    return COMMANDS[name][0](arguments)
