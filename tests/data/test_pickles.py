"""The reader of pickles takes data, and never runs what it reads."""

import codecs
import os
import pickle
import pickletools
import subprocess
import time
import tracemalloc

import hostile_pickles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import data
from quatgrad.data.pickles import LONG, InFile, read_pickle
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError

DATA = np.arange(12, dtype=np.uint8).reshape(3, 4)

# What Python 2 with NumPy 1 wrote: 8-bit strings and the name numpy.core.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
    b"q\x04K\x00\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x03K\x04\x86q\tcnumpy\ndtype\nq\n"
    b"U\x02u1q\x0bK\x00K\x01\x87q\x0cRq\r(K\x03U\x01|q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    b"K\x00tq\x0fb\x89U\x0c" + DATA.tobytes() + b"q\x10tq\x11bU\x06labelsq\x12]q\x13(K\x01K\x00"
    b"K\x02eu."
)


def read(tmp_path, raw, *keys, leave_long=False):
    path = tmp_path / "file"
    path.write_bytes(raw)
    return read_pickle(path, "fetch it again", *keys, leave_long=leave_long)


both = pytest.mark.parametrize("leave_long", [False, True])


@both
def test_a_python_2_file(tmp_path, leave_long):
    came = read(tmp_path, PYTHON_2, "data", "labels", leave_long=leave_long)
    assert list(came) == ["data", "labels"]
    assert came["labels"] == [1, 0, 2]
    assert came["data"].dtype == np.uint8
    assert np.array_equal(came["data"], DATA)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("key", ["data", b"data"])
def test_python_3_files(tmp_path, protocol, key):
    content = {key: DATA, "names": [b"a", "b"], "mean": DATA / 2}
    came = read(tmp_path, pickle.dumps(content, protocol=protocol), "data", "names")
    assert list(came) == ["data", "names"]
    assert np.array_equal(came["data"], DATA)
    assert came["names"] == [b"a", "b"]


@given(cut=st.integers(0, len(PYTHON_2) - 1))
def test_truncated_anywhere_is_named(tmp_path_factory, cut):
    with pytest.raises(DataError, match=r"file is damaged or truncated .*; fetch it again"):
        read(tmp_path_factory.mktemp("cut"), PYTHON_2[:cut])


