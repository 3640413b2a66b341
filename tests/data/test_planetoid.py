"""The official files of citation graphs: pickles of matrices, read as data, and never run."""

import contextlib
import io
import os
import pickle
import struct
from collections import defaultdict
from pathlib import Path

import hostile_pickles
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from quatgrad import data
from quatgrad.data import graph, planetoid
from quatgrad.data.pickles import read_of_graph, read_pickle
from quatgrad.errors import DataError

RNG = np.random.default_rng(4)
#: 3 papers of training and 2 others, 3 for testing (7, 5 and 8; 6 has neither words nor subject).
X = (RNG.random((8, 9)) < 0.3).astype(np.float32)
Y = np.eye(3, dtype=np.int32)[[0, 1, 2, 0, 1, 2, 0, 1]]
TESTED = [7, 5, 8]
NEAR = {0: [1, 5, 1], 1: [0, 0], 2: [2, 7], 3: [], 5: [0, 8], 7: [2], 8: [5]}
VALUES = {"x": csr_matrix(X[:3]), "y": Y[:3], "allx": csr_matrix(X[:5]), "ally": Y[:5],
          "tx": csr_matrix(X[5:]), "ty": Y[5:], "graph": NEAR}  # fmt: skip


# ------------------------------------------------------------- as Python 2 wrote such files


def string(raw):
    return b"U%c" % len(raw) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def number(n):
    if n < 256:
        return b"K%c" % n
    return b"M" + struct.pack("<H", n) if n < 1 << 16 else b"J" + struct.pack("<i", n)


def array(a):
    """The instructions of NumPy 1 in Python 2."""
    kind = string(a.dtype.str[1:].encode())
    shape = b"".join(map(number, a.shape)) + (b"\x85" if a.ndim == 1 else b"\x86")
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape + b"cnumpy\ndtype\n" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89" + string(a.tobytes()) + b"tb"
    )  # fmt: skip


def matrix(m):
    """Of SciPy's compressed rows: a new object, and its state."""
    state = b"}(" + string(b"_shape") + b"".join(map(number, m.shape)) + b"\x86"
    for part in ("indices", "indptr", "data"):
        state += string(part.encode()) + array(getattr(m, part))
    return b"cscipy.sparse.csr\ncsr_matrix\n)\x81" + state + string(b"maxprint") + b"K2ub"


