"""The file of a study: how many trials, what is fixed, and what is varied.

    [tune]
    trials = 16                 # of each network
    sampler = "random"          # or tpe, grid

    [options]                   # of the command: fixed
    preset = "digits"
    validation = 0.2

    [space]                     # of the command: varied
    lr = { low = 0.01, high = 1.0, log = true }
    init = ["he", "xavier"]

Every network gets this space, these trials and these epochs.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from quatgrad.errors import OptionError, brief
from quatgrad.lth.experiment.options import Options, resolve
from quatgrad.lth.experiment.several import check_not_shared
from quatgrad.option_fields import check_values, leaves, option, typed

#: These are no part of a run's name, and yet of what a trial trains.
ALSO = ("levels", "stop_accuracy")
#: What a study is about or spends: it is the same in all its trials.
FIXED = ("algebra", "dataset", "epochs", "levels", "preset", "seed", "subset", "validation")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole ones if both are; a grid takes `num` of them."""

    low: float
    high: float
    log: bool = False
    num: int = 0

    def __post_init__(self) -> None:
        numbers = all(type(x) in (int, float) and math.isfinite(x) for x in (self.low, self.high))
        numbers = numbers and type(self.num) is int and type(self.log) is bool
        if not numbers or not self.low < self.high or (self.log and self.low <= 0):
            raise OptionError(
                "a range is { low = ..., high = ... } with low below high, and above 0 if "
                f"log = true, and for a grid num = ...; got {self}"
            )

    @property
    def whole(self) -> bool:
        """Are these whole numbers?"""
        return type(self.low) is int and type(self.high) is int

    @property
    def values(self) -> list[Any]:
        """Those that a grid takes: at equal distances, or at equal ratios."""
        if self.num < 2:
            raise OptionError("a grid needs lists, or ranges with num = 2 or more values")
        spaced = (np.geomspace if self.log else np.linspace)(self.low, self.high, self.num)
        return [round(x) if self.whole else float(x) for x in spaced]


#: name of an option -> its values
Space: TypeAlias = Mapping[str, Range | tuple[Any, ...]]


@dataclass(frozen=True)
class TuneOptions:
    """How a study goes."""

    trials: int = option(
        "settings to try, of each network; a grid: all of it", 16, bounds=(1, 10**5)
    )
    sampler: str = option(
        "random: the same draws for each network. tpe: where good ones were (Bergstra et al. "
        "2011). grid: all combinations",
        choices=("random", "tpe", "grid"),
    )
    pruner: str = option(
        "end a hopeless trial early: below the median of the others at that epoch, or by "
        "successive halving (ASHA, arXiv:1810.05934). none: all spend the same epochs",
        choices=("none", "median", "asha"),
    )
    storage: str = option(
        "where trials are kept: a journal, which shared disks can bear, or a database",
        choices=("journal", "sqlite"),
    )
    seed: int = option("seed of the draws", 0, bounds=(0, 2**32 - 1))

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class StudyFile:
    """A file as above, read and checked. `fixed` and `space` are by name of option."""

    name: str
    how: TuneOptions
    fixed: Mapping[str, Any]
    space: Space

    def options(self, network: str, chosen: Mapping[str, Any]) -> Options:
        """The options of the command for one network with settings of the space."""
        given = {**self.fixed, **chosen, "algebra": network, "quiet": True}
        options = resolve(given)
        check_not_shared(options, "tune")
        if options.run.trials != 1:
            raise OptionError(
                "a trial of a study is one training: leave `trials` out of [options]; that of "
                "[tune] says how many there are, and --seeds of final how many seeds"
            )
        return options

    def check(self, network: str) -> None:
        """Raise for options that this network cannot have."""
        self.options(network, {})
        for name, value in _each(self.space):
            self.options(network, {name: value})

    def check_not_varied(self, given: Mapping[str, Any]) -> None:
        """Raise for an option of a command that the space varies."""
        for name in self.space:
            if name in given:
                raise OptionError(
                    f"`{name}` is varied by the [space] of this study; leave it out of the "
                    "command, or give another file"
                )

    @property
    def grid(self) -> list[dict[str, Any]]:
        """All combinations, in order; the last option of the file varies fastest."""
        values = [s.values if isinstance(s, Range) else s for s in self.space.values()]
        return [dict(zip(self.space, chosen, strict=True)) for chosen in product(*values)]

    @property
    def trials(self) -> int:
        """How many settings each network gets."""
        return len(self.grid) if self.how.sampler == "grid" else self.how.trials

    def with_trials(self, trials: int) -> "StudyFile":
        """The same with so many trials; of a grid, itself."""
        return replace(self, how=replace(self.how, trials=trials))

    def plain(self) -> dict[str, Any]:
        """What identifies the study, for its key: not how long it goes on, or where it is kept."""
        space = {
            name: [s.low, s.high, s.log, s.num] if isinstance(s, Range) else list(s)
            for name, s in self.space.items()
        }
        how = {"sampler": self.how.sampler, "pruner": self.how.pruner, "seed": self.how.seed}
        return {"how": how, "space": space}


def read(path: Path, given: Mapping[str, Any], **how: Any) -> StudyFile:
    """The file at `path`; options of the command that are given win, and `how` that is not None.

    Raises `OptionError` for a file that is none, and for a range that cannot be; see
    `StudyFile.check` for the options.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} is no TOML file of a study: {error}") from error
    known = {"tune", "options", "space"}
    tables = all(isinstance(table, dict) for table in content.values())
    if not content.keys() <= known or not tables or not content.get("space"):
        raise OptionError(
            f"{path} has tables [tune], [options] and [space], of which the last says what is "
            f"varied; got {', '.join(map(_table, content.items())) or 'nothing'}"
        )
    tune = content.get("tune", {}) | {k: v for k, v in how.items() if v is not None}
    space = {name: _values(path, name, values) for name, values in content["space"].items()}
    fixed = content.get("options", {}) | given
    found = StudyFile(path.stem, typed(TuneOptions, tune), fixed, space)
    found.check_not_varied(given)
    if found.how.sampler == "grid":
        _ = found.grid
    return found


def _table(item: tuple[str, Any]) -> str:
    """What a file has at its top, for a message."""
    name, value = item
    return f"[{name}]" if isinstance(value, dict) else f"{name} = {brief(value)}"


def _values(path: Path, name: str, values: Any) -> Range | tuple[Any, ...]:
    kinds = {f.name: f for f in leaves(Options)}
    f = kinds.get(name)
    if f is None or name in FIXED or not f.metadata.get("names", True):
        raise OptionError(
            f"{path}: [space] varies options of the command that change a network or its "
            f"training, and not {', '.join(FIXED)}; got {name!r}"
        )
    if isinstance(values, list) and values and not any(isinstance(v, list | dict) for v in values):
        return tuple(values)
    if isinstance(values, dict) and {"low", "high"} <= values.keys() <= {
        "low",
        "high",
        "log",
        "num",
    }:
        return Range(**values)
    raise OptionError(
        f"{path}: {name} is a list of values or {{ low = 0.1, high = 1.0, log = true }}; "
        f"got {values!r}"
    )


def _each(space: Space) -> Iterator[tuple[str, Any]]:
    """Every option with each of its values, or the ends of their range."""
    for name, values in space.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            yield name, value


def changing() -> dict[str, Field[Any]]:
    """The options by name that change what comes out."""
    return {f.name: f for f in leaves(Options) if f.metadata.get("names", True) or f.name in ALSO}


def short(value: Any) -> str:
    """A value of an option, for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
