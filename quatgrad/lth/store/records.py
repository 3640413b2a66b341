"""What stands in the JSON files of a run, typed, and the one reader of them, which checks it.

    config.json      `Config`         what was run
    stage.json       `StageFile`      what a stage is
    network.json     `NetworkFile`    of which network a dense stage is
    record.json      `Record`         what was measured
    checks.json      `Checks`         what was asserted
    ended.json       `Ended`          why a search ended early
    done             name -> SHA-256  of the files of a finished stage
    checkpoint.npz   `Progress`       where a level stands, beside its arrays

A file that was edited, or that an older or newer version wrote otherwise, is one `RunError` with
its name and that of the field.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from quatgrad.data import Dataset
from quatgrad.lth.store import files
from quatgrad.network import About
from quatgrad.task import Classes, task_of
from quatgrad.train import Epoch

T = TypeVar("T")
#: An option or parameter: nothing is nested in it.
Value = str | int | float | bool | None | list[str]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Level = Annotated[int, Meta(ge=0, le=9999)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
#: The name of a folder: no path.
Name = Annotated[str, Meta(pattern=r"^[\w.+-]+$", max_length=200)]

#: The epochs that are reported where images are held out: see search/selection.py.
POINTS = ("last", "best", "early-stop")


def parse(content: bytes, path: Path, kind: type[T]) -> T:
    """JSON as a value of that type; `RunError` names `path` and the field that is wrong."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:  # of JSON and of types; nested too deep
        fault = f"{error!s:.200}".replace("`", "'")  # a field of a file is no option: `with_flags`
        why = f"edited, or written by another version of quatgrad: {fault}"
        raise files.damaged(path, why) from error


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON file; where its keys have other names than its fields, `field(name=...)` says so."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file at `path`; `RunError` if it is missing, damaged or not of this kind."""
        return parse(files.read(path), path, cls)

    def write(self, path: Path) -> None:
        """The file at `path`, whole or not at all."""
        files.write_json(path, self.plain())

    def plain(self) -> dict[str, Any]:
        """As it stands in the file, its keys in order; a tuple is a list there."""
        return json.loads(json.dumps(msgspec.to_builtins(self, order="sorted")))


class FirstRun(Struct, frozen=True, forbid_unknown_fields=True):
    """The preset of a run, and the options that were not the preset's."""

    preset: str
    overrides: dict[str, Value]


class Config(File, frozen=True, kw_only=True):
    """config.json: what was run. `options` are those that change the numbers.

    A `Search` from Python has no `first_run`: it was no command. `images` are those of training,
    `present` the classes that its test images are of, `what` and `score` what its task calls an
    example and its score; earlier versions did not say.
    Without `guessed` it is of no classes, and a guess gets nothing right.
    """

    options: dict[str, Value]
    first_run: FirstRun | None = field(name="first run as", default=None)
    classes: Positive
    images: Positive | None = None
    present: Positive | None = None
    what: str | None = None
    score: str | None = None
    guessed: bool = True

    def __post_init__(self) -> None:
        for name in ("data", "dataset", "model"):
            if not isinstance(self.options.get(name), str):
                raise ValueError(f"Object missing required field `options.{name}`, a text")

    @classmethod
    def of(
        cls, options: dict[str, Value], dataset: Dataset, first_run: FirstRun | None = None
    ) -> Self:
        """The options of a run on this dataset."""
        present = set(dataset.test.labels.tolist()) if dataset.task.by_class else ()
        return cls(
            options=options,
            first_run=first_run,
            classes=dataset.num_classes,
            images=len(dataset.train),
            present=len(present) or None,
            what=dataset.task.what,
            score=dataset.task.score,
            guessed=isinstance(dataset.task, Classes),
        )

    @property
    def task(self) -> str:
        """Which network on which dataset; of a path, its last part."""
        return " on ".join(Path(str(self.options[name])).name for name in ("model", "dataset"))

    @property
    def examples(self) -> str:
        """What examples are called; where it is not on record, the network says it."""
        return self.what or task_of(str(self.options["model"])).what

    @property
    def measure(self) -> str:
        """What the score is called, "accuracy" of classes; likewise."""
        return self.score or task_of(str(self.options["model"])).score

    @property
    def chance(self) -> float:
        """The accuracy of a guess: one over the classes that there are images of."""
        return 1 / (self.present or self.classes) if self.guessed else 0.0


