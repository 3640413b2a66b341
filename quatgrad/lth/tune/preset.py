"""The best settings as a preset: what all networks share, and a table for each of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatgrad.lth.experiment.options import Options
from quatgrad.lth.tune.space import StudyFile
from quatgrad.option_fields import leaves, values

#: They are no part of a preset: where and how often it is run.
NOT_IN_PRESETS = ("algebra", "preset", "seed")
#: These change no name, and yet what is trained.
ALSO = ("levels", "stop_accuracy")


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
        if all(of.get(name) == value for of in settings.values())
    }
    default = "quaternion" if "quaternion" in settings else next(iter(settings))
    lines = [
        f"# The best settings of the study {study}: each network has had as many trials in the",
        "# same space, and validation data chose. Give --algebra: each network has its own.",
        *_lines(shared),
        f'algebra = "{default}"',
    ]
    for network, of in settings.items():
        own = {name: value for name, value in of.items() if name not in shared}
        lines += ["", f"[algebras.{network}]", *_lines(own)]
    return "\n".join(lines) + "\n"


def _settings(options: Options) -> dict[str, Any]:
    """The options that are not at their default, or have none."""
    found = values(options)
    return {
        f.name: found[f.name]
        for f in leaves(Options)
        if found[f.name] != f.default
        and found[f.name] is not None
        and f.name not in NOT_IN_PRESETS
        and (f.metadata.get("names", True) or f.name in ALSO)
    }


def _lines(options: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in options.items()]
