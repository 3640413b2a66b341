"""What a study found: best settings, importances, and what k trials are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quatgrad.errors import RunError
from quatgrad.lth.store import files
from quatgrad.lth.tune import plots, preset
from quatgrad.lth.tune.space import short
from quatgrad.lth.tune.study import open_study
from quatgrad.lth.tune.tune import Study, StudyRecord, write_table

if TYPE_CHECKING:
    import optuna

#: So few finished trials say nothing of what matters.
FEW = 4


def best_of(values: Sequence[float]) -> list[float]:
    """E max of k of these n values, k = 1 ... n: sum_i v_(i) [(i / n)^k - ((i - 1) / n)^k].

    What k random draws from the space are worth, with less noise than the best so far.
    Source: Dodge et al., "Show your work", arXiv:1909.03004.
    """
    n, ordered = len(values), sorted(values)
    return [
        sum(v * ((i / n) ** k - ((i - 1) / n) ** k) for i, v in enumerate(ordered, 1))
        for k in range(1, n + 1)
    ]


def best_so_far(values: Sequence[float]) -> list[float]:
    """The best of the first k values, k = 1 ... n."""
    return [max(values[:k]) for k in range(1, len(values) + 1)]


def rows(study: Study) -> list[dict[str, Any]]:
    """Every trial that has ended: its settings, what came out and what it cost."""
    found = []
    for network in study.networks:
        for trial in open_study(study.directory, network, study.file).get_trials(deepcopy=False):
            if trial.state.is_finished():
                value = _value(trial)
                row = {"network": network, "trial": trial.number, "validation_accuracy": value}
                ended = {"ended": trial.state.name.lower()}
                found.append(row | ended | trial.params | trial.user_attrs)
    return found


def _value(trial: optuna.trial.FrozenTrial) -> float:
    """Its validation accuracy; of one that ended early, that of its last epoch."""
    if trial.value is not None:
        return trial.value
    told = trial.intermediate_values
    return told[max(told)] if told else 0.0


def result(study: Study) -> dict[str, Any]:
    """What came out, network by network."""
    table = rows(study)
    found: dict[str, Any] = {}
    for network in study.networks:
        own = [row for row in table if row["network"] == network]
        complete = [row for row in own if row["ended"] == "complete"]
        if not complete:
            raise RunError(f"{study.directory}: no trial of {network} has ended; tune it first")
        best = max(complete, key=lambda row: row["validation_accuracy"])
        if changed := study.file.space.keys() - best.keys():
            raise RunError(
                f"{study.directory}/space.toml was changed: no trial has a `{min(changed)}`; "
                "put it back, or tune the new file"
            )
        values = [row["validation_accuracy"] for row in own]
        found[network] = {
            "trials": len(own),
            "ended early": len(own) - len(complete),
            "epochs": sum(row.get("epochs", 0) for row in own),
            "seconds": round(sum(row.get("seconds", 0.0) for row in own), 1),
            "best": {k: v for k, v in best.items() if k not in ("network", "ended")},
            "settings": {name: best[name] for name in study.file.space},
            "importances": _importances(study, network, len(complete)),
            "best so far": best_so_far(values),
        }
        if study.file.how.sampler == "random" and study.file.how.pruner == "none":
            found[network]["best of k"] = best_of(values)
    return found


def _importances(study: Study, network: str, complete: int) -> dict[str, float]:
    """What share of the variance of good trials each option explains (PED-ANOVA)."""
    if complete <= FEW:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna_study = open_study(study.directory, network, study.file)
    found = get_param_importances(optuna_study, evaluator=PedAnovaImportanceEvaluator())
    return {name: round(share, 4) for name, share in found.items()}


def write(study: Study) -> dict[str, Any]:
    """Put all of it into the directory: table, numbers, pictures, preset."""
    found, table = result(study), rows(study)
    write_table(study.directory / "trials.csv", table)
    files.write_json(study.directory / "result.json", found)
    best = {network: of["settings"] for network, of in found.items()}
    preset.write(study.directory, study.file, best)
    about = StudyRecord.read(study.directory / "study.json").about
    plots.write(study.directory, study.file, found, table, about)
    return {"study": str(study.directory), "networks": found}


def text(told: dict[str, Any]) -> str:
    """The same for people."""
    lines = [told["study"]]
    for network, of in told["networks"].items():
        best, early = of["best"], f", {of['ended early']} ended early" * (of["ended early"] > 0)
        spent = f"{of['trials']} trials{early}, {of['epochs']} epochs, {of['seconds']:.0f} s"
        lines += ["", f"{network}: {spent}"]
        settings = ", ".join(f"{name} {short(value)}" for name, value in of["settings"].items())
        accuracy = f"validation accuracy {best['validation_accuracy']:.2%}"
        lines.append(f"  best: trial {best['trial']}, {accuracy}: {settings}")
        if of["importances"]:
            shares = (f"{name} {share:.0%}" for name, share in of["importances"].items())
            lines.append(f"  matters: {', '.join(shares)}")
        points = [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256) if k <= of["trials"]]
        for name in ("best of k", "best so far"):
            if name not in of:
                continue
            values = (f"{k}: {of[name][k - 1]:.2%}" for k in points)
            lines.append(f"  {name:11}  {'   '.join(values)}")
    return "\n".join(lines)
