"""The command: python experiments/lth.py, also installed as quatgrad-lth."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from quatgrad import __version__, data, models
from quatgrad.backend import LADDERS, PRECISIONS
from quatgrad.errors import OptionError, QuatgradError
from quatgrad.lth import collect, compare, experiment, plan, protocol, prune, runs, verify
from quatgrad.lth.controls import CONTROLS
from quatgrad.lth.options import ENCODERS, NETWORKS, PRESETS, Options, resolve
from quatgrad.lth.signals import Interrupted, at_once, handled
from quatgrad.nn.init import INITIALISERS
from quatgrad.optim import SCHEDULES

DESCRIPTION = """\
Find lottery tickets: train a network, remove its smallest weights, put the survivors back to
their first values, train again, and repeat; for a real network and for its quaternion twin,
which has a quarter of the weights. Prints accuracy against weights left, and draws it.

  python experiments/lth.py                            the digits, about a minute
  python experiments/lth.py --preset smoke             seconds: does it work here?
  python experiments/lth.py --dataset cifar100 --data-dir DIR --subset 10000
                                                       real images (DIR has cifar-100-python/)

The same command again answers from its record, or goes on where it was interrupted. Networks that
several runs need are trained once. Other things to do, each with --json for programs:

  run [options]               the above: the word may be left away
  plan [options]              the stages of a run, which are on record, hours and bytes to expect
  branch RUN --control NAME   train a control beside a run
  list                        the runs there are          show RUN   one of them in full
  compare RUN ...             their networks in a table   plot RUN   draw its picture again
  verify RUN ...              prove from the files alone that a run is what it says
  gc                          what no run needs any more; --delete removes it"""

EPILOG = "Presets are defaults for the other options; they lie in quatgrad/lth/presets/."


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line: the usage of so many options hides them."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def parser() -> argparse.ArgumentParser:
    """Every option; those not given stay away, so that presets can fill them."""
    p = Parser(
        prog="quatgrad-lth",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    p.add_argument("--version", action="version", version=f"quatgrad {__version__}")
    p.add_argument(
        "--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; by default the dataset's"
    )

    g = p.add_argument_group("what is trained")
    g.add_argument("--dataset", metavar="NAME", help=", ".join(data.DATASETS))
    g.add_argument("--data-dir", metavar="DIR", help="where the dataset lies (else $QUATGRAD_DATA)")
    g.add_argument("--subset", type=int, metavar="N", help="train on N images, evenly over classes")
    g.add_argument("--encoder", choices=ENCODERS, metavar="NAME",
                   help=f"pixels to quaternions: {', '.join(ENCODERS)}")  # fmt: skip
    g.add_argument("--real-encoder", choices=data.ENCODERS, metavar="NAME",
                   help="the same for real networks, where it differs")  # fmt: skip
    g.add_argument("--statistics", metavar="NAME", help="means and deviations of the colours, if "
                   "not the dataset's: cifar10, cifar100, imagenet, paper, none")  # fmt: skip
    g.add_argument("--model", metavar="NAME", help=", ".join(models.MODELS))
    g.add_argument("--width", type=int, metavar="N", help="channels of the first stage")
    g.add_argument(
        "--algebra",
        choices=NETWORKS,
        help="both: real and quaternion (default); half: real of half the width; all",
    )
    g.add_argument(
        "--init",
        choices=sorted(INITIALISERS["quaternion"]),
        help="first weights; xavier: the paper's (default: he)",
    )
    g.add_argument("--real-head", action="store_true",
                   help="the last layer is real even where 4 divides the classes")  # fmt: skip

    g = p.add_argument_group("how a level is trained")
    g.add_argument("--epochs", type=int, metavar="N", help="times through the training images")
    g.add_argument("--batch-size", type=int, metavar="N", help="images in a step")
    g.add_argument("--lr", type=float, metavar="X", help="highest learning rate")
    g.add_argument("--schedule", choices=sorted(SCHEDULES), help="how the learning rate falls")
    g.add_argument("--warmup", type=float, metavar="X", help="epochs in which it first rises")
    g.add_argument("--optimizer", choices=("sgd", "adam"), help="sgd: Nesterov momentum")
    g.add_argument("--momentum", type=float, metavar="X", help="of sgd")
    g.add_argument("--weight-decay", type=float, metavar="X", help="on all parameters")
    g.add_argument("--seed", type=int, metavar="N", help="of weights, order and augmentation")
    g.add_argument("--trials", type=int, metavar="N", help="repeat with seed, seed + 1, ...")

    g = p.add_argument_group("how it is pruned")
    g.add_argument(
        "--levels", type=int, metavar="N", help="how often to prune, after the dense run"
    )
    g.add_argument("--keep", type=float, metavar="X", help="share of weights that survives a level")
    g.add_argument("--stop-below", type=float, metavar="X",
                   help="end 2 levels after accuracy fell below X (default: 0.2)")  # fmt: skip
    g.add_argument("--score", choices=prune.SCORES, help="what decides: magnitude (default), that "
                   "of the initial weights, its increase, the movement, or chance")  # fmt: skip
    g.add_argument("--granularity", choices=prune.GRANULARITIES, help="components of quaternions "
                   "are ranked apart (default), together, or go as one")  # fmt: skip
    g.add_argument("--scope", choices=prune.SCOPES, help="weights are ranked by layer (default) "
                   "or all together")  # fmt: skip
    g.add_argument("--rewind", choices=protocol.REWINDS, help="to the whole start (default), its "
                   "weights alone as the paper ran, or none: fine-tuning")  # fmt: skip
    g.add_argument("--late", type=int, metavar="N",
                   help="rewind to the dense network after N epochs, not to its start")  # fmt: skip
    g.add_argument("--masks", choices=protocol.MASKS, help="from the retrained networks (default), "
                   "or from a first pass of fine-tuning")  # fmt: skip
    g.add_argument("--memory", choices=protocol.MEMORIES, help="the optimizer's, at each level: "
                   "new (default) or kept")  # fmt: skip
    g.add_argument("--control", choices=CONTROLS, action="append", help="also train its masks over "
                   "other weights, shuffled, or over signs alone; may be repeated")  # fmt: skip

    g = p.add_argument_group("where")
    g.add_argument("--backend", choices=tuple(LADDERS), help="default: numba")
    g.add_argument("--precision", choices=PRECISIONS, help="of products on a GPU with cuDNN "
                   "(default: float32)")  # fmt: skip
    g.add_argument("--out", metavar="DIR", help="where runs are kept (default: runs)")
    g.add_argument("--plot", metavar="FILE", help="write the picture here too (.png or .svg)")
    g.add_argument("--quiet", action="store_true", help="no progress bars")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code.

    0; 1 if `verify` found something wrong; 2 after one line that says what is wrong; 130 or 143 if
    interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    try:
        with handled(at_once):
            return COMMANDS[name](arguments)
    except QuatgradError as error:
        print(f"quatgrad-lth: error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"quatgrad-lth: error: out of memory ({error}); choose a smaller --batch-size, "
              "--width or --model", file=sys.stderr)  # fmt: skip
        return 2
    except BrokenPipeError:  # | head: nobody reads on, and flushing at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        return interrupted(error)


def interrupted(error: KeyboardInterrupt) -> int:
    """Say what was saved; the exit code, 128 + the signal's number."""
    saved = error.saved if isinstance(error, Interrupted) else ""
    text = f"saved {saved}; the same command goes on from there" if saved else (
        "the same command goes on from the last checkpoint"
    )  # fmt: skip
    print(f"interrupted; {text}", file=sys.stderr)
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


