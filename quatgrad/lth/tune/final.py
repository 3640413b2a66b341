"""The end of a study: the chosen settings with other seeds, and the test images, once each."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quatgrad.errors import OptionError, RunError
from quatgrad.lth.experiment import experiment
from quatgrad.lth.results.compare import t_interval
from quatgrad.lth.store import files
from quatgrad.lth.tune import show
from quatgrad.lth.tune.space import changing, short
from quatgrad.lth.tune.tune import Study
from quatgrad.option_fields import check_bounds, replaced, values

Tell = Callable[[str], None]


def final(study: Study, seeds: int, given: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Train the best settings of each network from `seeds` seeds, none of which chose them.

    Each is an ordinary run. Of each network: test accuracies, their mean and its 95 % interval; of
    each two, the same of the differences between equal seeds. `given` are other options, as levels.
    """
    best = _best(study, given)
    found = {
        network: _trained(study, network, settings, seeds, given, tell)
        for network, settings in best.items()
    }
    differences = {
        f"{b} - {a}": _difference(found[b], found[a]) for a, b in itertools.combinations(found, 2)
    }
    told = {
        "study": str(study.directory),
        "given": _told(given),
        "networks": found,
        "differences": differences,
    }
    files.write_json(study.directory / "final.json", told)
    return told


def ablation(study: Study, seeds: int, given: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """The same with one setting at a time put back to what it is without the study.

    That is what the [options] of its file say, most often by a preset: the paper's. Of each
    network and setting: the difference that this makes, put back less chosen, between equal seeds.
    A setting that is chosen as it was is not trained again.
    """
    networks = {}
    for network, chosen in _best(study, given).items():
        before = values(study.file.options(network, {}))
        best = _trained(study, network, chosen, seeds, given, tell)
        back = []
        for name, value in chosen.items():
            row = {"setting": name, "chosen": value, "put back": before[name]}
            if value != before[name]:
                others = {other: v for other, v in chosen.items() if other != name}
                other = _trained(study, network, others, seeds, given, tell)
                row |= {"trained": other, "difference": _difference(other, best)}
            back.append(row)
        networks[network] = {"best": best, "back": back}
    told = {"study": str(study.directory), "given": _told(given), "networks": networks}
    files.write_json(study.directory / "ablation.json", told)
    return told


def _best(study: Study, given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The best settings of each network, all of which have had their trials."""
    if "algebra" in given:
        raise OptionError("all networks of a study are compared: leave out `algebra`")
    if fixed := [name for name in given if name.startswith("seed_")]:
        raise OptionError(f"other seeds are other in everything: leave out `{fixed[0]}`")
    study.file.check_not_varied(given)
    found = show.result(study)
    for network, of in found.items():
        if of["trials"] != study.file.trials:
            raise RunError(
                f"{study.directory}: {of['trials']} of {study.file.trials} trials of {network} "
                "have ended; finish them with the command that began the study"
            )
    return {network: of["settings"] for network, of in found.items()}


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of the command that change what comes out."""
    return {name: value for name, value in given.items() if name in changing()}


def _trained(
    study: Study,
    network: str,
    settings: Mapping[str, Any],
    seeds: int,
    given: Mapping[str, Any],
    tell: Tell,
) -> dict[str, Any]:
    """A network with these settings, from seeds that chose nothing."""
    check_bounds("seeds", seeds, 1, 1000)
    options = study.file.options(network, {**settings, **given})
    new = range(options.run.seed + 1, options.run.seed + 1 + seeds)
    if (chose := study.file.options(network, settings).run.seed) in new:
        raise OptionError(
            f"`seed` {options.run.seed}: the seeds {new[0]} to {new[-1]} follow it, and {chose} is "
            "that of the study, which chose the settings; give a larger one, or none"
        )
    options = replaced(options, trials=seeds, seed=new[0])
    directory, trials = experiment.run(options, tell)
    level = min(options.protocol.levels, *(len(trial[network]) - 1 for trial in trials))
    last = [trial[network][level] for trial in trials]  # others may have gone further on record
    accuracies = [record.accuracy for record in last]
    return {
        "run": directory.name,
        "settings": dict(settings),
        "seeds": list(new),
        "level": level,
        "weights left": last[0].weights_left,
        "test accuracies": accuracies,
        **_mean(accuracies),
    }


def _difference(b: Mapping[str, Any], a: Mapping[str, Any]) -> dict[str, float | None]:
    """b - a, between equal seeds."""
    pairs = zip(a["test accuracies"], b["test accuracies"], strict=True)
    return _mean([y - x for x, y in pairs])


def _mean(numbers: Sequence[float]) -> dict[str, float | None]:
    n = len(numbers)
    half = None if n == 1 else t_interval(statistics.stdev(numbers), n)
    return {"mean": statistics.fmean(numbers), "interval": half}


def text(told: Mapping[str, Any]) -> str:
    """`final` for people; a difference is one where its interval does not hold 0."""
    lines = [f"{told['study']}: test accuracy of the best settings, with seeds that chose nothing"]
    for network, of in told["networks"].items():
        lines.append(f"  {network:>10}  {_interval(of)}, n = {len(of['seeds'])}")
    for pair, of in told["differences"].items():
        lines.append(f"  {pair}: {_interval(of)}{_if_shown(of)}")
    return "\n".join(lines)


def ablation_text(told: Mapping[str, Any]) -> str:
    """`ablation` for people."""
    lines = [f"{told['study']}: test accuracy with one setting put back, less that of the best"]
    for network, of in told["networks"].items():
        lines.append(f"  {network}, best: {_interval(of['best'])}, n = {len(of['best']['seeds'])}")
        for row in of["back"]:
            change = f"{row['setting']} {short(row['chosen'])} -> {short(row['put back'])}"
            difference = row.get("difference")
            came = "the same" if difference is None else _interval(difference)
            lines.append(f"    {change}: {came}{_if_shown(difference)}")
    return "\n".join(lines)


def _interval(of: Mapping[str, Any]) -> str:
    half = "" if of["interval"] is None else f" +- {of['interval']:.2%}"
    return f"{of['mean']:.2%}{half}"


def _if_shown(of: Mapping[str, Any] | None) -> str:
    shown = of is None or (of["interval"] is not None and abs(of["mean"]) > of["interval"])
    return "" if shown else ", no difference is shown"
