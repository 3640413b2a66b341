"""Files that are damaged, empty or of giant content, and folders that are not there or not ours."""

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quatgrad import data
from quatgrad.data import convert, disk, fetch, mnist
from quatgrad.data.disk import ImagesOnDisk
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError, OptionError

NAMES = ["mnist", "cifar10", "cifar100", "imagenet64"]


def refused(name, root, *words):
    with pytest.raises(DataError) as caught:
        data.load(name, root)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------- .npy


@pytest.fixture
def converted(tmp_path):
    data.load("imagenet64", make("imagenet64", tmp_path, 20, 5))
    return tmp_path / "imagenet64" / "imagenet64-converted"


DAMAGES = {
    "a brace is gone": lambda raw: raw.replace(b"}", b" ", 1),
    "a .zip": lambda raw: b"PK\x03\x04" + raw[4:],
    "a quote is gone": lambda raw: raw.replace(b"'", b" ", 1),
    "a code of Python": lambda raw: raw.replace(b"False", b"exit(")[:-1] + b"\n",
    "an open bracket": lambda raw: raw.replace(b"(", b"[", 1),
    "200 brackets": lambda raw: raw[:10] + b"(" * 118 + raw[128:],
    "another length": lambda raw: raw[:8] + b"\x01" + raw[9:],
    "a length of 65535": lambda raw: raw[:8] + b"\xff\xff" + raw[10:],
    "another version": lambda raw: raw[:6] + b"\x03" + raw[7:],
    "objects": lambda raw: raw.replace(b"|u1", b"|O8"),
    "Fortran's order": lambda raw: raw.replace(b"False, ", b"True,  "),
    "a negative axis": lambda raw: raw.replace(b"64,", b"-4,", 1),
    "zeros": lambda raw: bytes(128) + raw[128:],
    "a pickle": lambda raw: pickle.dumps(raw),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["train_images.npy", "test_images.npy"])
def test_the_header_of_converted_images(converted, damage, file):
    path = converted / file
    raw = path.read_bytes()
    damaged = DAMAGES[damage](raw)
    path.write_bytes(damaged[: len(raw)])
    refused("imagenet64", converted.parent, str(path))


def test_headers_are_those_that_numpy_writes(tmp_path):
    for array in (np.zeros((2, 3, 4, 3), np.uint8), np.arange(7), np.zeros(0, np.uint32)):
        np.save(tmp_path / "a.npy", array)
        with open(tmp_path / "a.npy", "rb") as file:
            assert disk.read_header(file) == (array.dtype.str, array.shape)
            assert np.array_equal(np.fromfile(file, array.dtype).reshape(array.shape), array)


