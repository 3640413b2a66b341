"""The options of the command: what they mean, their presets, and which of them name a run."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from quatgrad import data, models
from quatgrad.backend import BACKENDS, PRECISIONS
from quatgrad.errors import OptionError, unknown
from quatgrad.lth.search.protocol import METHODS, Protocol
from quatgrad.lth.store import epoch_log
from quatgrad.lth.store.files import folder_name
from quatgrad.lth.ticket.controls import CONTROLS, FROM_ANOTHER_SEED
from quatgrad.models.algebra import Style
from quatgrad.nn.init import INITIALISERS
from quatgrad.option_fields import check_values, non_default, on_disk, option, typed
from quatgrad.parallel.start import KINDS
from quatgrad.sham import SHAMS
from quatgrad.train import Recipe

PRESET_FOLDER = files("quatgrad.lth.experiment").joinpath("presets")
PRESETS = tuple(sorted(p.name[:-5] for p in PRESET_FOLDER.iterdir() if p.name.endswith(".toml")))

#: A word of `--algebra` -> the networks to run. half: a real one of half the width. Between
#: layers that are both halved it has a quarter of the weights, as the quaternion network has.
#: equal: a real one of the width that brings its weights nearest to the quaternion one's.
#: A sham algebra shares weights as quaternions do, without their product: a control.
#: with-equal is what commands on record call all.
NETWORKS = {
    "real": ("real",),
    "quaternion": ("quaternion",),
    "half": ("half",),
    "equal": ("equal",),
    "both": ("real", "quaternion"),
    "all": ("real", "quaternion", "equal"),
    "with-equal": ("real", "quaternion", "equal"),
    **{name: (name,) for name in SHAMS},
    "shams": ("quaternion", *SHAMS),
}
#: What runs real layers.
REAL = ("real", "half", "equal")
#: Options of the recipe that the first version had, and named in every run.
RECIPE = (
    "epochs", "batch_size", "lr", "optimizer", "schedule", "warmup", "momentum", "weight_decay",
)  # fmt: skip
ENCODERS = (*data.ENCODERS, "learned")
#: dataset -> its preset; of others, digits
DEFAULT_PRESETS = {
    "cifar10": "cifar", "cifar100": "cifar", "mnist": "predecessor", "natops": "natops",
    "citizens": "shakespeare", "shakespeare": "shakespeare",
    "sst2": "sst2", "trec": "trec", "fsdd": "spoken-digits", "fsdd-speakers": "spoken-digits",
    "cora": "cora", "cora-80": "cora", "citeseer": "cora",
    "bccd": "bccd", "discs": "bccd", "broad": "broad",
}  # fmt: skip


def networks_of(names: str) -> tuple[str, ...]:
    """ "real,half" or "both" -> the networks, in that order; `OptionError` for another word."""
    for name in names.split(","):
        if name not in NETWORKS:
            raise OptionError(unknown("algebra", name, NETWORKS))
    return tuple(dict.fromkeys(n for name in names.split(",") for n in NETWORKS[name]))


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how a network sees them."""

    dataset: str = option(
        f"{', '.join(data.DATASETS)}; or a path to data of your own: a folder with a folder of "
        "pictures for each class, perhaps in train/ and test/; an .npz file of X and y, perhaps "
        "X_test and y_test; files in the form of MNIST's or CIFAR's"
    )
    data_dir: str | None = option(
        "where the dataset is (else $QUATGRAD_DATA)", None, metavar="DIR", names=False
    )
    subset: int | None = option("train on N examples, evenly over the classes", None)
    validation: float = option(
        "hold out this share of the training data, evenly over the classes. Each level then "
        "reports three epochs: the last, and those of best accuracy and lowest loss on these "
        "data (early stopping). Test data are used for these alone. Without, test accuracy "
        "is measured after each epoch, and nothing but `stop_accuracy` uses it",
        0.0,
    )
    encoder: str | None = option("pixels to quaternions", None, choices=ENCODERS, metavar="NAME")
    real_encoder: str | None = option(
        "the encoder of real networks, where it differs",
        None,
        choices=tuple(data.ENCODERS),
        metavar="NAME",
    )
    statistics: str | None = option(
        "mean and deviation of the colours, where not the dataset's own",
        None,
        choices=tuple(data.STATISTICS),
        metavar="NAME",
    )
    image_size: int | None = option(
        "resize pictures of your own to N x N pixels", None, metavar="N", bounds=(1, 4096)
    )
    test_share: float | None = option(
        "of data of your own without test data, this share of each class is for testing "
        "(default: 0.2)",
        None,
    )

    def __post_init__(self) -> None:
        check_values(self)
        if not 0 <= self.validation < 1:
            raise OptionError(
                "`validation` is the share of the training data that is held out, "
                f"from 0 to less than 1; got {self.validation}"
            )

    def encoder_of(self, network: str) -> str | None:
        """The encoder of the images that a network sees."""
        real = self.real_encoder if network in REAL else None
        return real or ("rgb" if self.encoder == "learned" else self.encoder)


