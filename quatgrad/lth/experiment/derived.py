"""What a run tells in tables and pictures, compared with its records."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quatgrad.errors import QuatgradError, RunError
from quatgrad.lth.results import compare, plot
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.search import flat
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Ended, Record

Row = Mapping[str, Any]


class TableError(RunError):
    """A table says what the records do not."""


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; `RunError` if it is none."""
    try:
        rows = list(csv.DictReader(io.StringIO(files.read(path).decode()), strict=True))
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path} is no table ({error!s:.100})") from error
    if any(None in row or None in row.values() for row in rows):
        raise RunError(f"{path} is no table: its lines have unequal numbers of cells")
    return rows


def compared(path: Path, expected: Sequence[Row], partial: bool) -> set[str]:
    """Raise `TableError` where a table says other than `expected`; what of it was not compared.

    A table may be older than the records, and say less: fewer rows and columns, empty cells. With
    `partial`, levels are in training that it may have told of before. A column that nobody expects
    is of another version.
    """
    unseen: set[str] = set()
    for number, row in enumerate(read_table(path)):
        if number >= len(expected):
            if not partial:
                raise TableError(f"{path} has a level {number}, which is not on record")
            unseen.add(f"row {number}")
            continue
        for column, text in row.items():
            value = expected[number].get(column)
            if column not in expected[number] or (partial and value is None):
                unseen.add(f"column {column}")
            elif text and not _same(text, value, column.endswith("_interval")):
                raise TableError(f"{path}: level {number}, {column} is {text:.40}, not {value}")
    return unseen


def _same(text: str, value: Any, rounded: bool) -> bool:
    """Is that the value, in a cell? Another SciPy has intervals that differ in the last digits."""
    if text == ("" if value is None else str(value)):
        return True
    try:
        near = isinstance(value, float) and math.isclose(float(text), value, rel_tol=1e-9)
        return rounded and near
    except ValueError:
        return False


def check_levels(folder: Path, records: Sequence[Record], partial: bool) -> set[str]:
    """levels.csv and ended.json of a search; what was not compared."""
    unseen: set[str] = set()
    if files.exists(path := folder / "levels.csv"):
        unseen = compared(path, flat(records), partial)
    if files.exists(path := folder / "ended.json") and not partial:
        level = Ended.read(path).level
        if level >= len(records):
            raise TableError(f"{path}: level {level} is not on record")
    return unseen


def check_comparison(run: Run, partial: bool) -> tuple[compare.Curves, set[str]]:
    """comparison.csv, and the curves that it is of; what was not compared.

    The last command may have asked for fewer trials than there are.
    """
    path, trials = run.path / "comparison.csv", [*run.trials.values()]
    found: list[TableError] = []
    for count in range(len(trials), 0, -1):
        curves = compare.mean(trials[:count])
        try:
            return curves, compared(path, compare.rows(curves), partial)
        except TableError as error:
            found.append(error)
    if found:
        raise found[0]
    return {}, compared(path, [], partial)


def undrawn(run: Run, curves: compare.Curves) -> list[str]:
    """The pictures of a run that are not, bit for bit, those that are drawn of the curves now."""
    paths = [p for kind in ("png", "svg") if files.exists(p := run.path / f"accuracy.{kind}")]
    try:
        figure = run.picture(curves) if paths else None
        return [p.name for p in paths if figure and plot.render(figure, p) != files.read(p)]
    except (QuatgradError, KeyError):  # of networks that nobody can draw
        return [p.name for p in paths]
