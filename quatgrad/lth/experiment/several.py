"""An experiment of several processes: how they are started, compared, and led by the first."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import quatgrad
from quatgrad import __version__
from quatgrad.backend import notice, set_backend
from quatgrad.data import Dataset
from quatgrad.errors import OptionError
from quatgrad.lth.experiment.options import Options
from quatgrad.nn import Module
from quatgrad.option_fields import on_disk, replaced
from quatgrad.parallel import start as starting
from quatgrad.parallel.mpi import count, launched
from quatgrad.parallel.processes import Several
from quatgrad.train import Recipe, TrainState, train_steps

T = TypeVar("T")


def check_alone(options: Options) -> None:
    """Raise `OptionError` where options speak of several processes, and this is to be one."""
    if options.run.processes > 1:
        raise OptionError(
            f"`processes` {options.run.processes} is for plan; a run is started by mpirun -n "
            f"{options.run.processes}, with `parallel`"
        )
    if count() > 1:
        notice(
            f"{count()} processes were started, and each runs this command by itself; give "
            "--parallel to have them train one network together"
        )


def check_not_shared(options: Options, what: str) -> None:
    """Raise `OptionError` for processes that are to share a network, where `what` needs them."""
    if options.run.parallel or options.run.processes > 1:
        raise OptionError(
            f"{what} trains several networks at a time, each in a process of its own: leave out "
            "`parallel` and `processes`, which are for run"
        )


def start(options: Options, work: Callable[..., Any]) -> tuple[Options, Several]:
    """All processes that were started together, and the options, which say how many they are.

    Those of one machine with GPUs are started here: the others do work(group, options).
    """
    assert options.run.parallel is not None
    if options.run.parallel == "nccl" and options.run.processes > 1 and not launched():
        set_backend(options.run.backend)
        from quatgrad.parallel.nccl import on_node

        return options, on_node(options.run.processes, options.run.sync_norm, work, options)
    group = starting.group(options.run.parallel, options.run.sync_norm)
    starting.alike(group, partial(_check, options.run.processes, group))
    return replaced(options, processes=group.size), group


def _check(said: int, group: Several) -> None:
    if said not in (1, group.size):
        raise OptionError(f"`processes` is {said}, and {group.size} were started: leave it out")
    group.ready()


def lead(
    group: Several, options: Options, load: Callable[[], Sequence[Dataset]], main: Callable[[], T]
) -> T:
    """`parallel.start.lead` for these options; all must have them, and the same program."""
    same = {**on_disk(options), "version": __version__, "code": source_digest()}
    return starting.lead(group, same, load, help_training, main)


def help_training(
    model: Module,
    dataset: Dataset,
    recipe: Recipe,
    memory: Mapping[str, np.ndarray],
    seeds: tuple[int, int],
    state: TrainState,
) -> None:
    """Train along with process 0, which has sent all this: `memory` is its optimizer's."""
    optimizer = recipe.make_optimizer(model)
    optimizer.load_state_dict(memory)
    for _ in train_steps(model, dataset, recipe, optimizer, seeds, state):
        pass


def source_digest() -> str:
    """The digest of this program: another one may compute other numbers."""
    sha = hashlib.sha256()
    for path in sorted(Path(quatgrad.__file__).parent.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]
