"""Citation graphs: papers with the words that they have, who cites whom, and their subjects.

Read from one .npz file of plain arrays: indptr, indices (the words of each paper, compressed rows),
shape, labels, edges (undirected, once each), train, validation, test. Or from the official files
ind.NAME.*, pickles of SciPy's matrices, which are read as data (planetoid.py), never run.

Source: Sen et al. 2008; the public split of Yang, Cohen & Salakhutdinov, arXiv:1603.08861.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quatgrad.data import planetoid
from quatgrad.data.dataset import Dataset, Split, as_it_is
from quatgrad.data.fetch import data_root
from quatgrad.data.packed import read_files
from quatgrad.errors import DataError, OptionError, unknown
from quatgrad.task import Nodes

SUMS = {
    "cora": "682f9bfd8c219b4e4946daa3171d0d925610b0eaa52972420f64350b18dcab16",
    "citeseer": "850e1fa1c97ba82f2a689e5f7b4101b4a82ccfd9747962fd19a62979ea26e8f9",
}
#: Of the official files: papers, citations, subjects.
COUNTS = {"cora": (2708, 5278, 7), "citeseer": (3327, 4552, 6)}
ARRAYS = ("indptr", "indices", "shape", "labels", "edges", "train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with features, some with a class, and undirected edges.

    features float32 (N, C), C a multiple of 4, with zeros behind; labels int64 (N,), -1 for none;
    edges int64 (E, 2); train, validation, test: numbers of nodes. `DataError` if these do not fit.
    """

    name: str
    features: np.ndarray
    labels: np.ndarray
    edges: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        N = len(self.features)
        if self.labels.shape != (N,) or self.edges.ndim != 2 or self.edges.shape[1] != 2:
            raise DataError(
                f"{self.name}: {N} nodes want {N} labels and edges (E, 2); got "
                f"{self.labels.shape} and {self.edges.shape}"
            )
        nodes = np.concatenate([self.edges.ravel(), self.train, self.validation, self.test])
        if nodes.size and not (nodes.min() >= 0 and nodes.max() < N):
            raise DataError(
                f"{self.name}: an edge or a split names a node that is not 0 to {N - 1}"
            )
        parts = np.concatenate([self.train, self.validation, self.test])
        if len(np.unique(parts)) < len(parts) or (self.labels[parts] < 0).any():
            raise DataError(f"{self.name}: a node of a split is in it twice, or has no class")

    def __repr__(self) -> str:
        return (
            f"Graph({self.name}: {len(self.features):,} nodes, {len(self.edges):,} edges, "
            f"{self.num_classes} classes)"
        )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1


def load(name: str = "cora", data_dir: str | os.PathLike[str] | None = None) -> Graph:
    """Cora (2708 nodes) or Citeseer (3327): DIR/planetoid/NAME.npz, or the files ind.NAME.* there.

    Rows of features sum to 1.

    Raises `OptionError` for another name, `DataError` for a file that is missing or damaged.
    """
    if name not in SUMS:
        raise OptionError(unknown("graph", name, SUMS))
    file, folder = f"{name}.npz", data_root(data_dir)[0] / "planetoid"
    advice = (
        f"get the files ind.{name}.* of github.com/tkipf/gcn, gcn/data, into DIR/planetoid and set "
        "QUATGRAD_DATA=DIR"
    )
    if os.path.isfile(folder / f"ind.{name}.graph"):
        found = from_arrays(planetoid.read(folder, name, advice), name)
        counts = len(found.features), len(found.edges), found.num_classes
        if counts != COUNTS[name]:
            raise DataError(
                f"{folder}: (nodes, edges, classes) are {counts}, those of {name} {COUNTS[name]}; "
                f"{advice}"
            )
        return found
    return parse(read_files("planetoid", {file: SUMS[name]}, data_dir, advice)[file], name)


def parse(content: bytes, name: str) -> Graph:
    """The graph in an .npz file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            a = {key: archive[key] for key in ARRAYS}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{name}: not the arrays {', '.join(ARRAYS)} of a graph: {error}"
        ) from error
    return from_arrays(a, name)


def from_arrays(a: Mapping[str, np.ndarray], name: str) -> Graph:
    """The graph of the arrays `ARRAYS`."""
    starts, words, (N, C) = a["indptr"].astype(np.int64), a["indices"], a["shape"].tolist()
    rising = starts.shape == (N + 1,) and starts[0] == 0 and (np.diff(starts) >= 0).all()
    if not rising or starts[-1] != len(words):
        raise DataError(f"{name}: the rows of its features do not fit {N} nodes")
    if (wrong := words[(words < 0) | (words >= C)]).size:
        raise DataError(f"{name}: word {wrong[0]} is out of range: there are {C}")
    features = np.zeros((N, C + -C % 4), np.float32)
    features[np.repeat(np.arange(N), np.diff(starts)), words] = 1
    features /= np.maximum(features.sum(axis=1, keepdims=True), 1)
    integers = (a[key].astype(np.int64) for key in ARRAYS[3:])
    return Graph(name, features, *integers)


def random_split(graph: Graph, train: float, validation: float, rng: np.random.Generator) -> Graph:
    """The same graph with other splits: shares of the nodes that have a class; the rest tests."""
    nodes = rng.permutation(np.flatnonzero(graph.labels >= 0))
    a, b = round(train * len(nodes)), round((train + validation) * len(nodes))
    if not 0 < a < b < len(nodes):
        raise OptionError(f"shares {train:g} and {validation:g} leave a part without nodes")
    parts = (np.sort(part) for part in np.split(nodes, [a, b]))
    return Graph(graph.name, graph.features, graph.labels, graph.edges, *parts)


def as_dataset(graph: Graph) -> Dataset:
    """Nodes to classify: numbers of nodes in the place of images, the graph in the task."""
    splits = graph.train, graph.test, graph.validation
    train, test, held = (Split(nodes.astype(np.int64), graph.labels[nodes]) for nodes in splits)
    names, task = tuple(map(str, range(graph.num_classes))), Nodes(graph.features, graph.edges)
    how = names, as_it_is, None, held if len(held) else None, task
    return Dataset(graph.name, train, test, *how)
