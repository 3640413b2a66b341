"""The options of a run as they are typed."""

from __future__ import annotations

import argparse
from typing import NoReturn

from quatgrad import __version__, data, models
from quatgrad.backend import BACKENDS, PRECISIONS
from quatgrad.lth.experiment.options import ENCODERS, NETWORKS, PRESETS
from quatgrad.lth.prune import rule
from quatgrad.lth.search import protocol
from quatgrad.lth.ticket.controls import CONTROLS
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
  analyse RUN                 what its tickets look like, share and compute; pictures of it
  verify RUN ...              prove from the files alone that a run is what it says
  gc                          what no run needs any more; --delete removes it
  sweep --vary NAME=A,B,...   a run for each combination of options, on Dask or Slurm"""

#: What has a seed of its own -> what is drawn by it.
SEEDED = {
    "init": "the first weights",
    "order": "the order of the images",
    "augment": "how images are moved and mirrored",
    "prune": "random scores, the images of a sensitivity, and shuffled masks",
}

EPILOG = "Presets are defaults for the other options; they lie in quatgrad/lth/experiment/presets/."


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
    g.add_argument("--validation", type=float, metavar="X", help="hold out this share of the "
                   "training images, evenly over classes. Each level then reports its last epoch, "
                   "the one of best accuracy on them and the one of lowest loss (early stop), and "
                   "test images are looked at there alone. Without (default: 0), test accuracy is "
                   "measured each epoch, and nothing but --stop-below is chosen by it")  # fmt: skip
    g.add_argument(
        "--encoder",
        choices=ENCODERS,
        metavar="NAME",
        help=f"pixels to quaternions: {', '.join(ENCODERS)}",
    )
    g.add_argument(
        "--real-encoder",
        choices=data.ENCODERS,
        metavar="NAME",
        help="the same for real networks, where it differs",
    )
    g.add_argument(
        "--statistics",
        metavar="NAME",
        help="means and deviations of the colours, if "
        "not the dataset's: cifar10, cifar100, imagenet, paper, none",
    )
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
    g.add_argument(
        "--real-head",
        action="store_true",
        help="the last layer is real even where 4 divides the classes",
    )

    g = p.add_argument_group("how a level is trained")
    g.add_argument("--epochs", type=int, metavar="N", help="times through the training images")
    g.add_argument("--batch-size", type=int, metavar="N", help="images in a step")
    g.add_argument("--lr", type=float, metavar="X", help="highest learning rate")
    g.add_argument("--schedule", choices=sorted(SCHEDULES), help="how the learning rate falls")
    g.add_argument("--warmup", type=float, metavar="X", help="epochs in which it first rises")
    g.add_argument("--optimizer", choices=("sgd", "adam"), help="sgd: Nesterov momentum")
    g.add_argument("--momentum", type=float, metavar="X", help="of sgd")
    g.add_argument("--weight-decay", type=float, metavar="X", help="on all parameters")
    g.add_argument("--seed", type=int, metavar="N", help="of all that is drawn (default: 0)")
    for purpose, drawn in SEEDED.items():
        g.add_argument(
            f"--seed-{purpose}",
            type=int,
            metavar="N",
            help=f"of {drawn}, in all trials the same (default: the trial's)",
        )
    g.add_argument("--trials", type=int, metavar="N", help="repeat with seed, seed + 1, ...")

    g = p.add_argument_group("how it is pruned")
    g.add_argument(
        "--levels", type=int, metavar="N", help="how often to prune, after the dense run"
    )
    g.add_argument("--keep", type=float, metavar="X", help="share of weights that survives a level")
    g.add_argument(
        "--stop-below",
        type=float,
        metavar="X",
        help="end 2 levels after accuracy fell below X (default: 0.2)",
    )
    g.add_argument(
        "--method",
        choices=protocol.METHODS,
        help="a name for the options below that "
        "the literature knows; those given as well count more",
    )
    g.add_argument(
        "--score",
        choices=rule.SCORES,
        help="what decides: magnitude (default), that "
        "of the initial weights, its increase, the movement, chance, the slope of the "
        "loss (SNIP), or SynFlow",
    )
    g.add_argument(
        "--granularity",
        choices=rule.GRANULARITIES,
        help="components of quaternions "
        "are ranked apart (default), together, or go as one; or whole kernels, or "
        "filters",
    )
    g.add_argument(
        "--scope",
        choices=rule.SCOPES,
        help="weights are ranked by layer (default), "
        "all together, or by layer with more of small ones kept (erk)",
    )
    g.add_argument("--exclude", metavar="NAMES", help="weights not pruned: stem,head")
    g.add_argument(
        "--keep-of", metavar="NAME=X,...", help="weights with a share of their own: head=0.9"
    )
    g.add_argument(
        "--prune-from",
        choices=protocol.PRUNE_FROM,
        help="what is ranked: the network "
        "of the level before (default), or at once the dense one (one-shot), or the one "
        "that training starts from",
    )
    g.add_argument("--rounds", type=int, metavar="N", help="reach a level's masks in N steps")
    g.add_argument(
        "--rewind",
        choices=protocol.REWINDS,
        help="to the whole start (default), its "
        "weights alone as the paper ran, or none: the weights go on",
    )
    g.add_argument(
        "--late",
        type=int,
        metavar="N",
        help="rewind to the dense network after N epochs, not to its start",
    )
    g.add_argument(
        "--rate",
        choices=protocol.RATES,
        help="learning rate of a level: the schedule "
        "again (default), or the last one: with --rewind none, fine-tuning",
    )
    g.add_argument(
        "--memory",
        choices=protocol.MEMORIES,
        help="the optimizer's, at each level: "
        "new (default), kept, or restored to that after --late epochs",
    )
    g.add_argument(
        "--order",
        choices=protocol.ORDERS,
        help="of the images at each level: the "
        "same as in the dense network's training (default), or fresh",
    )
    g.add_argument(
        "--masks",
        choices=protocol.MASKS,
        help="from the retrained networks (default), or from a first pass of fine-tuning",
    )
    g.add_argument("--control", choices=CONTROLS, action="append", help="also train its masks over "
                   "other weights, shuffled (whole: quaternions as they are), or over signs alone; "
                   "transplanted: the masks of another trial; may be repeated")  # fmt: skip

    g = p.add_argument_group("where")
    g.add_argument("--backend", choices=tuple(BACKENDS), help="default: numba")
    g.add_argument(
        "--precision", choices=PRECISIONS, help="of products on a GPU with cuDNN (default: float32)"
    )
    g.add_argument("--out", metavar="DIR", help="where runs are kept (default: runs)")
    g.add_argument("--plot", metavar="FILE", help="write the picture here too (.png or .svg)")
    g.add_argument("--quiet", action="store_true", help="no progress bars")
    return p
