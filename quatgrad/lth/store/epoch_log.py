"""The epochs of a level while it is trained, for other programs: a table, or TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from quatgrad.errors import OptionError
from quatgrad.lth.store.files import write_csv
from quatgrad.train import Epoch

#: Who writes: (folder of the run, folder of the search, level, epochs so far).
Writer = Callable[[Path, Path, int, Sequence[Epoch]], None]


def write_table(run: Path, search: Path, level: int, history: Sequence[Epoch]) -> None:
    """`epochs_02.csv` beside the links of a search: one row for each epoch of level 2."""
    rows = [{"epoch": n, **_measured(epoch)} for n, epoch in enumerate(history, 1)]
    write_csv(search / f"epochs_{level:02d}.csv", rows)


def write_tensorboard(run: Path, search: Path, level: int, history: Sequence[Epoch]) -> None:
    """Scalars in the run's folder tensorboard/, one folder below for each level.

    Each epoch is a file of its own, so a run that goes on adds to what is there.
    """
    check_tensorboard()
    from tensorboardX import SummaryWriter

    name = "-".join([*search.relative_to(run).parts, f"level_{level:02d}"])
    folder, count = run / "tensorboard" / name, len(history)
    first = count if folder.exists() else 1  # a level may start from epochs of another
    with SummaryWriter(str(folder), filename_suffix=f".{count:05d}") as writer:
        for n in range(first, count + 1):
            for what, value in _measured(history[n - 1]).items():
                writer.add_scalar(what, value, n)


def check_tensorboard() -> None:
    """Raise `OptionError` where the library is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise OptionError(
            "`log` tensorboard needs tensorboardX: pip install 'quatgrad[tensorboard]'"
        ) from error


def _measured(epoch: Epoch) -> dict[str, float]:
    return {name: value for name, value in asdict(epoch).items() if value is not None}


WRITERS: dict[str, Writer] = {"csv": write_table, "tensorboard": write_tensorboard}
