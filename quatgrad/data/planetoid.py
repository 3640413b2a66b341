"""The official files of citation graphs, ind.NAME.*, as plain arrays.

    allx, ally    words and subjects of the papers that are not for testing, those of training first
    y             subjects of those of training
    tx, ty        of the papers for testing, in the order of ...
    test.index    ... their numbers, which may leave out papers that have neither words nor subject
    graph         paper -> who stands beside it

All but test.index are pickles, of Python 2 and of SciPy's matrices. They are read as data
(pickles.py) and never run.
"""

from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.data.packed import LIMIT
from quatgrad.data.pickles import read_of_graph
from quatgrad.errors import DataError, brief

VALIDATION = 500


def read(folder: Path, name: str, advice: str) -> dict[str, np.ndarray]:
    """The arrays of a `Graph` with the public split; `DataError` for files that do not fit."""
    names = ("allx", "tx", "y", "ally", "ty", "graph")
    found = {part: read_of_graph(folder / f"ind.{name}.{part}", advice) for part in names}
    try:
        tested = np.array((folder / f"ind.{name}.test.index").read_bytes().split(), np.int64)
        return _arrays(found, tested)
    except (OSError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{folder}: the files ind.{name}.* do not fit ({brief(error, 200)}); {advice}"
        ) from error


def _arrays(found: dict[str, Any], tested: np.ndarray) -> dict[str, np.ndarray]:
    (n, C), first = found["allx"].shape, len(found["y"])
    if not tested.size or tested.min() < n or len(np.unique(tested)) < len(tested):
        raise ValueError(f"test.index names no papers, one below {n}, or one twice")
    if (tested.max() + 1) * C > LIMIT or first > n:
        raise ValueError(f"papers up to {tested.max()} with {C} words, {first} of them trained on")
    paper = np.concatenate([np.arange(n), tested])  # of each row of allx, and then of tx
    words = np.zeros((tested.max() + 1, C), bool)
    words[paper] = np.concatenate([found[part].toarray() != 0 for part in ("allx", "tx")])
    subjects = np.concatenate([found["ally"], found["ty"]])  # one-hot
    labels = np.full(len(words), -1)
    labels[paper] = np.where(subjects.any(axis=1), subjects.argmax(axis=1), -1)
    pairs = [(a, b) for a, near in found["graph"].items() for b in near if a != b]
    return {
        "indptr": np.concatenate([[0], words.sum(axis=1).cumsum()]),
        "indices": np.nonzero(words)[1],
        "shape": np.array(words.shape),
        "labels": labels,
        "edges": np.unique(np.sort(np.array(pairs, np.int64).reshape(-1, 2)), axis=0),
        "train": np.arange(first),
        "validation": np.arange(first, min(first + VALIDATION, n)),
        "test": np.sort(tested),
    }
