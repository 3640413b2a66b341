"""The command: python experiments/lth.py, also installed as quatgrad-lth."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from quatgrad import __version__, data, models
from quatgrad.backend import LADDERS, set_backend
from quatgrad.errors import OptionError, QuatgradError, RunError
from quatgrad.lth import compare, plot, store
from quatgrad.lth.options import ALGEBRAS, ENCODERS, PRESETS, Options, resolve
from quatgrad.lth.search import search
from quatgrad.nn import Module
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

The same command again answers from its record, or goes on after the last finished level."""

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
    g.add_argument("--model", metavar="NAME", help=", ".join(models.MODELS))
    g.add_argument("--width", type=int, metavar="N", help="channels of the first stage")
    g.add_argument("--algebra", choices=(*ALGEBRAS, "both"), help="default: both")
    g.add_argument(
        "--init",
        choices=sorted(INITIALISERS["quaternion"]),
        help="first weights; xavier: the paper's (default: he)",
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
    g.add_argument("--seed", type=int, metavar="N", help="of weights, order and augmentation")

    g = p.add_argument_group("how it is pruned")
    g.add_argument(
        "--levels", type=int, metavar="N", help="how often to prune, after the dense run"
    )
    g.add_argument("--keep", type=float, metavar="X", help="share of weights that survives a level")
    g.add_argument("--stop-below", type=float, metavar="X",
                   help="end 2 levels after accuracy fell below X (default: 0.2)")  # fmt: skip

    g = p.add_argument_group("where")
    g.add_argument("--backend", choices=tuple(LADDERS), help="default: numba")
    g.add_argument("--out", metavar="DIR", help="where runs are kept (default: runs)")
    g.add_argument("--plot", metavar="FILE", help="write the picture here too (.png or .svg)")
    g.add_argument("--quiet", action="store_true", help="no progress bars")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after one line that says what is wrong, or 130 if interrupted."""
    given = vars(parser().parse_args(argv))
    try:
        run(resolve(given))
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
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last finished level",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0


def run(options: Options) -> dict[str, list[dict[str, Any]]]:
    """One experiment: every network of the options; table and pictures of all on record."""
    set_backend(options.backend)
    recipe = options.recipe()
    learned = options.encoder == "learned"
    if learned and options.dataset == "digits":
        raise OptionError("--encoder learned is for colour images; the digits are grey")
    dataset = data.load(
        options.dataset, options.data_dir, "rgb" if learned else options.encoder,
        options.subset, options.seed,
    )  # fmt: skip
    networks = {algebra: create(options, algebra, dataset) for algebra in options.algebras}
    if options.plot:  # better now than after hours
        store.prepare_directory(Path(options.plot).parent, "--plot")
    directory = open_directory(options, dataset)
    print(f"{dataset.name}: {len(dataset.train):,} training, {len(dataset.test):,} test images; "
          f"{options.model}, {options.levels} levels, {directory}")  # fmt: skip
    runs = {algebra: store.read_records(directory / algebra) for algebra in ALGEBRAS}
    for algebra, network in networks.items():
        runs[algebra] = search(
            network, dataset, recipe, directory / algebra, options.levels, options.keep,
            options.stop_below, options.seed, algebra,
            partial(report, algebra), not options.quiet,
        )  # fmt: skip
    runs = {algebra: records for algebra, records in runs.items() if records}
    conclude(options, dataset, directory, runs)
    return runs


def create(options: Options, algebra: str, dataset: data.Dataset) -> Module:
    """The network of an algebra for the dataset."""
    H, W, C = dataset.input_shape
    return models.create(
        options.model, algebra, dataset.num_classes, C, options.width, image_size=(H, W),
        init=options.init, learned_encoder=options.encoder == "learned", seed=options.seed,
    )  # fmt: skip


def open_directory(options: Options, dataset: data.Dataset) -> Path:
    """The run directory that belongs to these options and these images."""
    arrays = {"images": dataset.train.images, "labels": dataset.train.labels,
              "test images": dataset.test.images, "test labels": dataset.test.labels}  # fmt: skip
    config = options.config(store.digest(arrays)[:16])
    name = f"{options.dataset}-{options.model}-{store.config_key(config)}"
    directory = Path(options.out) / name
    store.prepare_directory(directory)
    path = directory / "config.json"
    if path.exists() and store.read_json(path) != config:
        raise RunError(f"{path} was changed by hand; delete its directory, run again")
    store.write_json(path, config)
    return directory


def report(algebra: str, record: dict[str, Any]) -> None:
    """One line for a finished level."""
    percent = 100 * record["weights_left"] / record["weights_total"]
    source = "from the record" if record["resumed"] else f"{record['seconds']:.1f} s"
    line = (
        f"  {algebra:>10}  level {record['level']:2d}  {record['weights_left']:>11,} weights "
        f"({percent:6.2f} %)  test accuracy {record['accuracy']:7.2%}  {source}"
    )
    print(line, flush=True)


def conclude(
    options: Options, dataset: data.Dataset, directory: Path, runs: dict[str, Any]
) -> None:
    """Table, verdict, CSV and pictures."""
    print("\n" + compare.text_table(runs))
    if len(runs) == 2:
        print("\n" + compare.verdict(runs))
    store.write_csv(directory / "comparison.csv", compare.rows(runs))
    title = f"{options.model} on {options.dataset}: lottery tickets"
    figure = plot.figure(runs, title, 1 / dataset.num_classes)
    pictures = [directory / "accuracy.png", directory / "accuracy.svg"]
    for path in pictures + ([Path(options.plot)] if options.plot else []):
        plot.save(figure, path)
    print(f"\nPicture: {pictures[0]}  (also .svg; the numbers: comparison.csv)")


if __name__ == "__main__":
    sys.exit(main())
