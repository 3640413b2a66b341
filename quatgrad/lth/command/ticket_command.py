"""The command quatgrad-predict: the classes of pictures, by a .ticket alone."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad import sparse
from quatgrad.autograd import Tensor
from quatgrad.backend import notice
from quatgrad.errors import OptionError
from quatgrad.lth.command import prediction
from quatgrad.lth.command.arguments import Parser
from quatgrad.lth.command.run_command import run_command
from quatgrad.lth.experiment.deploy import times_of
from quatgrad.network import Network
from quatgrad.sparse.predict import image_shape

SECONDS = 0.5  # of calls that are timed
CALLS = 20  # at least


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog="quatgrad-predict",
        description="The classes of pictures, by a network that quatgrad-lth export has written.",
        argument_default=argparse.SUPPRESS,
    )
    p.add_argument("ticket", metavar="FILE.ticket", help="the network, with all that it needs")
    p.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, ..., or an array in .npy")
    p.add_argument("--time", action="store_true", help="how long an image takes, in one thread")
    p.add_argument("--model", metavar="FILE.py:NAME", help="what makes it, where it is your own")
    p.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    return p


def planned(net: Network) -> Network:
    """The network with its plan; where it can have none, as it is, and that is said."""
    try:
        return sparse.prepared(net)
    except OptionError as error:
        notice(f"predicts without a plan: {error}")
        return net


def times(net: Network) -> tuple[Network, dict[str, Any]]:
    """The network with its plan; ms to prepare it, and for an image, again and again: the median.

    A call takes an encoded image to its logits. A network without a plan is timed as it is.
    """
    x = Tensor(np.zeros((1, *image_shape(net)), np.float32))
    start = time.perf_counter()
    ready = planned(net)
    ready(x)
    prepare = time.perf_counter() - start
    calls = times_of(lambda: ready(x), SECONDS, CALLS)
    found = {"prepare_ms": 1e3 * prepare, "image_ms": 1e3 * float(np.median(calls))}
    return ready, found | {"calls": len(calls)}


def command(arguments: list[str]) -> int:
    """Print a line for each picture."""
    given = vars(parser().parse_args(arguments))
    path = Path(given["ticket"])
    net = sparse.load(path, given.get("model"))
    took = dict[str, Any]()
    if "time" in given:
        net, took = times(net)
    else:
        net = planned(net)
    found = prediction.predict(net, given["images"])
    if "json" in given:
        print(json.dumps({"network": dict(net.said), "images": found} | took, indent=1))
        return 0
    print(prediction.predict_text(found))
    if took:
        print(
            f"{took['image_ms']:.3g} ms an image in one thread (median of {took['calls']:,} "
            f"calls); prepared in {took['prepare_ms'] / 1000:.2g} s"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code of `run_command`."""
    return run_command("quatgrad-predict", command, argv)


if __name__ == "__main__":
    sys.exit(main())
