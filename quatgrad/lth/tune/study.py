"""Trials on record, by Optuna: what is tried next, by whom, and what came out.

Each network has a study of its own in the same file. A worker takes a trial, and holds a lock for
it while it works; a trial whose worker was killed is free again, and the next worker goes on with
it. What is drawn for trial n depends on the seed, on n, and (with tpe) on the trials before it. So
one worker that is interrupted and goes on makes the same trials.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from quatgrad.errors import OptionError, RunError, brief
from quatgrad.lth.tune.space import Space, StudyFile
from quatgrad.random import generator

if TYPE_CHECKING:
    import optuna

#: storage -> its file in the directory of the study
FILES = {"journal": "trials.journal", "sqlite": "trials.sqlite"}


def need_optuna() -> None:
    """Raise `OptionError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise OptionError("tune needs Optuna, which is not installed: pip install 'quatgrad[tune]'")


def open_study(directory: Path, network: str, file: StudyFile) -> optuna.Study:
    """The study of a network in the directory, made where it is not."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    how, path = file.how, _path(directory, file.how.storage)
    pruner: optuna.pruners.BasePruner = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "asha": optuna.pruners.SuccessiveHalvingPruner,
    }[how.pruner]()
    try:
        return optuna.create_study(
            storage=_storage(path),
            pruner=pruner,
            study_name=network,
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, LookupError) as error:
        raise RunError(
            f"{path} is damaged ({brief(error)}): put it away, and tune again; trials are drawn "
            "as before, and of trainings that are on record nothing is trained again"
        ) from error


def _path(directory: Path, name: str) -> Path:
    """A study goes on in the storage that it began in."""
    found = [directory / file for file in FILES.values() if (directory / file).exists()]
    return found[-1] if found else directory / FILES[name]


def _storage(path: Path) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if path.name == FILES["journal"]:
        return JournalStorage(JournalFileBackend(str(path)))
    wait = {"timeout": 60}  # several workers write: each waits up to a minute for another
    _check_database(path, wait)
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": wait})


def _check_database(path: Path, wait: dict[str, Any]) -> None:
    """Raise `ValueError` where a file is no whole database of SQLite."""
    try:
        with closing(sqlite3.connect(path, **wait)) as database:
            (found,) = database.execute("PRAGMA quick_check").fetchone()
    except sqlite3.OperationalError:  # of the disk, or of a lock
        raise
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise ValueError(found)


@dataclass(frozen=True)
class Trials:
    """The trials of one network: `take` gives the next one, until the budget is spent."""

    directory: Path
    network: str
    file: StudyFile

    @contextmanager
    def take(self) -> Iterator[optuna.Trial | None]:
        """A trial to work at in the block, nobody else's; None if there is none to begin."""
        taken = self._take()
        if taken is None:
            yield None
            return
        trial, claim = taken
        try:
            yield trial
        finally:
            Path(claim.lock_file).unlink(missing_ok=True)
            claim.release()

    def _take(self) -> tuple[optuna.Trial, FileLock] | None:
        import optuna

        study = open_study(self.directory, self.network, self.file)
        with FileLock(self.directory / ".lock"):
            trials = study.get_trials(deepcopy=False)
            for left in trials:  # by a worker that was killed?
                if left.state.name == "RUNNING" and (claim := self._claim(left.number)):
                    if study.trials[left.number].state.is_finished():  # just now
                        claim.release()
                        continue
                    study.sampler = self._sampler(left.number)
                    trial = optuna.Trial(study, left._trial_id)
                    _suggest(trial, self.file.space)
                    return trial, claim
            n = len(trials)
            waiting = any(t.state.name == "WAITING" for t in trials)
            if n >= self.file.trials and not waiting:
                return None
            if self.file.how.sampler == "grid" and not waiting:
                study.enqueue_trial(self.file.grid[n])
            study.sampler = self._sampler(n)
            trial = study.ask()
            _suggest(trial, self.file.space)
            claim = self._claim(trial.number)
            assert claim, "a new trial is nobody's"
            return trial, claim

    def _claim(self, number: int) -> FileLock | None:
        """A lock of a trial, which is free again when its process ends."""
        claim = FileLock(self.directory / f".{self.network}-{number}.lock")
        try:
            claim.acquire(timeout=0)
        except Timeout:
            return None
        return claim

    def _sampler(self, number: int) -> Any:
        """What draws trial n: the first draws are the same for all networks."""
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(generator(self.file.how.seed, "tune", number).integers(2**31))
        return {"tpe": TPESampler}.get(self.file.how.sampler, RandomSampler)(seed=seed)


def _suggest(trial: optuna.Trial, space: Space) -> None:
    """Draw all values of a trial; those that a killed worker drew stay."""
    for name, values in space.items():
        if isinstance(values, tuple):
            trial.suggest_categorical(name, values)
        elif values.whole:
            trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
        else:
            trial.suggest_float(name, values.low, values.high, log=values.log)
