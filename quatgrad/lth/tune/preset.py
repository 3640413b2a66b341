"""The best settings as a preset: what all networks share, and a table for each of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatgrad.lth.experiment.options import Options
from quatgrad.lth.tune.space import StudyFile, changing
from quatgrad.option_fields import values

#: They are no part of a preset: where and how often it is run.
NOT_IN_PRESETS = ("algebra", "preset", "seed")


def write(directory: Path, file: StudyFile, best: Mapping[str, Mapping[str, Any]]) -> Path:
    """tuned-DATASET.toml in the directory, of the best settings of each network."""
    options = {network: file.options(network, chosen) for network, chosen in best.items()}
    (dataset,) = {o.data.dataset for o in options.values()}
    path = directory / f"tuned-{Path(dataset).stem}.toml"
    path.write_text(text(directory.name, {n: _settings(o) for n, o in options.items()}), "utf-8")
    return path


def text(study: str, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The file: options that all networks share, then a table of the others for each network."""
    first = next(iter(settings.values()))
    shared = {
        name: value
        for name, value in first.items()
        if name == "model" or all(of.get(name) == value for of in settings.values())
    }
    default = "quaternion" if "quaternion" in settings else next(iter(settings))
    lines = [
        f"# The best settings of the study {study}: each network has had as many trials in the",
        "# same space, and validation data chose. Give --algebra: each network has its own.",
        *_lines(shared),
        f'algebra = "{default}"',
    ]
    for network, of in settings.items():
        own = {name: value for name, value in of.items() if shared.get(name) != value}
        lines += ["", f"[algebras.{network}]", *_lines(own)]
    return "\n".join(lines) + "\n"


def _settings(options: Options) -> dict[str, Any]:
    """The options that are not at their default, or have none."""
    found = values(options)
    return {
        name: found[name]
        for name, f in changing().items()
        if name not in NOT_IN_PRESETS and found[name] is not None and found[name] != f.default
    }


def _lines(options: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in options.items()]
