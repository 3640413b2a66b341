"""A stage: one network, trained once, in a folder whose name says what was done.

    key = SHA-256 of (kind, parameters, keys of the stages it is made from)

    dense-resnet8-real-5e0c71a2b3d4/
        stage.json       kind, parameters, and the names of the stages it is made from
        start.npz        dense: the state before all training
        network.json     dense: digests of the network and of what it sees: see search/identity.py
        epoch_03.npz     dense: the state after 3 epochs, for a rewind_epoch of 3
        checkpoint.npz   in training: where it stands
        end.npz          masks, and the state they were trained to
        record.json      what was measured
        checks.json      what was checked, when, and how often
        done             the checksums of these; written last: without it a stage is not finished

Equal keys are equal work: the second search that needs a stage finds it finished. Parameters at
their default are not part of a key. So a new option does not change old keys. The backend is not
part of a key either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from quatgrad.errors import RunError
from quatgrad.files import lock, lock_between_hosts, remove_abandoned
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Checks, Record, StageFile, parse
from quatgrad.lth.ticket.ticket import State, Ticket


@dataclass(frozen=True)
class Stage:
    """A stage in `folder`; `parents` are names of stages there, by what they give to this one.

    `label` is part of the folder's name, for readers, and not of the key.
    """

    folder: Path
    kind: str
    parameters: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict)
    label: str = ""

    @staticmethod
    def load(path: Path) -> Stage:
        """The stage at `path`, by its stage.json; `RunError` if its name is not that of it."""
        stored = StageFile.read(path / "stage.json")
        stage = Stage(path.parent, stored.kind, stored.parameters, stored.parents)
        kind = stage.name.removesuffix(stage.key)
        label = path.name.removeprefix(kind).removesuffix(f"-{stage.key}")
        stage = replace(stage, label="" if label == stage.key else label)
        if stage.name != path.name:
            raise files.damaged(path / "stage.json", "it is not that of a stage of this name")
        return stage

    @property
    def file(self) -> StageFile:
        """What its stage.json says."""
        return msgspec.convert(
            {"kind": self.kind, "parameters": self.parameters, "parents": self.parents}, StageFile
        )

    @cached_property
    def key(self) -> str:
        """Twelve hex digits: equal for equal content."""
        keys = {role: name.rpartition("-")[2] for role, name in self.parents.items()}
        return files.content_key([self.kind, self.parameters, keys])[:12]

    @property
    def name(self) -> str:
        """The name of its folder: kind, level, network and key."""
        kind = f"{self.kind}_{self.level:02d}" if self.level else self.kind
        return "-".join(part for part in (kind, self.label, self.key) if part)

    @property
    def level(self) -> int:
        """0 for a dense stage, then 1, 2, ..."""
        return self.parameters.get("level", 0)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder / self.name

    @property
    def done(self) -> bool:
        """Is it finished?"""
        return files.is_final(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works on it during the block; what a killed process left is removed."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make {self.path}: {error.strerror}; choose another `out`"
            ) from error
        with lock(self.path, wait=True):
            remove_abandoned(self.path)
            path = self.path / "stage.json"
            if not path.exists():
                self.file.write(path)
            elif StageFile.read(path) != self.file:
                raise RunError(f"{path} was changed by hand; delete its directory, run again")
            if self.done:
                self.checkpoint.unlink(missing_ok=True)
            yield

    @property
    def checkpoint(self) -> Path:
        """Where it stands, while it is trained."""
        return self.path / "checkpoint.npz"

    def finish(self, end: Ticket, record: Record, checks: Checks) -> None:
        """Write what came out, and last that it is finished."""
        with lock_between_hosts(self.path / ".sealing"):
            if not self.done:  # by another process, where locks lock nothing
                files.save_ticket(self.path / "end.npz", end)
                record.write(self.path / "record.json")
                checks.write(self.path / "checks.json")
                files.finalize(self.path)
        self.checkpoint.unlink(missing_ok=True)

    def parent(self, role: str) -> Path:
        """The folder of the stage that gives it its start, its masks, ..."""
        return self.folder / self.parents[role]

    def record(self) -> Record:
        """What was measured; `RunError` if a parent was run again since, to another end."""
        record = read_record(self.path)
        if record.made_from != self.made_from():
            raise RunError(
                f"{self.path / 'record.json'} was made from stages that have been run again "
                "since, to another end; delete its directory, run again"
            )
        return record

    def made_from(self) -> dict[str, str]:
        """The digests of what its parents ended with."""
        return {role: read_record(self.parent(role)).end for role in self.parents}

    def end(self) -> Ticket:
        """Its masks, and what they were trained to."""
        return read_end(self.path)


def early_path(dense: Path, epochs: int) -> Path:
    """Where a dense stage keeps its network and optimizer as they were after some epochs."""
    return dense / f"epoch_{epochs:02d}.npz"


def read_done(path: Path) -> dict[str, str]:
    """The checksums of the files of the finished stage at `path`, by name."""
    return parse(files.read(path / files.DONE), path / files.DONE, dict[str, str])


def read_record(path: Path) -> Record:
    """What was measured in the stage at `path`; `RunError` if it is damaged or not finished."""
    return parse(*_finished(path / "record.json"), Record)


def read_records(directory: Path) -> list[Record]:
    """The records of the finished levels of a search, in order; none if it has not started."""
    records: list[Record] = []
    while files.is_final(path := files.level_path(directory, len(records))):
        record = read_record(path)
        if record.level != len(records):
            raise files.damaged(path / "record.json", f"its `level` is {record.level}")
        records.append(record)
    return records


def read_start(path: Path) -> State:
    """The state before all training, of the dense stage at `path`; `RunError` as above."""
    return files.parse_arrays(*_finished(path / "start.npz"))


def read_end(path: Path) -> Ticket:
    """The masks of the stage at `path`, and what they were trained to; `RunError` as above."""
    return Ticket.of(files.parse_arrays(*_finished(path / "end.npz")))


def _finished(path: Path) -> tuple[bytes, Path]:
    """A file of a finished stage, and its path."""
    return files.read_final(path, read_done(path.parent)), path
