"""The options of the command: what they mean, their presets, and which of them name a run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from quatgrad import data, models
from quatgrad.errors import OptionError, unknown
from quatgrad.lth.search.protocol import METHODS, Protocol
from quatgrad.lth.ticket.controls import FROM_ANOTHER_SEED
from quatgrad.train import Recipe

PRESETS = tuple(
    sorted(
        p.name[:-5]
        for p in files("quatgrad.lth.experiment").joinpath("presets").iterdir()
        if p.name.endswith(".toml")
    )
)

#: What `--algebra` may be -> the networks to run. half: a real one of half the width. Between
#: layers that are both halved it has a quarter of the weights, as the quaternion network has.
NETWORKS = {
    "real": ("real",),
    "quaternion": ("quaternion",),
    "half": ("half",),
    "both": ("real", "quaternion"),
    "all": ("real", "quaternion", "half"),
}
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
    validation: float = 0.0
    encoder: str | None = None
    real_encoder: str | None = None
    statistics: str | None = None
    algebra: str = "both"
    init: str = "he"
    real_head: bool = False
    seed: int = 0
    seed_init: int | None = None
    seed_order: int | None = None
    seed_augment: int | None = None
    seed_prune: int | None = None
    trials: int = 1
    stop_below: float = 0.2
    score: str = "magnitude"
    granularity: str = "weight"
    scope: str = "layer"
    exclude: str = ""
    keep_of: str = ""
    prune_from: str = "last"
    rounds: int = 1
    rewind: str = "start"
    late: int = 0
    rate: str = "again"
    memory: str = "new"
    order: str = "same"
    masks: str = "retrained"
    control: tuple[str, ...] = ()
    precision: str = "float32"
    backend: str = "numba"
    out: str = "runs"
    plot: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise OptionError(f"--width is at least 1; got {self.width}")
        if not 0 <= self.validation < 1:
            raise OptionError(
                "--validation is the share of the training images that is held out, "
                f"from 0 to less than 1; got {self.validation}"
            )
        if self.trials < 1:
            raise OptionError(
                f"--trials is how often a run is repeated, at least 1; got {self.trials}"
            )
        for control in FROM_ANOTHER_SEED:
            if control in self.control and self.trials == 1:
                raise OptionError(
                    f"--control {control} takes the masks of another trial: give --trials 2 or more"
                )
        if self.plot is not None:
            path = Path(self.plot)
            if path.suffix.lower() not in (".png", ".svg") or path.is_dir():
                raise OptionError(f"--plot names a .png or .svg file; got {self.plot!r}")

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks to run, in order."""
        return NETWORKS[self.algebra]

    @property
    def own_seeds(self) -> dict[str, int]:
        """The seeds of init, order, augment and prune that are not the trial's."""
        known = {p: getattr(self, f"seed_{p}") for p in ("init", "order", "augment", "prune")}
        return {purpose: seed for purpose, seed in known.items() if seed is not None}

    def recipe(self) -> Recipe:
        """How each level is trained."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})

    def protocol(self) -> Protocol:
        """How it is pruned and rewound."""
        shared = {f.name: getattr(self, f.name) for f in fields(Protocol) if f.name != "floor"}
        return Protocol(**shared, floor=self.stop_below)

    def encoder_of(self, network: str) -> str | None:
        """The encoder of the images that a network sees."""
        real = self.real_encoder if network != "quaternion" else None
        return real or ("rgb" if self.encoder == "learned" else self.encoder)

    def width_of(self, network: str) -> int:
        """How wide a network is."""
        width = self.width or models.MODELS[self.model][0]
        return width // 2 if network == "half" else width

    def what(self, network: str) -> dict[str, Any]:
        """What a network is and how it sees the images: its part of the keys of its stages."""
        algebra = "real" if network == "half" else network
        optional = {
            "encoder": self.encoder_of(network),
            "learned_encoder": self.encoder == "learned",
            "statistics": self.statistics,
            "real_head": self.real_head,
            "init": self.init if self.init != "he" else None,
        }
        width = self.width_of(network)
        known = {"dataset": self.dataset, "model": self.model, "algebra": algebra, "width": width}
        return known | {name: value for name, value in optional.items() if value}

    def config(self, images: str) -> dict[str, Any]:
        """The options that change the numbers of a run, and the fingerprint of the data.

        More levels, more trials or another network continue the same run; where and how fast it
        is computed is not part of what it is. Options at their default are left out, so that a
        new option does not move old runs.
        """
        elsewhere = ("levels", "trials", "algebra", "control", "stop_below", "backend", "out",
                     "plot", "quiet", "data_dir", "preset")  # fmt: skip
        chosen = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in elsewhere and getattr(self, f.name) != f.default
        }
        return chosen | {"data": images}


def resolve(given: dict[str, Any]) -> Options:
    """Options from those given on the command line, over the preset's, over the defaults.

    Without a preset, it is the dataset's: `digits`, or `cifar` for CIFAR-10 and CIFAR-100. A
    preset may say more for one network, in a table [models.NAME]. A method, one of `METHODS`,
    stands between the two.
    """
    name = given.get("preset") or _default_preset(given.get("dataset", "digits"))
    if name not in PRESETS:
        raise OptionError(unknown("preset", name, PRESETS))
    text = files("quatgrad.lth.experiment").joinpath("presets", f"{name}.toml").read_text("utf-8")
    preset = tomllib.loads(text)
    of_models = preset.pop("models", {})
    model = given.get("model", preset["model"])
    return Options(**(preset | of_models.get(model, {}) | spelled_out(given) | {"preset": name}))


def spelled_out(given: dict[str, Any]) -> dict[str, Any]:
    """Options given, with those of their method below them and not its name."""
    method = METHODS[given["method"]] if "method" in given else {}
    return method | {name: value for name, value in given.items() if name != "method"}


def overrides(options: Options) -> dict[str, Any]:
    """The options that differ from those of the preset for this network."""
    plain = resolve({"preset": options.preset, "model": options.model})
    return {
        f.name: getattr(options, f.name)
        for f in fields(options)
        if getattr(options, f.name) != getattr(plain, f.name)
    }


def _default_preset(dataset: str) -> str:
    return {"cifar10": "cifar", "cifar100": "cifar", "mnist": "predecessor"}.get(dataset, "digits")