class StageFile(File, frozen=True, kw_only=True):
    """stage.json: kind, parameters, and the names of the stages that it is made from by role."""

    kind: Literal["dense", "level", "control"]
    parameters: dict[str, Value]
    parents: dict[str, Name]

    def __post_init__(self) -> None:
        needed = {"dense", "before"} if self.kind != "dense" else set()
        if not needed <= self.parents.keys() <= needed | {"masks"}:
            raise ValueError(f"`parents` of a {self.kind} stage; got {', '.join(self.parents)}")
        level = self.parameters.get("level", 0)
        if type(level) is not int or not 0 <= level <= 9999 or (level == 0) != (not needed):
            raise ValueError(f"`parameters.level` of a {self.kind} stage; got {level!r}")


class NetworkFile(File, frozen=True, kw_only=True):
    """network.json: digests of images as they are encoded, and of what the network computes."""

    encoded: str
    computes: str


class Ended(File, frozen=True, kw_only=True):
    """ended.json: why a search ended before its last level, after this one."""

    level: Level
    why: str


class CostsRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the pruned network costs: `quatgrad.costs.Costs`."""

    weights: Count
    parameters: Count
    multiply_adds: Count
    activation_bytes: Count
    bytes: Count


class Selected(Struct, frozen=True, forbid_unknown_fields=True):
    """An epoch, from 1, that validation images chose, and what was measured of its network."""

    epoch: Positive
    accuracy: Fraction
    loss: float
    validation_accuracy: Fraction
    validation_loss: float


class Record(File, frozen=True, kw_only=True):
    """record.json: what was measured at a level, and digests of what it was measured on.

    ticket, trained, end: digests of the ticket that it started from, of the state that it was
    trained to, and of that with its masks. made_from: the digests of what its parents ended with.
    components and statistics: of the dense network, c of each weight, and what is a `Buffer`.
    network: of the dense network, what it is and what it sees; earlier versions did not say.
    processes: how many trained it together; sync_norm: with norms over the whole batch.
    checks: what was asserted, in that order. Accuracy and loss are of the test images.
    """

    level: Level
    weights_left: Positive
    weights_total: Positive
    costs: CostsRecord | None
    accuracy: Fraction
    loss: float
    validation_accuracy: Fraction | None = None
    validation_loss: float | None = None
    selection: dict[str, Selected] | None = field(name="points", default=None)
    train_accuracy: Fraction
    train_loss: float
    backend: str
    precision: str
    processes: Positive = 1
    sync_norm: bool = False
    version: str
    ticket: str
    trained: str
    end: str
    made_from: dict[str, str] = field(name="made from")
    epochs: Annotated[list[Epoch], Meta(min_length=1)]
    checks: list[str]
    seconds: float
    components: dict[str, Positive] | None = None
    statistics: list[str] | None = None
    network: About | None = None

    def __post_init__(self) -> None:
        if self.weights_left > self.weights_total:
            raise ValueError("`weights_left` is more than `weights_total`")
        if self.selection is not None and self.selection.keys() != set(POINTS):
            raise ValueError(f"`points` are {', '.join(POINTS)}")
        if self.level == 0 and (self.components is None or self.statistics is None):
            raise ValueError("Object missing required field `components` or `statistics`")
        if not {*(self.components or {}).values()} <= {1, 4}:
            raise ValueError("`components` are 1 or 4")

    @property
    def density(self) -> float:
        """The share of the weights that is left."""
        return self.weights_left / self.weights_total

    @property
    def steering_accuracy(self) -> float:
        """The accuracy that may end a search: of validation images, where there are any."""
        return self.accuracy if self.validation_accuracy is None else self.validation_accuracy

    def plain(self) -> dict[str, Any]:
        """As it stands in the file; what was not measured in an epoch is not there."""
        plain = File.plain(self)
        plain["epochs"] = [
            {name: value for name, value in epoch.items() if value is not None}
            for epoch in plain["epochs"]
        ]
        return plain


class Checks(File, frozen=True, kw_only=True):
    """checks.json: what was asserted at the start, at each checkpoint, at the end: how often."""

    start: dict[str, Count]
    checkpoint: dict[str, Count]
    end: dict[str, Count]
    meaning: dict[str, str]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The epoch in progress: batches so far, their sums of losses and right answers, seconds.

    A sum that is no number, in a training that diverges, is null.
    """

    batches: Count
    sums: list[float | None]
    seconds: float


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint tells beside its arrays; `start` is the digest of the ticket.

    Checkpoints of old versions do not say by which backend and in which precision they were made.
    """

    start: str
    epochs: list[Epoch]
    part: Part
    checks: dict[str, Count]
    backend: str = ""
    precision: str = ""
    processes: Positive = 1
