"""The options of the command: what they mean, their presets, and which of them name a run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from quatgrad import data
from quatgrad.errors import OptionError
from quatgrad.train import Recipe

PRESETS = tuple(
    sorted(p.name[:-5] for p in files("quatgrad.lth").joinpath("presets").iterdir()
           if p.name.endswith(".toml"))
)  # fmt: skip
ALGEBRAS = ("real", "quaternion")
ENCODERS = (*data.ENCODERS, "learned")


@dataclass(frozen=True)
class Options:
    """Everything that a run depends on, after presets and defaults."""

    dataset: str
    model: str
    levels: int
    keep: float
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    schedule: str
    warmup: float
    momentum: float
    weight_decay: float
    preset: str
    width: int | None = None
    data_dir: str | None = None
    subset: int | None = None
    encoder: str | None = None
    algebra: str = "both"
    init: str = "he"
    seed: int = 0
    stop_below: float = 0.2
    backend: str = "numba"
    out: str = "runs"
    plot: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise OptionError(
                f"--keep is the share of weights that survives each level, between 0 and 1 "
                f"(0.7 removes 30 %); got {self.keep}"
            )
        if self.levels < 0:
            raise OptionError(f"--levels is the number of prunings, at least 0; got {self.levels}")
        if not 0 <= self.stop_below <= 1:
            raise OptionError(f"--stop-below is an accuracy from 0 to 1; got {self.stop_below}")
        if self.width is not None and self.width < 1:
            raise OptionError(f"--width is at least 1; got {self.width}")
        if self.plot is not None:
            path = Path(self.plot)
            if path.suffix.lower() not in (".png", ".svg") or path.is_dir():
                raise OptionError(f"--plot names a .png or .svg file; got {self.plot!r}")

    @property
    def algebras(self) -> tuple[str, ...]:
        """The networks to run, in order."""
        return ALGEBRAS if self.algebra == "both" else (self.algebra,)

    def recipe(self) -> Recipe:
        """How each level is trained."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe) if f.name in _NAMES})

    def config(self, images: str) -> dict[str, Any]:
        """The options that change the numbers of a run, and a digest of the data.

        More levels, or the other algebra, continue the same run; where and how fast it is
        computed is not part of what it is.
        """
        elsewhere = ("levels", "algebra", "stop_below", "backend", "out", "plot", "quiet",
                     "data_dir", "preset")  # fmt: skip
        config = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in elsewhere}
        return config | {"data": images}


_NAMES = {f.name for f in fields(Options)}


def resolve(given: dict[str, Any]) -> Options:
    """Options from those given on the command line, over the preset's, over the defaults.

    Without a preset, it is the dataset's: `digits`, or `cifar` for CIFAR-10 and CIFAR-100.
    """
    name = given.get("preset") or _default_preset(given.get("dataset", "digits"))
    if name not in PRESETS:
        raise OptionError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    text = files("quatgrad.lth").joinpath("presets", f"{name}.toml").read_text()
    return Options(**(tomllib.loads(text) | given | {"preset": name}))


def _default_preset(dataset: str) -> str:
    return "cifar" if dataset.startswith("cifar") else "digits"
