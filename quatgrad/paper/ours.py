"""Runs of quatgrad.lth as curves: the mean of their trials, with its 95 % t-interval."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from quatgrad import models
from quatgrad.errors import RunError
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.results.compare import half_width
from quatgrad.lth.results.run import Run
from quatgrad.lth.store.records import Record
from quatgrad.paper.curves import Curve, Point

#: The preset with the published training of each dataset and kind of network.
PRESETS = {
    ("cifar100", "resnet"): "paper-cifar100",
    ("imagenet64", "resnet"): "paper-imagenet64",
    ("mnist", "lenet"): "predecessor",
    ("cifar10", "conv"): "predecessor",
    ("cifar100", "conv"): "predecessor",
}

#: The networks that are compared, where a run has them.
NETWORKS = ("real", "quaternion", "half", "equal")

#: Lies in a run directory where the images are synthetic, not photographed.
MADE = "made-data"


def read_run(directory: Path) -> list[Curve]:
    """The curves of a run directory: one for each network that has finished a level.

    A curve has the levels that all trials of the network have finished. Raises `RunError` where
    there is no run, no dense real network to measure by, or a damaged file.
    """
    run = Run(directory)
    config, first = run.config.options, run.config.first_run
    label = f"{directory}, preset {first.preset}" if first else str(directory)
    if not {"model", "dataset", "epochs"} <= config.keys():
        raise RunError(f"{directory} does not say its model, dataset and epochs: run it again")
    model = str(config["model"])
    scaled, synthetic = ", ".join(smaller(config)), (directory / MADE).exists()
    runs = {n: [t[n] for t in run.trials.values() if n in t] for n in NETWORKS}
    if not runs["real"]:
        raise RunError(f"{directory} has no real network: 100 % is its dense size; run it first")
    dense, curves = runs["real"][0][0], []
    for network, trials in runs.items():
        points = tuple(_point(model, levels, dense) for levels in zip(*trials, strict=False))
        key = str(config["dataset"]), model, network
        if points:
            made = Curve(*key, "ours", label, points, scaled, synthetic)
            curves.append(replace(made, setting=run.setting, chance=100 * run.config.chance))
    return curves


def smaller(config: dict[str, Any]) -> list[str]:
    """What is smaller in a run than in the published training: width, images, epochs."""
    found = []
    default, _ = models.NAMED.get(config["model"], (None, None))
    if default and config.get("width", default) != default:
        found.append(f"width {config['width']} for {default}")
    if config.get("subset"):
        found.append(f"{config['subset']:,} training images")
    preset = published_preset(config["dataset"], config["model"])
    if preset is not None:
        epochs = resolve({"preset": preset, "model": config["model"]}).recipe.epochs
        if config["epochs"] < epochs:
            found.append(f"epochs {config['epochs']} for {epochs}")
    return found


def published_preset(dataset: str, model: str) -> str | None:
    """The preset with the published training of a network; None where nothing was published."""
    return PRESETS.get((dataset, model.split("-")[0].rstrip("0123456789")))


def counted(model: str) -> str:
    """What "% of the dense real network" counts: the predecessor's models with their biases."""
    return "parameters" if model.startswith(("lenet", "conv")) else "weights"


def _point(model: str, levels: tuple[Record, ...], dense: Record) -> Point:
    """The mean of one level over its trials: accuracy and counts."""
    accuracies = [100 * r.accuracy for r in levels]
    mean, half = statistics.fmean(accuracies), half_width(accuracies, levels)
    counts = [r.costs for r in levels if r.costs]
    if len(counts) < len(levels) or not dense.costs:
        raise RunError(f"the parameters of this {model} were not counted: it has other layers")
    costs = {
        k: round(statistics.fmean(getattr(c, k) for c in counts))
        for k in ("weights", "parameters", "multiply_adds", "bytes")
    }
    return Point(
        level=levels[0].level,
        fraction=levels[0].density,
        x=100 * costs[counted(model)] / getattr(dense.costs, counted(model)),
        accuracy=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        trials=len(levels),
        **costs,
    )