@given(place=st.integers(0, len(PYTHON_2) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused_and_nothing_else(tmp_path_factory, place, byte):
    raw = bytearray(PYTHON_2)
    raw[place] = byte
    try:
        came = read(tmp_path_factory.mktemp("changed"), bytes(raw), "data", "labels")
    except DataError as error:
        came = {"refused": str(error)}
    assert isinstance(came, dict)
    assert "fetch it again" in came.get("refused", "fetch it again")


class Call:
    """Pickles as a call: what an attacker writes."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@both
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, r"(posix|nt)\.system"),
        (subprocess.Popen, r"(subprocess|commands)\.Popen"),
        (eval, r"(builtins|__builtin__)\.eval"),
        (getattr, r"(builtins|__builtin__)\.getattr"),
        (np.load, r"numpy\.load"),
        (codecs.decode, r"_codecs\.decode"),
    ],
)
def test_calls_are_refused_by_name_and_not_made(tmp_path, function, named, protocol, leave_long):
    trace = tmp_path / "trace"
    raw = pickle.dumps({"data": Call(function, f"touch {trace}")}, protocol=protocol)
    with pytest.raises(DataError, match=f"file was refused: it asks to load {named}, .*not run"):
        read(tmp_path, raw, leave_long=leave_long)
    assert not trace.exists()


def test_dotted_names_do_not_reach_inside_what_is_allowed(tmp_path):
    raw = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    assert [op.name for op, *_ in pickletools.genops(raw)][-2] == "STACK_GLOBAL"
    with pytest.raises(DataError, match=r"numpy\.ndarray\.tofile"):
        read(tmp_path, raw)


def test_the_stand_ins_cannot_be_changed_by_a_file(tmp_path):
    # BUILD on the class itself, with a state that would set attributes.
    raw = b"\x80\x02cnumpy\ndtype\nN}X\x04\x00\x00\x00codeX\x02\x00\x00\x00u1s\x86b."
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path, raw)
    assert np.array_equal(read(tmp_path, PYTHON_2, "data")["data"], DATA)


@pytest.mark.parametrize(
    "array", [DATA.astype(np.float32), np.array([None, DATA], dtype=object), DATA[:, :3].T]
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_other_arrays_are_refused(tmp_path, array, protocol):
    raw = pickle.dumps({"data": np.asfortranarray(array)}, protocol=protocol)
    with pytest.raises(DataError, match=r"not uint8 in C order|other things than numbers"):
        read(tmp_path, raw, "data")


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(DataError, match=r"it has no 'mean', only \['data', 'labels'\]"):
        read(tmp_path, PYTHON_2, "data", "mean")


def test_something_that_is_no_dictionary(tmp_path):
    with pytest.raises(DataError, match="holds a list, not a dictionary"):
        read(tmp_path, pickle.dumps([1, 2]))


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_pickle(tmp_path / "absent", "fetch it")


# ------------------------------------------------------------------------------- left in the file

MANY = np.random.default_rng(0).integers(0, 256, (3, 8 * LONG), dtype=np.uint8)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_long_array_stays_in_the_file(tmp_path, protocol):
    raw = pickle.dumps({"data": MANY, "few": DATA, "labels": [1, 2]}, protocol=protocol)
    came = read(tmp_path, raw, "data", "few", "labels", leave_long=True)
    assert isinstance(came["data"], InFile)
    assert came["data"].shape == MANY.shape
    start = came["data"].offset
    assert raw[start : start + MANY.nbytes] == MANY.tobytes()
    assert np.array_equal(came["few"], DATA)
    assert came["labels"] == [1, 2]


@pytest.mark.parametrize("cut", [1, 100, MANY.nbytes // 2, MANY.nbytes + 10])
def test_a_long_array_that_is_truncated(tmp_path, cut):
    raw = pickle.dumps({"data": MANY}, protocol=3)[:-cut]
    with pytest.raises(DataError, match="damaged or truncated"):
        read(tmp_path, raw, "data", leave_long=True)


def test_a_long_array_that_claims_another_shape(tmp_path):
    raw = pickle.dumps({"data": MANY}, protocol=3)
    rows = b"K\x03J" + MANY.shape[1].to_bytes(4, "little")
    assert raw.count(rows) == 1
    raw = raw.replace(rows, b"K\x04" + rows[2:])
    with pytest.raises(DataError, match="it holds an array"):
        read(tmp_path, raw, "data", leave_long=True)


def test_an_array_of_official_size_costs_no_memory(tmp_path):
    # 128,116 images, as in train_data_batch_1, are a hole in the file: 1.6 GB that use no disk.
    raw = pickle.dumps({"data": np.zeros((100, 12288), np.uint8), "labels": [1]}, protocol=3)
    size, rows = (100 * 12288).to_bytes(4, "little"), b"Kd" + b"M\x00\x30"
    before, _, after = raw.partition(b"B" + size)
    assert before.count(rows) == 1
    before = before.replace(rows, b"J" + (128_116).to_bytes(4, "little") + rows[2:])
    with open(tmp_path / "file", "wb") as file:
        file.write(before + b"B" + (128_116 * 12288).to_bytes(4, "little"))
        file.seek(128_116 * 12288, os.SEEK_CUR)
        file.write(after[100 * 12288 :])
    tracemalloc.start()
    came = read_pickle(tmp_path / "file", "", "data", "labels", leave_long=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert came == {"data": InFile(len(before) + 5, (128_116, 12288)), "labels": [1]}
    assert peak < 1e6


# ------------------------------------------------------------------------------------- hostile

ROW = 3072


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Dataset -> its root, a file in it to replace, and the bytes of an image."""
    root = tmp_path_factory.mktemp("made")
    make("cifar10", root, 50, 10)
    make("imagenet64", root, 20, 5)
    return {
        "cifar10": (root, root / "cifar-10-batches-py" / "data_batch_1", 3072),
        "names": (root, root / "cifar-10-batches-py" / "batches.meta", 3072),
        "imagenet64": (root, root / "imagenet64" / "val_data", 12288),
    }


@pytest.mark.parametrize("which", ["cifar10", "names", "imagenet64"])
@pytest.mark.parametrize("case", hostile_pickles.cases(ROW))
def test_hostile_files_cost_nothing_and_have_a_short_message(made, which, case):
    root, path, row = made[which]
    whole = path.read_bytes()
    path.write_bytes(hostile_pickles.cases(row)[case])
    start = time.process_time()
    try:
        with pytest.raises(DataError) as caught:
            data.load("cifar10" if which == "names" else which, root)
    finally:
        path.write_bytes(whole)
    assert time.process_time() - start < 5
    assert len(str(caught.value)) <= 430 + len(str(path))
    assert "\n" not in str(caught.value)


def test_the_good_file_among_them_is_read(tmp_path):
    raw = hostile_pickles.batch(b"](K\x01e", hostile_pickles.images(ROW))
    came = read(tmp_path, raw, "data", "labels")
    assert came["data"].tolist() == [[0] * ROW]
    assert came["labels"] == [1]


@pytest.mark.parametrize(
    "labels",
    [
        b"]K\x07a",
        b"(K\x07l",
        b"](K\x07e",
        b"](M\x07\x00e",
        b"](J\x07\x00\x00\x00e",
        b"(I7\nl",
        b"(L7L\nl",
        b"](\x8a\x01\x07e",
    ],
)
def test_every_way_to_write_a_label(tmp_path, labels):
    raw = hostile_pickles.batch(labels, hostile_pickles.images(ROW))
    assert read(tmp_path, raw, "labels") == {"labels": [7]}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bytes_longer_than_what_stays_in_the_file(tmp_path, protocol):
    raw = pickle.dumps({"data": MANY, b"few": b"\xff" * 3}, protocol=protocol)
    came = read(tmp_path, raw, "data", "few")
    assert np.array_equal(came["data"], MANY)
    assert came["few"] == b"\xff" * 3
