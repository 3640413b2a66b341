"""One trial: an ordinary run of one network, whose validation accuracy is told to the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatgrad.backend import get_backend
from quatgrad.errors import DivergedError, OptionError, ShapeError
from quatgrad.lth.experiment import experiment, runs
from quatgrad.lth.experiment.deploy import call_of, milliseconds
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.experiment.trained import trained
from quatgrad.lth.store.records import Record
from quatgrad.lth.tune.space import short
from quatgrad.lth.tune.study import Trials, open_study
from quatgrad.train import Epoch

if TYPE_CHECKING:
    import optuna

#: What a network has learned that diverged, or could not be made.
NOTHING = 0.0


class Hopeless(Exception):  # noqa: N818
    """The pruner ends this trial."""


@dataclass
class Watch:
    """Tells the study each epoch's validation accuracy, once, and asks whether to go on.

    `epochs` is how many there will be, `known` how many of them the study knows.
    """

    trial: optuna.Trial
    epochs: int = 0
    known: int = 0

    def __post_init__(self) -> None:
        told = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        self.known = len(told)  # by a worker that was killed

    def __call__(self, directory: Path, level: int, history: Sequence[Epoch]) -> None:
        """After each epoch; of the dense network alone the study hears."""
        if level:
            return
        self._ask()
        for epoch in history[self.known :]:
            self.trial.report(epoch.validation_accuracy or 0.0, self.known)
            self.known += 1
            self._ask()

    def _ask(self) -> None:
        if 0 < self.known < self.epochs and self.trial.should_prune():
            raise Hopeless


def work(trials: Trials, tell: Callable[[str], None]) -> bool:
    """Take a trial and do it; False if there is none."""
    with trials.take() as trial:
        if trial is None:
            return False
        watch, value = Watch(trial), None
        try:
            options = trials.file.options(trials.network, trial.params)
            watch.epochs = options.recipe.epochs
            value, about = _score(options, watch)
        except Hopeless:
            about = {"epochs": watch.known}
        except DivergedError as error:
            value, about = NOTHING, {"epochs": watch.known, "diverged": str(error)}
        except (OptionError, ShapeError) as error:  # settings that cannot be together
            value, about = NOTHING, {"epochs": 0, "impossible": str(error)}
        for name, what in about.items():
            trial.set_user_attr(name, what)
        _tell(trials, trial, value)
        settings = ", ".join(f"{k} {short(v)}" for k, v in trial.params.items())
        came_out = "ended early" if value is None else f"{value:.2%}"
        why = f": {about['impossible']}" if "impossible" in about else ""
        tell(f"  {trials.network:>10}  trial {trial.number:3d}  {came_out:>11}  {settings}{why}")
    return True


def _score(options: Options, watch: Watch) -> tuple[float, dict[str, Any]]:
    """The validation accuracy of the last epoch of the last level, and what is on record of it."""
    datasets = experiment.prepare(options)
    (dataset,) = datasets.values()
    directory = experiment.open_directory(options, dataset)
    records: list[Record] = []
    for _, search in experiment.searches(options, datasets, directory, experiment.Clock(options)):
        records = replace(search, watch=watch).run()
    watch(directory, 0, records[0].epochs)  # where the stage was on record
    counted, rewound = records[-1].costs, options.protocol.rewind_epoch
    kinds = ("weights", "multiply_adds", "bytes") if counted else ()
    costs = {name: getattr(counted, name) for name in kinds}
    spent = {
        "epochs": sum(len(r.epochs) - (rewound if r.level else 0) for r in records),
        "seconds": round(sum(r.seconds for r in records), 2),
    }
    losses = {"train_loss": records[-1].train_loss, "validation_loss": records[-1].validation_loss}
    about = {"run": directory.name, **losses, **costs, **_time(options, directory), **spent}
    return records[-1].steering_accuracy, about


def _time(options: Options, directory: Path) -> dict[str, float]:
    """Milliseconds of one image in one thread, by the plan of the last level, where there is one.

    Measured while others may work: a hint.
    """
    if get_backend() != "numba":
        return {}
    run = runs.find(directory.name, options.run.out)
    network = options.model.algebra
    levels = run.trials[0][network]  # others with these settings may be in the same run
    (ms,) = milliseconds([call_of(trained(run, network, levels[-1].level))])
    return {} if ms is None else {"ms": round(ms, 4)}


def _tell(trials: Trials, trial: optuna.Trial, value: float | None) -> None:
    from optuna.trial import TrialState

    study = open_study(trials.directory, trials.network, trials.file)
    if value is None:
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, value)
