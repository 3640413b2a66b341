"""The analysis of a run on record: networks and images are made from its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quatgrad import models
from quatgrad.backend import set_backend, set_precision
from quatgrad.data import Dataset, num_batches
from quatgrad.errors import OptionError, RunError
from quatgrad.lth.analysis.analysis import Network, analyse
from quatgrad.lth.analysis.connectivity import Line, stability
from quatgrad.lth.experiment.experiment import create, load, options_of
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.start import protocol_of, start_of
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Stage, read_record
from quatgrad.network import restore
from quatgrad.nn import Module
from quatgrad.option_fields import replaced
from quatgrad.task import NOT_OF_IMAGES
from quatgrad.train import Epoch


def report(
    run: Run, tolerance: float = 0.01, connectivity: Sequence[int] = (), **where: Any
) -> dict[str, Any]:
    """`analyse` of a run on record; `where`: a data_dir and a backend that are not the run's.

    For each level of `connectivity` and each network of the first trial, its ticket is trained
    twice, in two orders of the images: `stability`. Raises `OptionError` for a level that is not
    finished, `RunError` where the images are not those of the run.
    """
    if not tolerance >= 0:
        raise OptionError(f"`tolerance` is a difference of accuracies, at least 0; got {tolerance}")
    if run.of_search and not connectivity:
        if where:
            raise OptionError(
                f"{run.path} is of one search, and nothing of it is computed anew: leave out "
                f"`{next(iter(where))}`"
            )
        return analyse(run, networks_on_record(run), tolerance)
    options = replaced(options_of(run), **where)
    set_backend(options.run.backend)
    set_precision(options.run.precision)
    names = list(run.records(0))
    seen = {network: load(options, network) for network in {n.partition("-")[0] for n in names}}
    for dataset in seen.values():
        if dataset.fingerprint() != run.config.options["data"]:
            raise RunError(
                f"the data that were found are not those that {run.path} was trained "
                "on: say where they are with `data_dir`"
            )
    nets, networks = dict[str, Module](), dict[str, Network]()
    for name in names:
        kind = name.partition("-")[0]
        dataset = seen[kind]
        nets[name] = create(options, kind, dataset, options.run.seed)
        if options.model.model not in NOT_OF_IMAGES:
            networks[name] = (nets[name], dataset.input_shape)
    lines = {
        f"{name}, level {level}": two_orders(
            options, run.search_path(0, name), level, nets[name], seen[name]
        )
        for level in connectivity
        for name in names
        if "-" not in name
    }
    return analyse(run, networks, tolerance, lines)


def networks_on_record(run: Run) -> dict[str, Network]:
    """The networks of a search that the package can make again, with the shape of their images."""
    found = {}
    for name in run.records(0):
        dense = Stage.load(files.level_path(run.search_path(0, name), 0).resolve())
        known = read_record(dense.path).network
        architecture = known and known.architecture
        if not known or not architecture or architecture["model"] in NOT_OF_IMAGES:
            continue
        if models.is_known(architecture["model"]):
            H, W = architecture["image_size"]
            model = restore(known, dense.end().state, {}, dense.path).model
            found[name] = (model, (H, W, architecture["in_channels"]))
    return found


def two_orders(
    options: Options, directory: Path, level: int, model: Module, dataset: Dataset
) -> Line:
    """The line between two trainings of the ticket of a level in the directory of its search."""
    path = files.level_path(directory, level)
    if level < 0 or not files.is_final(path):
        raise OptionError(
            f"`connectivity` {level}: {directory} has no finished level {level}; "
            "quatgrad-lth show lists those there are"
        )
    stage, recipe, history = Stage.load(path.resolve()), options.recipe, list[Epoch]()
    ticket = start_of(stage, stage.end().masks)
    if level:
        protocol = protocol_of(stage)
        batches = num_batches(len(dataset.train), recipe.batch_size)
        recipe = protocol.recipe(recipe, level, batches)
        history = read_record(stage.parent("dense")).epochs[: protocol.rewind_epoch]
    return stability(model, ticket, dataset, recipe, history=history)
