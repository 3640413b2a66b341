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
from quatgrad.backend import LADDERS, PRECISIONS, generator, set_backend, set_precision
from quatgrad.errors import OptionError, QuatgradError, RunError
from quatgrad.lth import compare, plot, protocol, prune, store
from quatgrad.lth.controls import CONTROLS, FROM_SCRATCH, Control
from quatgrad.lth.options import ENCODERS, NETWORKS, PRESETS, Options, overrides, resolve
from quatgrad.lth.search import Search
from quatgrad.lth.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.nn.init import INITIALISERS
from quatgrad.optim import SCHEDULES

#: Added to the seed of a trial for the weights of `--control reinitialised`.
CONTROL_SEED = 1_000_000

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
    g.add_argument("--method", choices=protocol.METHODS, help="a name for the options below that "
                   "the literature knows; those given as well count more")  # fmt: skip
    g.add_argument("--score", choices=prune.SCORES, help="what decides: magnitude (default), that "
                   "of the initial weights, its increase, the movement, chance, the slope of the "
                   "loss (SNIP), or SynFlow")  # fmt: skip
    g.add_argument("--granularity", choices=prune.GRANULARITIES, help="components of quaternions "
                   "are ranked apart (default), together, or go as one; or whole kernels, or "
                   "filters")  # fmt: skip
    g.add_argument("--scope", choices=prune.SCOPES, help="weights are ranked by layer (default), "
                   "all together, or by layer with more of small ones kept (erk)")  # fmt: skip
    g.add_argument("--exclude", metavar="NAMES", help="weights not pruned: stem,head")
    g.add_argument("--keep-of", metavar="NAME=X,...",
                   help="weights with a share of their own: head=0.9")  # fmt: skip
    g.add_argument("--prune-from", choices=protocol.PRUNE_FROM, help="what is ranked: the network "
                   "of the level before (default), or at once the dense one (one-shot), or the one "
                   "that training starts from")  # fmt: skip
    g.add_argument("--rounds", type=int, metavar="N", help="reach a level's masks in N steps")
    g.add_argument("--rewind", choices=protocol.REWINDS, help="to the whole start (default), its "
                   "weights alone as the paper ran, or none: the weights go on")  # fmt: skip
    g.add_argument("--late", type=int, metavar="N",
                   help="rewind to the dense network after N epochs, not to its start")  # fmt: skip
    g.add_argument("--rate", choices=protocol.RATES, help="learning rate of a level: the schedule "
                   "again (default), or the last one: with --rewind none, fine-tuning")  # fmt: skip
    g.add_argument("--memory", choices=protocol.MEMORIES, help="the optimizer's, at each level: "
                   "new (default), kept, or restored to that after --late epochs")  # fmt: skip
    g.add_argument("--order", choices=protocol.ORDERS, help="of the images at each level: the "
                   "same as in the dense network's training (default), or fresh")  # fmt: skip
    g.add_argument("--masks", choices=protocol.MASKS, help="from the retrained networks (default), "
                   "or from a first pass of fine-tuning")  # fmt: skip
    g.add_argument("--control", choices=CONTROLS, action="append", help="also train its masks over "
                   "other weights, shuffled (whole: quaternions as they are), or over signs alone; "
                   "may be repeated")  # fmt: skip

    g = p.add_argument_group("where")
    g.add_argument("--backend", choices=tuple(LADDERS), help="default: numba")
    g.add_argument("--precision", choices=PRECISIONS, help="of products on a GPU with cuDNN "
                   "(default: float32)")  # fmt: skip
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
        print("interrupted; the same command goes on from the last checkpoint",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0


def run(options: Options) -> list[compare.Runs]:
    """One experiment: every network of the options, each trial; table and pictures on record.

    Returns for each trial the records of each network.
    """
    set_backend(options.backend)
    set_precision(options.precision)
    recipe, plan = options.recipe(), options.protocol()  # raise what is wrong with them
    plan.recipe(recipe, 1, 1)
    if options.plot:  # better now than after hours
        store.prepare_directory(Path(options.plot).parent, "--plot")
    datasets = {name: load(options, name) for name in options.networks}
    dataset = next(iter(datasets.values()))
    for name in options.networks:  # a network that cannot be made is better known now, too
        plan.check(create(options, name, datasets[name], options.seed), recipe)
    directory = open_directory(options, dataset)
    print(f"{dataset.name}: {len(dataset.train):,} training, {len(dataset.test):,} test images; "
          f"{options.model}, {options.levels} levels, {directory}")  # fmt: skip
    trials = [
        one_trial(options, datasets, directory / f"trial{trial}", trial)
        for trial in range(options.trials)
    ]
    conclude(options, dataset, directory, trials)
    return trials


def one_trial(
    options: Options, datasets: dict[str, data.Dataset], folder: Path, trial: int
) -> compare.Runs:
    """Every network and its controls, with a seed of the trial; also those that are on record."""
    recipe, plan, seed = options.recipe(), options.protocol(), options.seed + trial

    def search(network: str, directory: str, **others: Any) -> Search:
        label = f"{directory}, trial {trial}" if options.trials > 1 else directory
        return Search(
            create(options, network, datasets[network], seed), datasets[network], recipe,
            folder / directory, plan, seed, label, partial(report, label), not options.quiet,
            **others,
        )  # fmt: skip

    for network in options.networks:
        search(network, network).run()
        for name in options.control:
            fresh = create(options, network, datasets[network], seed + CONTROL_SEED)
            change = partial(apply, CONTROLS[name], fresh, seed)
            search(network, f"{network}-{name}", source=folder / network, control=change,
                   from_scratch=name in FROM_SCRATCH).run()  # fmt: skip
    known = [n + c for c in ("", *(f"-{c}" for c in CONTROLS)) for n in NETWORKS["all"]]
    return {n: records for n in known if (records := store.read_records(folder / n))}


def apply(control: Control, fresh: Module, seed: int, ticket: Ticket, level: int) -> Ticket:
    """The control of a ticket, with draws of the level."""
    components = {name: w.components for name, w in fresh.prunable_parameters()}
    rng = generator(seed, "control", level)
    return control(ticket, components, fresh.state_dict(), rng)


def load(options: Options, network: str) -> data.Dataset:
    """The images as a network sees them."""
    if options.encoder == "learned" and options.dataset in ("digits", "mnist"):
        raise OptionError(f"--encoder learned is for colour images; {options.dataset} is grey")
    return data.load(options.dataset, options.data_dir, options.encoder_of(network),
                     options.subset, options.seed, options.statistics)  # fmt: skip


def create(options: Options, network: str, dataset: data.Dataset, seed: int) -> Module:
    """A network for the dataset; "half" is a real one of half the width."""
    H, W, C = dataset.input_shape
    width = options.width or models.MODELS[options.model][0]
    algebra = "real" if network == "half" else network
    return models.create(
        options.model, algebra, dataset.num_classes, C, width // 2 if network == "half" else width,
        image_size=(H, W), init=options.init, real_head=options.real_head,
        learned_encoder=options.encoder == "learned", seed=seed,
    )  # fmt: skip


def open_directory(options: Options, dataset: data.Dataset) -> Path:
    """The run directory that belongs to these options and these images."""
    config = options.config(dataset.fingerprint())
    name = f"{options.dataset}-{options.model}-{store.config_key(config)}"
    directory = Path(options.out) / name
    store.prepare_directory(directory)
    path = directory / "config.json"
    if not path.exists():
        first = {"preset": options.preset, "overrides": overrides(options)}
        store.write_json(path, {"options": config, "first run as": first})
    elif store.read_json(path).get("options") != config:
        raise RunError(f"{path} was changed by hand; delete its directory, run again")
    return directory


def report(label: str, record: dict[str, Any]) -> None:
    """One line for a finished level."""
    percent = 100 * record["weights_left"] / record["weights_total"]
    source = "from the record" if record["resumed"] else f"{record['seconds']:.1f} s"
    line = (
        f"  {label:>10}  level {record['level']:2d}  {record['weights_left']:>11,} weights "
        f"({percent:6.2f} %)  test accuracy {record['accuracy']:7.2%}  {source}"
    )
    print(line + (f", {record['pass']}" if "pass" in record else ""), flush=True)


def conclude(
    options: Options, dataset: data.Dataset, directory: Path, trials: list[compare.Runs]
) -> None:
    """Table, verdict, CSV and pictures."""
    runs = compare.mean(trials)
    for control in ("", *(f"-{name}" for name in CONTROLS)):
        part = {n: runs[n] for n in runs if n.partition("-")[1:] == control.partition("-")[1:]}
        if part:
            print("\n" + compare.text_table(part))
    if {"real", "quaternion"} <= runs.keys():
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
