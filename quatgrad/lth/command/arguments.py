"""The options of a run as they are typed."""

import argparse
import re
import sys
from dataclasses import MISSING, Field, fields
from inspect import formatannotation
from typing import Any, NoReturn, get_type_hints

from quatgrad import __version__
from quatgrad.errors import meant, one_line
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.search.protocol import METHODS, Protocol
from quatgrad.option_fields import key, leaves
from quatgrad.parallel.mpi import let_the_first_speak
from quatgrad.train import Recipe

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

  run [options]               the above; the word run is optional
  plan [options]              the stages of a run, which are on record, hours and bytes to expect
  branch RUN --control NAME   train a control beside a run
  list                        the runs there are          show RUN   one of them in full
  compare RUN ...             their networks in a table   plot RUN   draw its picture again
  analyse RUN                 what its tickets look like, share and compute; pictures of it
  report RUN                  one HTML file with all of it (extra report)
  predict RUN IMAGE ...       the classes of pictures     evaluate RUN --dataset NAME
  save RUN FILE               one of its networks in a file, for quatgrad.load
  deploy RUN ...              its levels by accuracy, kB and ms; --kb 100 --ms 1: the best of them
  export RUN --to ticket|c|onnx   one of them for a device; then quatgrad-predict FILE.ticket IMAGE
  verify RUN ...              prove from the files alone that a run is what it says
  gc                          what no run needs any more; --delete removes it
  sweep --vary NAME=A,B,...   a run for each combination of options, on Dask or Slurm
  tune FILE                   search for settings, with the same budget for each network"""

#: Flags of earlier versions -> what they are called now. They go with the next version.
RENAMED = {
    "--late": "--rewind-epoch",
    "--memory": "--optimizer-state",
    "--stop-below": "--stop-accuracy",
}

EPILOG = "Presets are defaults for the other options: see quatgrad/lth/experiment/presets/."


def flag(f: Field[Any]) -> str:
    """How an option is typed: --batch-size for batch_size."""
    typed = "--" + key(f).replace("_", "-")
    return RENAMED.get(typed, typed)


#: Name of an option -> how it is typed; those of `analyse` and `sweep` too.
FLAGS = {f.name: flag(f) for f in leaves(Options)} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "tolerance",
        "connectivity",
        "vary",
        "engine",
        "workers",
        "image_size",
        "scheduler",
        "seeds",
        "network",
        "level",
        "trial",
        "kb",
        "ms",
        "file",
    )
}


def with_flags(text: str) -> str:
    """A message or help text with options as they are typed: `batch_size` is --batch-size."""
    return re.sub(r"`(\w+)`", lambda m: FLAGS.get(m[1], m[0]), text)


def current(argument: str) -> str:
    """An argument with the flag of this version, and one line on stderr where it has changed."""
    typed, equals, value = argument.partition("=")
    if typed not in RENAMED:
        return argument
    print(
        f"{typed} is called {RENAMED[typed]} now; the next version will not know {typed}",
        file=sys.stderr,
    )
    return RENAMED[typed] + equals + value


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line: the usage of so many options hides them."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what was meant; end with 2."""
        if wrong := re.match(r"unrecognized arguments: .*?(--[^\s=]+)", message):
            message += "; " + meant(wrong[1], self._option_string_actions)
        elif wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message += "; " + meant(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        message = one_line(message.removesuffix("; ").rstrip())
        let_the_first_speak()
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
    for f in fields(Options):
        if "title" not in f.metadata:
            add_option(p, f)
            continue
        g = p.add_argument_group(f.metadata["title"])
        options = get_type_hints(Options)[f.name]
        for leaf in leaves(options):
            add_option(g, leaf, by_preset=options is Recipe)
        if options is Protocol:
            g.add_argument("--method", choices=METHODS, help="a name in the literature for some "
                           "of these options; those given as well win")  # fmt: skip
    return p


def add_option(p: argparse._ActionsContainer, f: Field[Any], by_preset: bool = False) -> None:
    """The flag of a field of options, with what its type and `option` say of it.

    Its default is in the help, and not in what is parsed: that of a preset may be another.
    """
    about, text = f.metadata, with_flags(f.metadata["help"]).replace("%", "%%")
    typed = f.type if isinstance(f.type, str) else formatannotation(f.type)  # "int | None"
    kind, metavar = {"int": (int, "N"), "float": (float, "X")}.get(typed.split()[0], (str, "NAME"))
    how: dict[str, Any] = {"dest": f.name}
    if "metavar" in about and "choices" in about:
        text += f": {', '.join(about['choices'])}"
    if f.default is not False and f.default not in (MISSING, None, "", ()) and not by_preset:
        text += f" (default: {f.default})"
    if typed == "bool":
        how["action"] = "store_true"
    else:
        how |= {"type": kind, "choices": about.get("choices")}
        if "metavar" in about or "choices" not in about:
            how["metavar"] = about.get("metavar", metavar)
        if typed.startswith("tuple"):
            how["action"] = "append"
    p.add_argument(flag(f), help=text, **how)
