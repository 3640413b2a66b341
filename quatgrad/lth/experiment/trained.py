"""The networks that a run trained: which there are, and one of them to predict with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from quatgrad import models
from quatgrad.errors import OptionError
from quatgrad.lth.experiment.experiment import create, load, options_of
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.lth.store.stage import Stage, read_record
from quatgrad.network import About, Build, Network, about, restore

#: A level matches the dense network down to so much below its accuracy.
TOLERANCE = 0.01

#: What names the data of a run.
DATA = ("dataset", "test_share", "subset", "validation", "seed", "data")


def trained(
    run: Run,
    network: str | None = None,
    level: int | None = None,
    trial: int = 0,
    build: Build | None = None,
) -> Network:
    """A network of a run, as it was trained: pruned, with its classes, encoding and masks.

    network  "real", "quaternion", ...; None: the quaternion one, where there is one
    level    None: the last that matches the dense network, down to a point below its accuracy
    build    as of `quatgrad.load`: for a network of your own

    `said` has the run, the network, the trial, the level, its weights left, its accuracy,
    what that is called, and the data.
    Raises `OptionError` for a network, trial or level that the run has not finished.
    """
    name, record, stage = finished(run, network, level, trial)
    end = stage.end()
    dense = stage.parent("dense") if stage.parents else stage.path
    known = read_record(dense).network or _from_options(run, name)
    model = (known.architecture or {}).get("model")
    if build is None and isinstance(model, str) and models.is_file_spec(model):
        build = model  # the run was made by this file, on this machine
    said = {"run": run.path.resolve().name, "network": name, "trial": trial, "level": record.level}
    said |= {"weights_left": record.weights_left, "weights_total": record.weights_total}
    said |= {"accuracy": record.accuracy, "score": run.config.measure}
    own = run.config.options
    said |= {name: own[name] for name in DATA if own.get(name) is not None}
    state = {n: a * end.masks[n] if n in end.masks else a for n, a in end.state.items()}
    return restore(msgspec.structs.replace(known, said=said), state, end.masks, run.path, build)


def finished(
    run: Run, network: str | None = None, level: int | None = None, trial: int = 0
) -> tuple[str, Record, Stage]:
    """(name of the network, record, stage) of a level, chosen as `trained` does."""
    networks = run.trials.get(trial, {})
    name = network or ("quaternion" if "quaternion" in networks else next(iter(networks), "real"))
    if name not in networks:
        there = "; ".join(f"trial {t}: {', '.join(names)}" for t, names in run.trials.items())
        raise OptionError(
            f"{run.path} has no finished level of the network {name} in trial {trial}; "
            f"there is {there or 'nothing yet'}; name one of these"
        )
    records = networks[name]
    level = smallest_that_matches(records) if level is None else level
    if not 0 <= level < len(records):
        raise OptionError(
            f"`level` {level}: of the network {name}, {run.path} has finished the levels 0 to "
            f"{len(records) - 1}; name one of these"
        )
    path = files.level_path(run.search_path(trial, name), level)
    return name, records[level], Stage.load(path.resolve())


def smallest_that_matches(records: Sequence[Record]) -> int:
    """The last level whose accuracy is at least that of the dense network - `TOLERANCE`.

    The validation images judge, where there are any.
    """
    least = records[0].steering_accuracy - TOLERANCE
    return max(r.level for r in records if r.steering_accuracy >= least)


def _from_options(run: Run, name: str) -> About:
    """The same for a run of an earlier version, which did not say: made anew from its options."""
    options, network = options_of(run), name.partition("-")[0]
    dataset = load(options, network)
    return about(create(options, network, dataset, options.run.seed), dataset)


def describe(said: Mapping[str, Any]) -> str:
    """What `trained` says of a network, in a line."""
    share = said["weights_left"] / said["weights_total"]
    score = said.get("score", "accuracy")  # earlier versions did not say
    return (
        f"{said['run']}, {said['network']}, level {said['level']}: "
        f"{said['weights_left']:,} weights ({share:.2%}), test {score} {said['accuracy']:.2%}"
    )
