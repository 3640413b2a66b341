"""One file for arrays: what comes back, and what damaged, foreign and later files say."""

import json
import struct

import numpy as np
import pytest

from quatgrad.errors import DataError
from quatgrad.tensor_file import digest, read_tensors, write_tensors

ARRAYS = {
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "backwards": np.array([True, False, False])[::-1],
    "number": np.float64(3),
    "nothing": np.zeros((0, 3), np.float32),
    "bytes": np.arange(5, dtype=np.uint8),
}
ABOUT = {"classes": ["Äpfel", "two words"], "mean": [0.1, 2.5], "nothing": None}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "a.safetensors", ARRAYS, ABOUT)
    return tmp_path / "a.safetensors"


def container(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def test_arrays_come_back_as_they_were(path):
    arrays, about = read_tensors(path)
    assert about == ABOUT
    assert digest(arrays) == digest(ARRAYS)
    np.testing.assert_array_equal(arrays["turned"], ARRAYS["turned"])


def test_the_digest_sees_names_dtypes_shapes_and_bytes():
    a = np.arange(6, dtype=np.float32)
    others = {"b": a}, {"a": a.astype(np.float64)}, {"a": a.reshape(2, 3)}, {"a": a[::-1]}
    assert len({digest({"a": a}), *map(digest, others)}) == 5


def test_any_changed_bit_is_seen(path):
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(DataError) as caught:
            read_tensors(path)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_a_truncated_file(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"a.safetensors is no whole .safetensors file \("):
        read_tensors(path)


FOREIGN = {
    "is no whole": b"Dear Sir or Madam, this is a letter and no file of weights.",
    "is a safetensors file of another program": container(
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "has a dtype that NumPy does not have": container(
        {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "has form 2, and this version of quatgrad reads form 1": container(
        {"__metadata__": {"quatgrad": json.dumps({"form": 2, "sha256": "", "about": {}})}}
    ),
    "its metadata are not those": container({"__metadata__": {"quatgrad": "[" * 100000}}),
}


@pytest.mark.parametrize("said", FOREIGN)
def test_a_file_of_others(path, said):
    path.write_bytes(FOREIGN[said])
    with pytest.raises(DataError, match=said):
        read_tensors(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_tensors(tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        read_tensors(tmp_path)


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        write_tensors(tmp_path / "none" / "a.safetensors", ARRAYS, ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_numbers_come_back_as_texts(path):
    write_tensors(path, {"a": np.zeros(3)}, {"accuracy": {9: 0.5, 10: 0.6}})
    assert read_tensors(path)[1] == {"accuracy": {"9": 0.5, "10": 0.6}}