def lists(near):
    """A dictionary that makes lists."""
    out = b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R("
    for paper, others in near.items():
        out += number(paper) + b"](" + b"".join(map(number, others)) + b"e"
    return out + b"u"


def python_2(value):
    write = {csr_matrix: matrix, np.ndarray: array, dict: lists}[type(value)]
    return b"\x80\x02" + write(value) + b"."


def python_3(value):
    return pickle.dumps(defaultdict(list, value) if isinstance(value, dict) else value, 2)


def write(folder, values, how=python_2, index=TESTED):
    folder.mkdir(parents=True, exist_ok=True)
    for part, value in values.items():
        content = value if isinstance(value, bytes) else how(value)
        (folder / f"ind.made.{part}").write_bytes(content)
    (folder / "ind.made.test.index").write_text("".join(f"{k}\n" for k in index))


def read(folder):
    return graph.from_arrays(planetoid.read(folder, "made", "fetch it"), "made")


@pytest.mark.parametrize("how", [python_2, python_3])
def test_papers_for_testing_take_their_places(tmp_path, how):
    write(tmp_path, VALUES, how)
    g = read(tmp_path)
    assert (g.features.shape, g.num_classes) == ((9, 12), 3)
    papers = [0, 1, 2, 3, 4, *TESTED]
    np.testing.assert_array_equal(g.features[papers, :9] > 0, X > 0)
    assert g.labels[papers].tolist() == Y.argmax(axis=1).tolist()
    assert g.labels[6] == -1
    assert not g.features[6].any()
    assert g.edges.tolist() == [[0, 1], [0, 5], [2, 7], [5, 8]]
    assert [p.tolist() for p in (g.train, g.validation, g.test)] == [[0, 1, 2], [3, 4], [5, 7, 8]]


@pytest.mark.parametrize("value", [*VALUES.values(), np.arange(70_000.0)], ids=str)
def test_what_is_read_is_what_pickle_reads(tmp_path, value):
    """The hand-made instructions are right: Python's own reader gives the same, and so do ours."""
    for name, how in (("two", python_2), ("three", python_3)):
        path = tmp_path / name
        path.write_bytes(how(value))
        found = read_of_graph(path, "")
        if isinstance(value, csr_matrix):  # SciPy of today has another name for it
            np.testing.assert_array_equal(found.toarray(), value.toarray())
            assert found.dtype == value.dtype
            continue
        theirs = pickle.loads(path.read_bytes(), encoding="latin-1")
        if isinstance(value, dict):
            assert found == theirs == value
        else:
            np.testing.assert_array_equal(found, theirs, strict=True)


def test_such_a_folder_is_taken_for_the_packed_form(tmp_path, monkeypatch):
    write(tmp_path / "planetoid", VALUES)
    for path in (tmp_path / "planetoid").iterdir():
        path.rename(path.with_name(path.name.replace("made", "cora")))
    with pytest.raises(DataError, match=r"\(9, 4, 3\), those of cora \(2708, 5278, 7\)"):
        data.load("cora", tmp_path)
    monkeypatch.setitem(graph.COUNTS, "cora", (9, 4, 3))
    assert len(data.load("cora", tmp_path).train) == 3


# ---------------------------------------------------------------------------- never run


class Malicious:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("part", ["allx", "graph", "ty"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_file_is_refused_and_not_run(tmp_path, part, protocol):
    touched = tmp_path / "touched"
    write(tmp_path, VALUES | {part: pickle.dumps(Malicious(touched), protocol)})
    with pytest.raises(DataError, match=f"ind.made.{part} was refused: it asks to load .*system"):
        read(tmp_path)
    assert not touched.exists()
    pickle.loads((tmp_path / f"ind.made.{part}").read_bytes())  # it would have
    assert touched.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cscipy.sparse.csr\ncsr_matrix\n(K\x02K\x02ltR.",  # the class is called
        b"cscipy.sparse.csr\ncsr_matrix\nK\x01\x85\x81.",  # or made with arguments
        b"cnumpy\nndarray\n)\x81.",
        b"ccollections\ndefaultdict\ncnumpy\nndarray\n\x85R.",
        b"ccollections\ndefaultdict\nc__builtin__\neval\n\x85R.",
        b"c__builtin__\nlist\n)R.",
        b"cscipy.sparse.csr\ncsr_matrix\n)\x81U\x03abcb.",  # a state that is no dictionary
        b"cscipy.sparse.csr\ncsr_matrix\n)\x81.",  # without one
        b"cscipy.sparse.csr\n__builtins__\n.",
        b"}U\x01ab.",
    ],
)
def test_a_known_name_in_another_place_is_refused(tmp_path, content):
    (tmp_path / "f").write_bytes(b"\x80\x02" + content)
    with pytest.raises(DataError):
        read_of_graph(tmp_path / "f", "")


def test_images_are_still_read_without_these_names(tmp_path):
    for value in (csr_matrix(X), NEAR):
        (tmp_path / "f").write_bytes(python_2(value))
        with pytest.raises(DataError, match="asks to load"):
            read_pickle(tmp_path / "f", "", "data")


@pytest.mark.parametrize("case", hostile_pickles.cases(64))
def test_pickles_of_a_hostile_author_end_in_a_line(tmp_path, case):
    (tmp_path / "f").write_bytes(hostile_pickles.cases(64)[case])
    with contextlib.suppress(DataError):  # or it is data, and harmless
        found = read_of_graph(tmp_path / "f", "")
        assert isinstance(found, dict | list | int | str | bytes | tuple | float | None)


# ------------------------------------------------------------------------- what is damaged


def changed(**parts):
    m = VALUES["allx"].copy()
    for name, value in parts.items():
        if name == "shape":
            m._shape = value
        else:
            setattr(m, name, value)
    return m


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ({"allx": changed(indices=np.full(20, 9, np.int32)[: VALUES["allx"].nnz])}, TESTED),
        ({"allx": changed(indices=VALUES["allx"].indices.astype(np.float32))}, TESTED),
        ({"allx": changed(indptr=VALUES["allx"].indptr[::-1].copy())}, TESTED),
        ({"allx": VALUES["graph"]}, TESTED),
        ({"graph": Y}, TESTED),
        ({"ally": Y}, TESTED),
        ({"ty": Y[:2]}, TESTED),
        ({"y": np.zeros((9, 3), np.int32)}, TESTED),
        ({"tx": VALUES["allx"]}, TESTED),
        ({"graph": {0: [99]}}, TESTED),
        ({"ty": b""}, TESTED),
        ({"ty": python_2(Y)[:-40]}, TESTED),
        ({}, [7, 7, 8]),
        ({}, [7, 4, 8]),
        ({}, [7, 8]),
        ({}, [7, 8, 10**9]),
        ({}, []),
        ({}, ["x", 7, 8]),
    ],
)
def test_files_that_do_not_fit_are_one_line(tmp_path, values, index):
    write(tmp_path, VALUES | values, index=index)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path, VALUES)
    (tmp_path / "ind.made.tx").unlink()
    with pytest.raises(DataError, match=r"ind\.made\.tx cannot be read.*; fetch it"):
        read(tmp_path)
    write(tmp_path, VALUES)
    (tmp_path / "ind.made.test.index").unlink()
    with pytest.raises(DataError, match=r"do not fit.*test\.index"):
        read(tmp_path)


OFFICIAL = Path(os.environ.get("QUATGRAD_DATA", "/nowhere"))


@pytest.mark.parametrize("name", graph.SUMS)
@pytest.mark.skipif(not (OFFICIAL / "planetoid").is_dir(), reason="the packed files are not here")
def test_the_packed_form_written_as_official_files_is_read_as_the_same_graph(name, tmp_path):
    with np.load(io.BytesIO((OFFICIAL / "planetoid" / f"{name}.npz").read_bytes())) as archive:
        a = {k: archive[k] for k in archive.files}
    packed, n = graph.load(name, OFFICIAL), int(a["test"][0])
    tested = RNG.permutation(a["test"].astype(int))
    ones, at = np.ones(len(a["indices"]), np.float32), a["indices"].astype(np.int32)
    words = csr_matrix((ones, at, a["indptr"].astype(np.int32)), shape=tuple(a["shape"].tolist()))
    Y = np.eye(packed.num_classes, dtype=np.int32)[a["labels"]] * (a["labels"] >= 0)[:, None]
    Y, first, near = Y.astype(np.int32), len(a["train"]), defaultdict(list)
    for i, j in a["edges"].tolist():
        near[i].append(j)
        near[j].append(i)
    values = {"x": words[:first], "y": Y[:first], "allx": words[:n], "ally": Y[:n],
              "tx": words[tested], "ty": Y[tested], "graph": dict(near)}  # fmt: skip
    write(tmp_path, values, index=tested)
    official = read(tmp_path)
    for key in ("features", "labels", "edges", "train", "validation", "test"):
        np.testing.assert_array_equal(getattr(official, key), getattr(packed, key), err_msg=key)
