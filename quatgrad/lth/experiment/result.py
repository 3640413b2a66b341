"""An experiment from Python: the options of the command as arguments, and what came out.

result = lth.run(dataset="digits", model="lenet-300-100", levels=5)
result.table()                            rows for pandas.DataFrame
result.plot("accuracy.png")
result.best(sparsity=0.8).save("net.safetensors")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quatgrad import data, models
from quatgrad.errors import OptionError
from quatgrad.lth.experiment import experiment, runs
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.trained import finished, trained
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.start import start_of
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.network import Build, Network


@dataclass(frozen=True)
class Result:
    """What a run has on record; `run` is where. All is read when it is asked for."""

    run: Run

    def table(self) -> list[dict[str, Any]]:
        """One row for each trial, network and level: weights left, accuracy, loss, costs, time."""
        return [
            {
                "trial": trial,
                "network": name,
                "level": r.level,
                "weights_left": r.weights_left,
                "weights_total": r.weights_total,
                "percent_left": 100 * r.density,
                "accuracy": r.accuracy,
                "loss": r.loss,
                "validation_accuracy": r.validation_accuracy,
                "train_accuracy": r.train_accuracy,
                "multiply_adds": r.costs and r.costs.multiply_adds,
                "bytes": r.costs and r.costs.bytes,
                "seconds": r.seconds,
            }
            for trial, networks in self.run.trials.items()
            for name, records in networks.items()
            for r in records
        ]

    def plot(self, *paths: str | Path) -> Figure:
        """Accuracy against weights left, the mean of the trials; also to .png or .svg files."""
        return runs.draw(self.run, [Path(path) for path in paths])

    def ticket(
        self, level: int | None = None, network: str | None = None, trial: int = 0
    ) -> Ticket:
        """The ticket of a level: its masks, and the state that it was trained from."""
        _, _, stage = finished(self.run, network, level, trial)
        if stage.kind == "control":
            raise OptionError(f"{stage.name} is of a control, whose start is not on record")
        return start_of(stage, stage.end().masks)

    def network(
        self,
        level: int | None = None,
        network: str | None = None,
        trial: int = 0,
        build: Build | None = None,
    ) -> Network:
        """A level as it was trained, ready to predict and to be saved: `trained`."""
        return trained(self.run, network, level, trial, build)

    def best(
        self, sparsity: float = 0.0, network: str | None = None, build: Build | None = None
    ) -> Network:
        """Of the levels with at least this share of the weights pruned, the most accurate.

        Validation images judge, where there are any; of equals, the sparser. `network`: of this
        network; None: of all. Raises `OptionError` if no level is that sparse.
        """
        found = [
            (r.steering_accuracy, r.level, name, trial)
            for trial, networks in self.run.trials.items()
            for name, records in networks.items()
            for r in records
            if 1 - r.density >= sparsity and network in (None, name)
        ]
        if not found:
            raise OptionError(
                f"`sparsity` {sparsity:g}: no finished level of {self.run.path} has so few "
                "weights; run more levels"
            )
        _, level, name, trial = max(found)
        return trained(self.run, name, level, trial, build)


def run(tell: Callable[[str], None] = experiment.silent, **options: Any) -> Result:
    """The experiment that the command runs with these options; what is on record is not run again.

    `options` are those of the command by name: dataset, model, algebra, levels, trials, out, ...
    The model may also be a function (algebra, num_classes, input_shape, rng) -> Module, and the
    dataset a `Dataset`: they get the names that they have. `tell` is called with what the command
    prints, `print` for instance. Raises what the command says in one line.
    """
    options |= {k: str(v) for k, v in options.items() if isinstance(v, PathLike)}
    model, dataset = options.get("model"), options.get("dataset")
    if model is not None and not isinstance(model, str):
        options["model"] = getattr(model, "__name__", type(model).__name__)
        models.register(options["model"], model)
    if isinstance(dataset, data.Dataset):
        options["dataset"] = dataset.name
        data.register(dataset)
    path, _ = experiment.run(resolve({"quiet": True} | options), tell)
    return Result(Run(path))
