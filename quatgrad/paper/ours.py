"""Runs of quatgrad.lth as curves: the mean of their trials, with its 95 % t-interval."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from quatgrad import models
from quatgrad.errors import RunError
from quatgrad.lth.experiment.options import NETWORKS, resolve
from quatgrad.lth.store import files
from quatgrad.paper.curves import Curve, Point
from quatgrad.paper.published import half_width

#: The preset with the published training of each dataset and kind of network.
PRESETS = {
    ("cifar100", "resnet"): "paper-cifar100",
    ("imagenet64", "resnet"): "paper-imagenet64",
    ("mnist", "lenet"): "predecessor",
    ("cifar10", "conv"): "predecessor",
    ("cifar100", "conv"): "predecessor",
}

#: Lies in a run directory where the images were made, not photographed.
MADE = "made-data"


def read_run(directory: Path) -> list[Curve]:
    """The curves of a run directory: one for each network that has finished a level.

    A curve has the levels that all trials of the network have finished. Raises `RunError` where
    there is no run, no dense real network to measure by, or a damaged file.
    """
    if not (directory / "config.json").exists():
        raise RunError(f"{directory} holds no run: it has no config.json; name a run's directory")
    record = files.read_json(directory / "config.json")
    if not {"options", "first run as"} <= record.keys():
        raise RunError(f"{directory} was run by another version of quatgrad; run it again")
    config, label = record["options"], f"{directory}, preset {record['first run as']['preset']}"
    scaled, made = ", ".join(smaller(config)), (directory / MADE).exists()
    runs = {network: _trials(directory, network) for network in NETWORKS["all"]}
    if not runs["real"]:
        raise RunError(f"{directory} has no real network: 100 % is its dense size; run it first")
    dense = runs["real"][0][0]
    return [
        Curve(config["dataset"], config["model"], network, "ours", label,
              tuple(_point(config["model"], levels, dense)
                    for levels in zip(*trials, strict=False)), scaled, made)
        for network, trials in runs.items() if trials
    ]  # fmt: skip


def smaller(config: dict[str, Any]) -> list[str]:
    """What a run has less of than the published one: width, images, epochs."""
    found = []
    default = models.MODELS[config["model"]][0]
    if config.get("width", default) != default:
        found.append(f"width {config['width']} for {default}")
    if config.get("subset"):
        found.append(f"{config['subset']:,} training images")
    preset = published_preset(config["dataset"], config["model"])
    if preset is not None:
        epochs = resolve({"preset": preset, "model": config["model"]}).epochs
        if config["epochs"] < epochs:
            found.append(f"epochs {config['epochs']} for {epochs}")
    return found


def published_preset(dataset: str, model: str) -> str | None:
    """The preset that trains a network as was published; None where nothing was."""
    return PRESETS.get((dataset, model.split("-")[0].rstrip("0123456789")))


def counted(model: str) -> str:
    """What "% of the dense real network" counts: the predecessor's models with their biases."""
    return "parameters" if model.startswith(("lenet", "conv")) else "weights"


def _trials(directory: Path, network: str) -> list[list[dict[str, Any]]]:
    """The records of each trial that has finished a level, in the order of the trials."""
    folders = sorted(directory.glob("trial*"), key=lambda p: int(p.name.removeprefix("trial")))
    return [records for f in folders if (records := files.read_records(f / network))]


def _point(model: str, levels: tuple[dict[str, Any], ...], dense: dict[str, Any]) -> Point:
    """One level of all trials; counts that differ between trials are averaged too."""
    accuracies = [100 * r["accuracy"] for r in levels]
    mean, n = statistics.fmean(accuracies), len(accuracies)
    half = half_width(statistics.stdev(accuracies), n) if n > 1 else None
    if any(r["costs"] is None for r in levels):
        raise RunError(f"the parameters of this {model} were not counted: it has other layers")
    costs = {k: round(statistics.fmean(r["costs"][k] for r in levels)) for k in levels[0]["costs"]}
    return Point(
        level=levels[0]["level"],
        fraction=levels[0]["weights_left"] / levels[0]["weights_total"],
        x=100 * costs[counted(model)] / dense["costs"][counted(model)],
        accuracy=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        trials=n,
        weights=costs["weights"],
        parameters=costs["parameters"],
        multiply_adds=costs["multiply_adds"],
        bytes=costs["bytes"],
    )