# ------------------------------------------------------------------------------- the commands


def run(arguments: list[str]) -> int:
    """run [options]: train, prune, compare."""
    given, as_json = _given(parser(), arguments)
    return _run(resolve(given), as_json)


def branch(arguments: list[str]) -> int:
    """branch RUN --control NAME [options]: the run as it was first, with the control."""
    p = parser()
    p.add_argument("run", metavar="RUN", help="directory of a run, or its name in --out")
    given, as_json = _given(p, arguments)
    if "control" not in given:
        raise OptionError(f"branch trains a control beside a run: --control {'|'.join(CONTROLS)}")
    directory = runs.find(given.pop("run"), given.pop("out", "runs"))
    first = experiment.options_of(directory)
    here: dict[str, Any] = {"out": str(directory.parent), "quiet": False, "plot": None}
    options = replace(first, **(here | given))
    if options.config("") != first.config(""):
        raise OptionError(f"these options are not those of {directory.name}: give them to run")
    return _run(options, as_json)


def _run(options: Options, as_json: bool) -> int:
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        directory, trials = experiment.run(options)
    if as_json:
        print(json.dumps({"run": str(directory), "trials": trials}, indent=1))
    return 0


def planned(arguments: list[str]) -> int:
    """plan [options]: what run would do."""
    given, as_json = _given(parser(), arguments)
    told = plan.plan(resolve(given))
    return _tell(told, plan.text(told), as_json)


