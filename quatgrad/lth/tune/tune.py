"""A study from its file to its end: a directory, workers, and what came out.

runs/tune/NAME-1a2b3c4d/
    space.toml             the file of the study, as it was; study.json: its budget, and options
    trials.journal         every trial (or trials.sqlite)
    trials.csv             the same as a table, with what each trial cost and its run
    result.json            best settings, importances, best of k trials; best.png, space.png
    tuned-DATASET.toml     the best settings, as a preset
    final.json             these, trained with other seeds and tested
    ablation.json          the same, with one setting at a time put back
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, field

from quatgrad import __version__
from quatgrad.errors import OptionError, QuatgradError, RunError
from quatgrad.lth.experiment import experiment
from quatgrad.lth.experiment.options import networks_of
from quatgrad.lth.experiment.sweep import ALONE
from quatgrad.lth.search.signals import at_once, handled
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Count, File, Positive, Value
from quatgrad.lth.tune import space
from quatgrad.lth.tune.space import ALSO, StudyFile
from quatgrad.lth.tune.study import Trials, need_optuna, open_study
from quatgrad.lth.tune.trial import work
from quatgrad.option_fields import check_bounds, values
from quatgrad.task import Task

RULE = (
    "every network gets the same space, as many trials, and the same epochs in each; validation "
    "data choose, and no choice sees test data"
)


class StudyRecord(File, frozen=True, kw_only=True):
    """study.json: the budget of each network; `given` and `how` are what the command line said."""

    name: str
    given: dict[str, Value]
    how: dict[str, Value]
    networks: Annotated[list[str], Meta(min_length=1)]
    trials: Positive = field(name="trials of each network")
    epochs: Positive = field(name="epochs of a level")
    levels: Count
    training_images: Positive = field(name="training images")
    validation_images: Positive = field(name="validation images")
    rule: str
    version: str
    what: str = Task.what

    @property
    def about(self) -> str:
        """What its pictures say of it."""
        counts = f"{self.training_images:,} training, {self.validation_images:,} validation"
        return f"{self.name}: {counts} {self.what}, {self.epochs} epochs a level"


@dataclass(frozen=True)
class Study:
    """A study in its directory, which has the same file and networks whoever works at it."""

    directory: Path
    file: StudyFile
    networks: tuple[str, ...]

    @property
    def trials(self) -> list[Trials]:
        """Those of each network."""
        return [Trials(self.directory, network, self.file) for network in self.networks]

    def work(self, tell: Callable[[str], None]) -> None:
        """Do trials, of each network in turn, until none is left to begin."""
        left = self.trials
        while left:
            left = [trials for trials in left if work(trials, tell)]


def start(path: Path, given: Mapping[str, Any], networks: str, **how: Any) -> Study:
    """The study of a file, with options of the command that win: begun, or found to go on."""
    need_optuna()
    file = space.read(path, given, **how)
    names = networks_of(networks)
    for network in names:
        file.check(network)
    options = file.options(names[0], {})
    (dataset,) = experiment.prepare(options).values()
    if not dataset.validation:
        raise OptionError(
            "validation data choose the settings: give `validation`, the share of the training "
            "data that is held out, as in validation = 0.1"
        )
    also = {name: values(options)[name] for name in ALSO}
    what = file.plain(), experiment.named_by(options, dataset), also
    key = files.content_key(what)[:8]
    directory = Path(options.run.out) / "tune" / f"{file.name}-{key}"
    files.prepare_directory(directory)
    if path.resolve() != (directory / "space.toml").resolve():
        shutil.copyfile(path, directory / "space.toml")
    if (directory / "study.json").exists():  # each that has begun gets the same budget
        before = StudyRecord.read(directory / "study.json")
        names = tuple(dict.fromkeys((*before.networks, *names)))
        file = file.with_trials(max(before.trials, file.trials))
    for network in names:
        open_study(directory, network, file)  # before several workers come
    StudyRecord(
        name=file.name,
        given=dict(given),
        how={name: value for name, value in how.items() if value is not None},
        networks=list(names),
        trials=file.trials,
        epochs=options.recipe.epochs,
        levels=options.protocol.levels,
        training_images=len(dataset.train),
        validation_images=len(dataset.validation or ()),
        rule=RULE,
        version=__version__,
        what=dataset.task.what,
    ).write(directory / "study.json")
    return Study(directory, file, names)


def load(name: str, out: str) -> Study:
    """The study of a directory, or of its name in `out`/tune; `RunError` if there is none."""
    need_optuna()
    for directory in (Path(name), Path(out) / "tune" / name):
        if (directory / "study.json").exists():
            about = StudyRecord.read(directory / "study.json")
            file = space.read(directory / "space.toml", about.given, **about.how)
            file = replace(file.with_trials(about.trials), name=about.name)
            return Study(directory, file, tuple(about.networks))
    begin = f": quatgrad-lth tune {name} begins one" if Path(name).is_file() else ""
    raise RunError(f"{name} is no study, and there is none of that name in {out}/tune{begin}")


def run(study: Study, workers: int, scheduler: str | None, tell: Callable[[str], None]) -> None:
    """Do all its trials: here, in several processes, or in workers of a Dask cluster."""
    check_bounds("workers", workers, 1, 1000)
    tell(f"{study.directory}: {study.file.trials} trials of {', '.join(study.networks)}")
    if scheduler:
        _on_dask(study, workers, scheduler)
    elif workers == 1:
        study.work(tell)
    else:
        _side_by_side(study, workers)


def _side_by_side(study: Study, workers: int) -> None:
    """Processes on this machine, which share its cores; a signal ends them all."""
    with _threads(max(1, (os.cpu_count() or 1) // workers)):
        spawn = get_context("spawn")
        processes = [spawn.Process(target=_alone, args=(study,)) for _ in range(workers)]
        for process in processes:
            process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()  # nothing, where it has ended
            process.join()
    if any(process.exitcode for process in processes):
        raise RunError("a worker ended with an error, above; the same command goes on")


def _alone(study: Study) -> None:
    """What a process of its own does: what a terminal sends comes from its parent alone."""
    if hasattr(os, "setsid"):
        os.setsid()
    try:
        with handled(at_once):
            study.work(_tell)
    except QuatgradError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _tell(text: str) -> None:
    print(text, flush=True)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that start in the block compute with so many threads."""
    names = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _on_dask(study: Study, workers: int, scheduler: str) -> None:
    """So many workers of the cluster at `scheduler`, which sees this directory too."""
    try:
        from distributed import Client
    except ImportError as error:
        raise OptionError(
            "`scheduler` needs Dask, which is not installed: pip install 'quatgrad[sweep]'"
        ) from error
    with Client(scheduler) as client:
        for done in [client.submit(_on_worker, study, pure=False) for _ in range(workers)]:
            done.result()


def _on_worker(study: Study) -> None:
    """Trials in a worker, of whose threads one works at a time."""
    with ALONE:
        study.work(_tell)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Trials as a table; a column for all that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    files.write_csv(path, [{name: row.get(name, "") for name in columns} for row in rows])