def test_a_file_name_may_be_text(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    on_disk = ImagesOnDisk(str(tmp_path / "a.npy"), np.zeros(3, np.uint32))
    with pytest.raises(DataError, match="image 0 is damaged"):
        on_disk[:]


@pytest.mark.parametrize(
    "text", ['{"read": {}, "written": {"a": {"bytes": 1e999}}}', "[" * 100_000, '"' + "a" * 10**6,
             '{"read": {"val_data": {"bytes": "5"}}, "written": {}}', "\xff", "null"]
)  # fmt: skip
def test_damaged_contents(converted, text):
    (converted / "contents.json").write_bytes(text.encode("latin-1"))
    refused("imagenet64", converted.parent, "contents.json was changed or damaged")


# ---------------------------------------------------------------------------------------- .gz

LOAD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from quatgrad import data
from quatgrad.errors import DataError
try: data.load("mnist", sys.argv[1])
except DataError as error: print(error)
"""


@pytest.mark.parametrize("name", [mnist.TRAIN_IMAGES, mnist.TEST_LABELS])
@pytest.mark.parametrize(
    "start", [b"", bytes([0, 0, 8, 3, 0xFF, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28])]
)
def test_a_gz_that_unpacks_to_gigabytes(tmp_path, name, start):
    path = make("mnist", tmp_path, 20, 10) / "mnist" / name
    path.unlink()
    with gzip.open(f"{path}.gz", "wb", 1) as file:
        file.write(start)
        for _ in range(24):
            file.write(bytes(1 << 26))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True
    )
    assert f"{path}.gz is damaged: it unpacks to more than " in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda raw: raw[:-5], "it ends too early"),
        (lambda raw: raw + b"more", "something follows its content"),
        (lambda raw: raw[:-8] + bytes(4) + raw[-4:], "incorrect data check"),
        (lambda raw: raw[:-4] + bytes(4), "incorrect length check"),
        (lambda raw: raw[:3] + b"\xff" + raw[4:], "is damaged"),
        (lambda raw: b"", "it ends too early"),
    ],
)
def test_damaged_gz(tmp_path, change, word):
    path = make("mnist", tmp_path, 20, 10) / "mnist" / mnist.TEST_IMAGES
    raw = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(change(raw))
    refused("mnist", tmp_path, f"{path}.gz is damaged", word)


# -------------------------------------------------------------------------------------- empty


def test_a_file_of_no_images(tmp_path):
    files = {
        "cifar10": "cifar-10-batches-py/data_batch_3",
        "cifar100": "cifar-100-python/test",
        "imagenet64": "imagenet64/val_data",
    }
    for name, file in files.items():
        path = make(name, tmp_path, 50, 10) / file
        content = pickle.loads(path.read_bytes())
        empty = {
            "data": np.zeros((0, content.get("data", content.get(b"data")).shape[1]), np.uint8)
        }
        key = next(key for key in content if "labels" in str(key))
        path.write_bytes(pickle.dumps({"data": empty["data"], key: []}, protocol=3))
        refused(name, tmp_path, str(path), "it holds no images")
    folder = make("mnist", tmp_path, 50, 10) / "mnist"
    (folder / mnist.TEST_IMAGES).write_bytes(
        bytes([0, 0, 8, 3, *[0] * 4, 0, 0, 0, 28, 0, 0, 0, 28])
    )
    (folder / mnist.TEST_LABELS).write_bytes(bytes([0, 0, 8, 1, *[0] * 4]))
    refused("mnist", tmp_path, mnist.TEST_IMAGES, "it holds no images")


# ------------------------------------------------------------------------------------ folders


@pytest.fixture
def no_home(monkeypatch):
    """A user without a home: `expanduser` fails, as in a container."""

    def fail(path):
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.delenv("QUATGRAD_DATA", raising=False)
    monkeypatch.setattr(Path, "expanduser", fail)


@pytest.mark.parametrize("name", NAMES)
def test_no_home(no_home, name, tmp_path, monkeypatch):
    refused(name, None, "is in a home folder, and there is none", "--data-dir", "QUATGRAD_DATA")
    refused(name, "~/data", "~/data is in a home folder")
    monkeypatch.setenv("QUATGRAD_DATA", "~nobody-of-this-name/x")
    refused(name, None, "~nobody-of-this-name/x is in a home folder")
    assert len(data.load(name, make(name, tmp_path, 20, 10)).train) == 20


def test_no_home_and_imagenet64_where_we_may_not_write(no_home, tmp_path, monkeypatch):
    root = make("imagenet64", tmp_path, 20, 5)
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    def forbid(folder, wait):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(convert, "lock", forbid)
    refused("imagenet64", root, "cannot be converted to", "Permission denied", "--data-dir")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "root", ["nowhere/at/all", "a" * 300, "b" * 5000, "a\0b", "a file", "~root-is-not-here/x"]
)
def test_folders_that_cannot_be(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("")
    with pytest.raises(DataError) as caught:
        data.load(name, root)
    assert len(str(caught.value)) < 650
    assert "--data-dir" in str(caught.value)


@pytest.mark.parametrize("root", [b"bytes", 5, ["a"]])
def test_what_is_no_folder(root):
    with pytest.raises(OptionError, match="is a text or a Path; got "):
        data.load("mnist", root)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_be_text(name, tmp_path):
    root = make(name, str(tmp_path), 20, 10)
    assert len(data.load(name, str(root)).train) == 20


AS_ANOTHER_USER = """
import os, sys
from quatgrad import data
from quatgrad.errors import DataError
os.setgroups([]); os.setgid(12345); os.setuid(12345)
try: data.load(sys.argv[1], sys.argv[2])
except DataError as error: print(error)
"""


@pytest.mark.skipif(
    getattr(os, "getuid", lambda: 1)() != 0, reason="only root becomes another user"
)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["the root", "the folder", "a file"])
def test_what_may_not_be_read(name, what, tmp_path):
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(0o755)
    folder = next(make(name, tmp_path / "root", 20, 10).iterdir())
    secret = {"the root": tmp_path / "root", "the folder": folder, "a file": next(folder.iterdir())}
    secret[what].chmod(0)
    command = [sys.executable, "-c", AS_ANOTHER_USER, name, str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    secret[what].chmod(0o755)
    assert "Permission denied" in done.stdout, done.stderr


def test_fetch_says_why_a_folder_cannot_be_read(tmp_path, monkeypatch):
    def fail(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(DataError, match=r"pets: .* cannot be read: Permission denied; buy some"):
        fetch.first_complete("pets", [tmp_path], lambda folder: ["cat"], "buy some")