def listed(arguments: list[str]) -> int:
    """list: every run in --out."""
    given, as_json = _given(_small("list", ""), arguments)
    found = [runs.summary(path) for path in runs.directories(Path(given["out"]))]
    return _tell(found, runs.list_text(found), as_json)


def show(arguments: list[str]) -> int:
    """show RUN: options, table, stages."""
    given, as_json = _given(_small("show", "one"), arguments)
    directory = runs.find(given["run"], given["out"])
    told = runs.show(directory)
    return _tell(told, runs.show_text(directory, told), as_json)


def compared(arguments: list[str]) -> int:
    """compare RUN ...: their networks side by side."""
    given, as_json = _given(_small("compare", "many"), arguments)
    paths = [runs.find(run, given["out"]) for run in given["runs"]]
    found = runs.side_by_side(paths)
    return _tell(compare.rows(found), runs.side_by_side_text(paths, found), as_json)


def plotted(arguments: list[str]) -> int:
    """plot RUN [--plot FILE]: draw the picture from the record."""
    p = _small("plot", "one")
    p.add_argument("--plot", metavar="FILE", help="draw it there (.png or .svg), not in the run")
    given, as_json = _given(p, arguments)
    directory = runs.find(given["run"], given["out"])
    files = [Path(given["plot"])] if "plot" in given else [
        directory / "accuracy.png", directory / "accuracy.svg"
    ]  # fmt: skip
    runs.draw(directory, files)
    told = [str(path) for path in files]
    return _tell(told, "\n".join(told), as_json)


def verified(arguments: list[str]) -> int:
    """verify RUN ...: 1 if anything is wrong."""
    given, as_json = _given(_small("verify", "many"), arguments)
    found = [verify.verify(runs.find(run, given["out"])) for run in given["runs"]]
    _tell(found, "\n".join(map(verify.text, found)), as_json)
    return int(any(told["wrong"] for told in found))


def gc(arguments: list[str]) -> int:
    """gc [--delete]: say what no run needs, or remove it."""
    p = _small("gc", "")
    how = p.add_mutually_exclusive_group()
    how.add_argument("--delete", action="store_true", help="remove it")
    how.add_argument("--dry-run", action="store_true", help="only say so (default)")
    given, as_json = _given(p, arguments)
    found = {path: collect.size(path) for path in collect.garbage(Path(given["out"]))}
    kept = [p for p in found if not collect.remove(p)] if "delete" in given else list(found)
    told = {"garbage": {str(p): n for p, n in found.items()}, "left": [str(p) for p in kept]}
    lines = [f"  {path}  {plan.amount(n)}" for path, n in found.items()]
    total = f"{len(found)} that no run needs, {plan.amount(sum(found.values()))}"
    end = f"{len(found) - len(kept)} removed" + (f", {len(kept)} in use" if kept else "")
    end = end if "delete" in given else "nothing was removed; gc --delete removes them"
    return _tell(told, "\n".join([*lines, f"{total}; {end}"]), as_json)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run, "plan": planned, "branch": branch, "list": listed, "show": show,
    "compare": compared, "plot": plotted, "verify": verified, "gc": gc,
}  # fmt: skip


def _small(name: str, how_many: str) -> Parser:
    """A parser for a command that reads runs: none, one or many of them."""
    p = Parser(prog=f"quatgrad-lth {name}", argument_default=argparse.SUPPRESS,
               description=COMMANDS[name].__doc__)  # fmt: skip
    if how_many == "one":
        p.add_argument("run", metavar="RUN", help="directory of a run, or its name in --out")
    elif how_many == "many":
        p.add_argument("runs", metavar="RUN", nargs="+", help="as for show")
    p.add_argument("--out", metavar="DIR", default="runs", help="where runs are kept (default: "
                   "runs)")  # fmt: skip
    return p


def _given(p: argparse.ArgumentParser, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    """The options that were given, and whether the answer is to be JSON."""
    p.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    given = vars(p.parse_args(arguments))
    return given, given.pop("json", False)


def _tell(value: Any, text: str, as_json: bool) -> int:
    print(json.dumps(value, indent=1) if as_json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
