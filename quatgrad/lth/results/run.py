"""A run directory, read: its options, and the records of each trial and network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from quatgrad.errors import RunError
from quatgrad.lth.results.compare import Curves, Trial, mean
from quatgrad.lth.results.plot import LINES, SHAM_STYLE, STYLE, figure
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Config, Record
from quatgrad.lth.store.stage import read_records

#: Every network and its controls, in the order of pictures.
NAMES = tuple(
    network + control
    for control in ("", *(f"-{c}" for c in LINES))
    for network in (*STYLE, *SHAM_STYLE)
)


@dataclass(frozen=True)
class Run:
    """The run in a directory. Its files are read when they are needed, once."""

    path: Path

    @cached_property
    def config(self) -> Config:
        """What was run; `RunError` if there is no run, or config.json is damaged."""
        path = self.path / "config.json"
        if not files.exists(path):
            raise RunError(
                f"{self.path} holds no run: it has no config.json; name a run's directory"
            )
        return Config.read(path)

    @cached_property
    def of_search(self) -> bool:
        """Is it the directory of one `Search`, with neither trials nor several networks?

        A run whose config.json cannot be read is not.
        """
        try:
            return self.config.first_run is None
        except RunError:
            return False

    def search_path(self, trial: int, name: str) -> Path:
        """Where the search of a network, or of its control, is."""
        return self.path if self.of_search else self.path / f"trial{trial}" / name

    def records(self, trial: int) -> Trial:
        """What a trial has on record, network by network, in the order of pictures."""
        if self.of_search:
            records = read_records(self.path)
            return {_algebra(records[0]): records} if records and not trial else {}
        found = {name: read_records(self.search_path(trial, name)) for name in NAMES}
        return {name: records for name, records in found.items() if records}

    @cached_property
    def trials(self) -> dict[int, Trial]:
        """The trials that have finished a level, by their number."""
        if self.of_search:
            return {0: records} if (records := self.records(0)) else {}
        folders = (p.name.removeprefix("trial") for p in self.path.glob("trial*"))
        numbers = sorted(int(n) for n in folders if n.isascii() and n.isdigit() and len(n) < 10)
        return {n: records for n in numbers if (records := self.records(n))}

    @property
    def curves(self) -> Curves:
        """The networks, each the mean of its trials."""
        return mean([*self.trials.values()])

    @cached_property
    def setting(self) -> str:
        """How large the training was, as far as it is on record: width, examples, epochs."""
        options, count = self.config.options, self.config.images
        width = options.get("width")
        for record in self.measured if width is None else ():
            made = record.network and record.network.architecture
            if record.level == 0 and made and "width" in made:  # half's is half of the others'
                width = max(width or 0, made["width"])
        epochs = options.get("epochs")
        return ", ".join(
            [f"width {width}"] * (width is not None)
            + ([f"{count:,} training {self.config.examples}"] if count else [])
            + [f"{epochs} epochs a level"] * (epochs is not None)
        )

    @property
    def about(self) -> str:
        """Network, dataset and setting."""
        return ", ".join(part for part in (self.config.task, self.setting) if part)

    def picture(self, curves: Curves) -> Figure:
        """Score against weights left, with what was run, n, and what the band is."""
        caption = "; ".join(part for part in (self.setting, seeds(curves)) if part)
        title, config = f"{self.config.task}: lottery tickets", self.config
        return figure(curves, title, config.chance, caption, config.measure)

    @property
    def finished_at(self) -> datetime | None:
        """When its last level was finished, by the clock of the disk; None if none is."""
        done = [(p / files.DONE).stat().st_mtime for p in self.links if files.is_final(p)]
        return datetime.fromtimestamp(max(done)) if done else None

    @property
    def measured(self) -> list[Record]:
        """The records of all its trials and networks."""
        return [r for trial in self.trials.values() for levels in trial.values() for r in levels]

    @property
    def links(self) -> list[Path]:
        """Its links to stages, those of first passes too."""
        folder = "" if self.of_search else "trial*/*/"
        patterns = (f"{folder}level_*", f"{folder}finetuned/level_*")
        return sorted(p for pattern in patterns for p in self.path.glob(pattern) if p.is_symlink())

    @property
    def unfinished(self) -> list[str]:
        """The names of its stages in training."""
        return [p.resolve().name for p in self.links if not files.is_final(p)]


def seeds(curves: Curves, mark: str = "band") -> str:
    """ "3 seeds, band: 95 % interval of the mean"; `mark`: how the picture shows it."""
    counts = sorted({level.trials for levels in curves.values() for level in levels})
    text = " to ".join(map(str, counts[:: max(len(counts) - 1, 1)]))
    several = any(x.interval is not None for levels in curves.values() for x in levels)
    return f"{text} seed{'s' * (counts != [1])}" + several * f", {mark}: 95 % interval of the mean"


def _algebra(dense: Record) -> str:
    """ "quaternion", if any weight has four components."""
    return "quaternion" if 4 in (dense.components or {}).values() else "real"