#: Networks that have no batch norms: with them, several processes compute what one computes.
WITHOUT_NORMS = (
    "lenet-300-100",
    "lenet-12",
    "conv-2",
    "conv-4",
    "conv-6",
    "gru",
    "lstm",
    "bilstm",
    "attitude",
)


@dataclass(frozen=True)
class ModelOptions:
    """Which networks."""

    model: str = option(
        f"of images {', '.join(models.MODELS)}; of series, texts, sentences, graphs or boxes "
        f"{', '.join(models.SEQUENCES)}; to check a comparison {', '.join(models.CONTROLS)}; or "
        "FILE.py:NAME, a function of your own (algebra, num_classes, input_shape, rng) -> Module"
    )
    width: int | None = option("channels of the first stage", None, bounds=(1, 2**14))
    algebra: str = option(
        "real; quaternion; half: a real network of half the width; equal: a real network as wide "
        "as gives it the quaternion one's weights; several of these with commas between; both: "
        "real,quaternion; all: real,quaternion,equal (with-equal: the same); shams: quaternion, "
        f"and controls that share weights by another product, {','.join(SHAMS)}",
        "both",
        metavar="A,B,...",
        names=False,
    )
    init: str = option(
        "first weights; xavier: as the paper", "he", choices=sorted(INITIALISERS["quaternion"])
    )
    real_head: bool = option("the last layer is real even where 4 divides the classes", False)
    style: Style = field(default_factory=Style)

    def __post_init__(self) -> None:
        check_values(self)
        models.check_name(self.model)
        others = [name for name in self.networks if name not in ("real", "quaternion")]
        if self.own and others:
            raise OptionError(
                f"`algebra` {self.algebra} asks for {self.model} as {others[0]}, with another "
                "width or product, and that network of yours knows none: choose real, quaternion "
                "or both"
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks to run, in order."""
        return networks_of(self.algebra)

    @property
    def own(self) -> bool:
        """Is it a network of the user's?"""
        return self.model not in models.NAMED

    def width_of(self, network: str) -> int | None:
        """How wide a network is; None for one of the user's, which knows it."""
        if self.own:
            return self.width
        width = self.width or models.NAMED[self.model][0]
        return width // 2 if network == "half" else width


SEEDS = (0, 2**63 - 1)
SEED = "random seed of {}, the same in all trials (default: the trial's)"


@dataclass(frozen=True)
class RunOptions:
    """What is repeated and compared, and where it is computed."""

    seed: int = option("random seed", 0, bounds=SEEDS)
    seed_init: int | None = option(SEED.format("the first weights"), None, bounds=SEEDS)
    seed_order: int | None = option(SEED.format("the order of the data"), None, bounds=SEEDS)
    seed_augment: int | None = option(
        SEED.format("how images are moved and mirrored"), None, bounds=SEEDS
    )
    seed_prune: int | None = option(
        SEED.format("random scores, the examples of a sensitivity, and shuffled masks"),
        None,
        bounds=SEEDS,
    )
    trials: int = option("repeat with seed, seed + 1, ...", 1, bounds=(1, 10**4), names=False)
    control: tuple[str, ...] = option(
        "also train the masks over other weights, shuffled (whole: quaternions as they are), or "
        "over signs alone; transplanted: the masks of another trial; may be repeated",
        (),
        choices=CONTROLS,
        names=False,
    )
    backend: str = option("what computes", "numba", choices=BACKENDS, names=False)
    precision: str = option("of products on a GPU with cuDNN", "float32", choices=PRECISIONS)
    parallel: str | None = option(
        "the processes that mpirun has started train each network together: over MPI on CPUs, "
        "over NCCL with a GPU for each",
        None,
        choices=KINDS,
        names=False,
    )
    sync_norm: bool = option(
        "batch norms have the statistics of the whole batch; otherwise of the share of each "
        "process by itself",
        False,
        names=False,
    )
    processes: int = option(
        "how many processes share a batch: for plan, and for nccl on one machine without mpirun; "
        "otherwise a run knows by itself",
        1,
        metavar="N",
        bounds=(1, 2**16),
    )
    out: str = option("where runs are stored", "runs", metavar="DIR", names=False)
    plot: str | None = option(
        "write the picture here too (.png or .svg)", None, metavar="FILE", names=False
    )
    log: tuple[str, ...] = option(
        "write each epoch of a level to a table beside the run's levels, or for TensorBoard to the "
        "run's folder tensorboard/ (extra `tensorboard`); may be repeated",
        (),
        choices=epoch_log.WRITERS,
        names=False,
    )
    quiet: bool = option("no progress bars", False, names=False)

    def __post_init__(self) -> None:
        check_values(self)
        for control in self.control:
            if control in FROM_ANOTHER_SEED and self.trials == 1:
                raise OptionError(
                    f"`control` {control} takes the masks of another trial: give `trials` 2 or more"
                )
        if self.sync_norm and not (self.parallel or self.processes > 1):
            raise OptionError("`sync_norm` is for several processes: give `parallel` too")
        if (self.parallel == "nccl") != (self.parallel is not None and self.backend == "cupy"):
            raise OptionError(
                f"`parallel` {self.parallel} with the `backend` {self.backend}: nccl is for cupy, "
                "and mpi for numba and numpy"
            )
        if "tensorboard" in self.log:
            epoch_log.check_tensorboard()
        if self.plot is not None:
            path = Path(self.plot)
            if path.suffix.lower() not in (".png", ".svg") or path.is_dir():
                raise OptionError(f"`plot` names a .png or .svg file; got {self.plot!r}")

    @property
    def own_seeds(self) -> dict[str, int]:
        """The seeds of init, order, augment and prune that are not the trial's."""
        known = {p: getattr(self, f"seed_{p}") for p in ("init", "order", "augment", "prune")}
        return {purpose: seed for purpose, seed in known.items() if seed is not None}


@dataclass(frozen=True)
class Options:
    """Everything that a run depends on, after presets and defaults."""

    data: DataOptions = field(metadata={"title": "which data"})
    model: ModelOptions = field(metadata={"title": "which networks"})
    recipe: Recipe = field(metadata={"title": "how a level is trained (default: the preset's)"})
    protocol: Protocol = field(metadata={"title": "how it is pruned and rewound"})
    run: RunOptions = field(metadata={"title": "what is repeated, and where it is computed"})
    preset: str = option(
        f"{', '.join(PRESETS)} (default: the dataset's); or a file of one, as tune writes it",
        names=False,
    )

    def what(self, network: str) -> dict[str, Any]:
        """What a network is and how it sees the images: its part of the keys of its stages."""
        algebra = "real" if network == "half" else network
        optional = {
            "encoder": self.data.encoder_of(network),
            "learned_encoder": self.data.encoder == "learned",
            "statistics": self.data.statistics,
            "real_head": self.model.real_head,
            "init": self.model.init if self.model.init != "he" else None,
            "source": models.source(self.model.model),
            "processes": self.shares_differ,
            "sync_norm": self.syncs_apart,
        } | self.style(network)
        known = {
            "dataset": self.data.dataset,
            "model": label(self.model.model),
            "algebra": algebra,
            "width": self.model.width_of(network) or 0,
        }
        return known | {name: value for name, value in optional.items() if value}

    @property
    def shares_differ(self) -> int:
        """How many processes there are, if that changes more than rounding; else 0.

        Norms may be of a share by themselves, and dropout always is; a network of the user's may
        have some.
        """
        norms = not self.run.sync_norm and self.model.model not in WITHOUT_NORMS
        drops = self.model.style.dropout > 0 or self.model.own
        differ = self.run.processes > 1 and (norms or drops)
        return self.run.processes if differ else 0

    @property
    def syncs_apart(self) -> bool:
        """Do norms see all shares, where something else differs between them?"""
        synced = self.run.sync_norm and self.model.model not in WITHOUT_NORMS
        return synced and self.shares_differ > 0

    def style(self, network: str) -> dict[str, Any]:
        """What is not usual in the style of a network; what is of quaternions is not of others.

        Which parts are quaternion decides how wide "equal" is.
        """
        style = non_default(self.model.style)
        if network in REAL:
            if network != "equal":
                style.pop("real_parts", None)
            style.pop("norm", None)
            if style.get("activation") == "modrelu":
                del style["activation"]
        return style

    @property
    def source(self) -> dict[str, str]:
        """The digest of the source of a network of one's own, which names a run as well."""
        source = models.source(self.model.model)
        return {"source": source[:12]} if source else {}

    def config(self, images: str) -> dict[str, Any]:
        """The options that change the numbers of a run, and the fingerprint of the data.

        More levels, more trials or another network continue the same run; where and how fast it
        is computed is not part of what it is. Of the recipe `RECIPE` is always named; of the others
        what is not at its default, so that a new option does not move old runs.
        """
        recipe = on_disk(self.recipe)
        named = {name: recipe[name] for name in RECIPE}
        known = non_default(self) | named | {"data": images}
        if not self.shares_differ:  # the numbers are those of one process, up to rounding
            known.pop("processes", None)
        if self.syncs_apart:
            known["sync_norm"] = True
        return known


def label(name: str) -> str:
    """The name of a dataset or model, without the path to it, as part of the name of a folder."""
    name = name.rpartition(":")[2] if models.is_file_spec(name) else Path(name).name
    return folder_name(name)[:60]


def resolve(given: dict[str, Any]) -> Options:
    """Options from those given on the command line, over the preset's, over the defaults."""
    return typed(Options, with_preset(given))


def with_preset(given: dict[str, Any]) -> dict[str, Any]:
    """Options given, by name, and below them those of their preset.

    Without a preset, it is that of `DEFAULT_PRESETS`. A
    preset may say more for one network, in a table [models.NAME] or [algebras.NAME]. A method, one
    of `METHODS`, stands between the two.
    """
    _check_names(given)
    name, preset = _preset(given)
    of_models, of_algebras = preset.pop("models", {}), preset.pop("algebras", {})
    model = given.get("model", preset["model"])
    of_model, of_algebra = of_models.get(model, {}), {}
    if model not in models.MODELS and model != preset["model"]:
        preset.pop("width", None)  # it is of images; another network knows its own
    if of_algebras:
        algebra = given.get("algebra", preset["algebra"])
        if algebra not in of_algebras:
            raise OptionError(
                f"`preset` {given.get('preset', name)} has settings of its own for each network: "
                f"give `algebra`, one of {', '.join(of_algebras)}; got {algebra}"
            )
        of_algebra = of_algebras[algebra]
    return preset | of_model | of_algebra | spelled_out(given) | {"preset": name}


def _check_names(given: Mapping[str, Any]) -> None:
    """Raise `OptionError` unless the options by which others are found are names, or tables."""
    for name in ("dataset", "method", "model", "algebra", "preset"):
        if not isinstance(given.get(name, ""), str):
            raise OptionError(f"`{name}` is a name; got {given[name]!r}")
    for name in ("models", "algebras"):
        table = given.get(name, {})
        if not isinstance(table, dict) or not all(isinstance(t, dict) for t in table.values()):
            raise OptionError(f"`{name}` has a table for each network; got {table!r}")


def _preset(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the preset, and what it says; of a file, the name of its dataset's preset."""
    name = given.get("preset") or _default_preset(given.get("dataset", "digits"))
    if name in PRESETS:
        return name, tomllib.loads(PRESET_FOLDER.joinpath(f"{name}.toml").read_text("utf-8"))
    if not name.endswith(".toml"):
        raise OptionError(unknown("preset", name, PRESETS))
    try:
        preset = tomllib.loads(Path(name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"`preset` {name} is no TOML file of options: {error}") from error
    if not {"dataset", "model", "algebra"} <= preset.keys():
        raise OptionError(f"`preset` {name} says no dataset, model and algebra, which it must")
    _check_names(preset)
    return _default_preset(preset["dataset"]), preset


def spelled_out(given: dict[str, Any]) -> dict[str, Any]:
    """Options given, with those of their method below them and not its name."""
    method: dict[str, Any] = {}
    if "method" in given:
        if given["method"] not in METHODS:
            raise OptionError(unknown("method", given["method"], METHODS))
        method = METHODS[given["method"]]
    return method | {name: value for name, value in given.items() if name != "method"}


def overrides(options: Options) -> dict[str, Any]:
    """By name on disk, the options that differ from those of the preset for this network."""
    model, algebra = options.model.model, options.model.algebra
    plain = on_disk(resolve({"preset": options.preset, "model": model, "algebra": algebra}))
    default = resolve({"preset": options.preset, "model": model}).model.algebra
    own = {} if algebra == default else {"algebra": algebra}
    return own | {name: v for name, v in on_disk(options).items() if v != plain[name]}


def _default_preset(dataset: str) -> str:
    return DEFAULT_PRESETS.get(dataset, "digits")
