"""The end of a study: the chosen settings with other seeds, and the test images, once each."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quatgrad.lth.experiment import experiment
from quatgrad.lth.results.compare import t_interval
from quatgrad.lth.store import files
from quatgrad.lth.tune import show
from quatgrad.lth.tune.tune import Study
from quatgrad.option_fields import check_bounds, replaced


def final(
    study: Study, seeds: int, given: Mapping[str, Any], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Train the best settings of each network from `seeds` seeds, none of which chose them.

    Each is an ordinary run. Of each network: test accuracies, their mean and its 95 % interval; of
    each two, the same of the differences between equal seeds. `given` are other options, as levels.
    """
    check_bounds("seeds", seeds, 1, 1000)
    found: dict[str, Any] = {}
    for network, of in show.result(study).items():
        options = study.file.options(network, of["settings"] | given)
        options = replaced(options, trials=seeds, seed=options.run.seed + 1)
        directory, trials = experiment.run(options, tell)
        last = [trial[network][-1] for trial in trials]
        accuracies = [record.accuracy for record in last]
        found[network] = {
            "run": directory.name,
            "settings": of["settings"],
            "seeds": [options.run.seed + n for n in range(seeds)],
            "weights left": last[0].weights_left,
            "test accuracies": accuracies,
            **_mean(accuracies),
        }
    differences = {
        f"{b} - {a}": _mean(
            [y - x for x, y in zip(*(found[n]["test accuracies"] for n in (a, b)), strict=True)]
        )
        for a, b in itertools.combinations(found, 2)
    }
    told = {"study": str(study.directory), "networks": found, "differences": differences}
    files.write_json(study.directory / "final.json", told)
    return told


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    n = len(values)
    half = None if n == 1 else t_interval(statistics.stdev(values), n)
    return {"mean": statistics.fmean(values), "interval": half}


def text(told: Mapping[str, Any]) -> str:
    """The same for people; a difference is one where its interval does not hold 0."""
    lines = [f"{told['study']}: test accuracy of the best settings, with seeds that chose nothing"]
    for network, of in told["networks"].items():
        lines.append(f"  {network:>10}  {_interval(of)}, n = {len(of['seeds'])}")
    for pair, of in told["differences"].items():
        shown = of["interval"] is not None and abs(of["mean"]) > of["interval"]
        lines.append(f"  {pair}: {_interval(of)}{'' if shown else ', no difference is shown'}")
    return "\n".join(lines)


def _interval(of: Mapping[str, Any]) -> str:
    half = "" if of["interval"] is None else f" +- {of['interval']:.2%}"
    return f"{of['mean']:.2%}{half}"
