"""tune FILE, tune show STUDY, tune final STUDY, tune ablation STUDY."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from quatgrad.errors import OptionError
from quatgrad.lth.command.arguments import Parser, parser
from quatgrad.lth.tune import final, show, tune

HELP = """\
Search for settings, with the same budget for each network. A small file says what is varied:

  [tune]
  trials = 16                   # of each network
  sampler = "random"            # or tpe, grid

  [options]                     # of run: fixed
  preset = "digits"
  levels = 0
  validation = 0.2

  [space]                       # of run: varied
  lr = { low = 0.01, high = 1.0, log = true }
  init = ["he", "xavier"]
  warmup = { low = 0, high = 3 }              # whole numbers; 0.0 and 3.0: any

  tune FILE [options]           do the trials; the same command again goes on where it stopped
  tune show STUDY               best settings, what matters, what k trials are worth; pictures
  tune final STUDY [options]    train the best with other seeds, and test them
  tune ablation STUDY [options] the same with one setting at a time put back to that of [options]

Validation data choose; no choice sees test data. The best settings are in the study's folder
as a preset, tuned-DATASET.toml, for --preset."""

#: What `main` answers: a value for programs, the same for people, and which of them is wanted.
Answer = tuple[Any, str, bool]


def command(arguments: list[str]) -> Answer:
    """Do what the arguments say."""
    verbs = {"show": _show, "final": _final, "ablation": _ablation}
    if arguments and arguments[0] in verbs:
        return verbs[arguments[0]](arguments[1:])
    return _tune(arguments)


def _tune(arguments: list[str]) -> Answer:
    p = _parser("", "FILE", "All other options are those of run, and win over those of [options].")
    p.add_argument(
        "--algebra",
        metavar="A,B,...",
        default="real,quaternion",
        help="networks, as of run (default: real,quaternion)",
    )
    p.add_argument("--trials", type=int, metavar="N", help="settings to try, of each network")
    p.add_argument(
        "--storage", choices=("journal", "sqlite"), help="where trials are kept (default: journal)"
    )
    p.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=1,
        help="trials at a time, in processes of this machine (default: 1)",
    )
    p.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, for the workers")
    given, options = _parse(p, arguments)
    how = {"trials": given.trials, "storage": given.storage}
    study = tune.start(Path(given.what), options, given.algebra, **how)
    tune.run(study, given.workers, given.scheduler, _teller(given))
    told = show.write(study)
    return told, show.text(told), given.json


def _show(arguments: list[str]) -> Answer:
    given, options = _parse(_parser("show", "STUDY", ""), arguments)
    if others := options.keys() - {"out"}:
        raise OptionError(f"show trains nothing: leave out `{min(others)}`")
    told = show.write(tune.load(given.what, options.get("out", "runs")))
    return told, show.text(told), given.json


def _final(arguments: list[str]) -> Answer:
    return _with_seeds("final", final.final, final.text, arguments)


def _ablation(arguments: list[str]) -> Answer:
    return _with_seeds("ablation", final.ablation, final.ablation_text, arguments)


def _with_seeds(
    verb: str, train: Callable[..., Any], text: Callable[[Any], str], arguments: list[str]
) -> Answer:
    p = _parser(verb, "STUDY", "All other options are those of run, as --levels.")
    p.add_argument("--seeds", type=int, metavar="N", default=5, help="networks (default: 5)")
    given, options = _parse(p, arguments)
    study = tune.load(given.what, options.get("out", "runs"))
    told = train(study, given.seeds, options, _teller(given))
    return told, text(told), given.json


def _parser(verb: str, what: str, epilog: str) -> Parser:
    named = {"FILE": "what is varied, as above", "STUDY": "the folder of a study, or its name"}
    p = Parser(
        prog=f"quatgrad-lth tune {verb}".rstrip(),
        allow_abbrev=False,
        description=HELP,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("what", metavar=what, help=named[what])
    p.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    return p


def _parse(p: Parser, arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """What the parser knows, and the options of run that were given."""
    given, rest = p.parse_known_args(arguments)
    return given, vars(parser().parse_args(rest))


def _teller(given: argparse.Namespace) -> Any:
    return partial(print, file=sys.stderr if given.json else sys.stdout, flush=True)
