"""ImageNet64 from made files: read as they should be, and refused when anything is wrong."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from quatgrad import data
from quatgrad.data import convert, fetch
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError

TRAIN, TEST = 43, 9  # more than one piece, when PIECE is 3


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "PIECE", 3)
    return make("imagenet64", tmp_path / "made", TRAIN, TEST)


@pytest.fixture
def folder(root):
    return root / "imagenet64"


def official(path):
    """Images and labels of a file by the formula, without quatgrad."""
    content = pickle.loads(path.read_bytes())
    images = content["data"].reshape(-1, 3, 64, 64).transpose(0, 2, 3, 1)
    return images, np.array(content["labels"]) - 1


def rewrite(path, **changes):
    content = pickle.loads(path.read_bytes()) | changes
    content = {key: value for key, value in content.items() if value is not None}
    path.write_bytes(pickle.dumps(content, protocol=3))


def refused(root, *words, left=()):
    with pytest.raises(DataError) as caught:
        data.load("imagenet64", root)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [name for name in left if not (root / "imagenet64" / name).exists()] == []
    return str(caught.value)


def test_reads_the_official_files(root, folder):
    dataset = data.load("imagenet64", root)
    assert (dataset.num_classes, dataset.input_shape, dataset.augment) == (TRAIN, (64, 64, 4), None)
    for split, files in ((dataset.train, convert.SPLITS["train"]), (dataset.test, ["val_data"])):
        images, labels = zip(*(official(folder / file) for file in files), strict=True)
        images, labels = np.concatenate(images), np.concatenate(labels)
        assert np.array_equal(split.labels, labels)
        assert split.images.shape == images.shape
        assert np.array_equal(split.images[:], images)
        rows = np.array([5, 0, 8, 5])
        assert np.array_equal(split.images[rows], images[rows])
        assert np.array_equal(split.take(rows).images[1:], images[rows[1:]])
    x = dataset.encode(dataset.test.images[:2])
    assert np.allclose(x[..., :3], dataset.test.images[:2] / 255, atol=1e-6)
    assert not (folder / ".imagenet64-converting").exists()


def test_files_of_full_length_are_read_by_pieces(root, folder, monkeypatch):
    monkeypatch.setattr("quatgrad.data.pickles.LONG", convert.ROW)  # now these count as long
    came = convert._read_batch(folder / "val_data").data
    assert came == (came.offset, (TEST, convert.ROW))
    dataset = data.load("imagenet64", root)
    assert np.array_equal(dataset.test.images[:], official(folder / "val_data")[0])


def test_converted_files_serve_without_the_official_ones(root, folder):
    before = data.load("imagenet64", root)
    batches = [y.tolist() for _, y in data.batches(before, 8, 0, 0)]
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    after = data.load("imagenet64", folder)  # DIR itself
    assert after.fingerprint() == before.fingerprint()
    assert [y.tolist() for _, y in data.batches(after, 8, 0, 0)] == batches
    assert sorted(y for batch in batches for y in batch) == sorted(before.train.labels)


def test_a_subset_is_read_from_the_disk_too(root):
    make_dir = root.parent / "few"
    dataset = data.load("imagenet64", make("imagenet64", make_dir, 2000, 10), subset=1000)
    assert sorted(dataset.train.labels) == list(range(1000))
    x, _ = next(data.batches(dataset, 4, 0, 0))
    assert x.shape == (4, 64, 64, 4)
    assert dataset.fingerprint() != data.load("imagenet64", make_dir).fingerprint()


def test_nothing_there(home, tmp_path):
    refused(tmp_path, f"{tmp_path / 'imagenet64'} lacks train_data_batch_1, ",
            "needs a login", "https://image-net.org", "QUATGRAD_DATA")  # fmt: skip


def test_one_file_is_missing(root, folder):
    (folder / "train_data_batch_7").unlink()
    refused(root, f"{folder} lacks train_data_batch_7; ")


def test_where_nobody_may_write_the_cache_is_used(root, folder, home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(fetch, "CACHE", home / "cache")
    dataset = data.load("imagenet64", root)
    assert not (folder / "imagenet64-converted").exists()
    (made,) = (home / "cache").iterdir()
    assert dataset.train.images.path == made / "train_images.npy"


# -------------------------------------------------------------------- official files that are wrong


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"data": np.zeros((4, 3072), np.uint8)}, "not (N, 12288): they are images of 32x32"),
        ({"data": np.zeros((4, 768), np.uint8)}, "they are images of 16x16"),
        ({"data": np.zeros((4, 100), np.uint8)}, "'data' is bytes (4, 100), not (N, 12288); "),
        ({"data": np.zeros(12288, np.uint8)}, "'data' is bytes (12288,)"),
        ({"data": np.zeros((4, 12288))}, "not uint8 in C order"),
        ({"data": [0]}, "'data' is list"),
        ({"data": None}, "it has no 'data', only ['labels', 'mean']"),
        ({"labels": None}, "it has no 'labels'"),
        ({"labels": [1, 2]}, "'labels' has 2 entries for 4 images"),
        ({"labels": b"1234"}, "'labels' has no list for 4 images"),
        ({"labels": [1, 2, 3, 0]}, "'labels' has 0, not a class 1 ... 1000"),
        ({"labels": [1, 2, 3, 1001]}, "'labels' has 1001, not a class"),
        ({"labels": [1, 2, 3, 4.0]}, "'labels' has 4.0, not a class"),
    ],
)
def test_a_wrong_file_is_named(root, folder, changes, word):
    path = folder / "train_data_batch_10"
    rewrite(path, **changes)
    refused(root, str(path), word, "image-net.org")
    assert not (folder / "imagenet64-converted").exists()


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
@pytest.mark.parametrize("long", [1 << 20, convert.ROW])
def test_a_truncated_file(root, folder, keep, long, monkeypatch):
    monkeypatch.setattr("quatgrad.data.pickles.LONG", long)
    path = folder / "val_data"
    path.write_bytes(path.read_bytes()[:keep])
    refused(root, f"{path} is damaged or truncated")


def test_the_same_file_twice(root, folder):
    shutil.copy(folder / "train_data_batch_3", folder / "train_data_batch_4")
    refused(root, "train_data_batch_4", "it has the content of train_data_batch_3")
    assert not (folder / "imagenet64-converted").exists()


def test_a_file_that_calls_a_function_is_refused(root, folder):
    class Malice:
        def __reduce__(self):
            return os.system, (f"touch {folder / 'trace'}",)

    rewrite(folder / "val_data", mean=Malice())
    refused(root, "system", "not run")
    assert not (folder / "trace").exists()


# -------------------------------------------------------------------------------- full, or killed


def test_too_little_room_is_said_before_anything_is_written(root, folder, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=600_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(root, f"takes 0.0 GB in {folder}, where 0.0 GB are free: make room")
    assert sorted(p.name for p in folder.iterdir()) == sorted(convert_files())


def test_what_a_killed_conversion_left_takes_no_room(root, folder, monkeypatch):
    leftover = folder / ".imagenet64-converting"
    leftover.mkdir()
    usage = shutil.disk_usage(folder)
    full = usage._replace(free=0)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: full if any(leftover.iterdir()) else usage
    )
    (leftover / "train_images.npy").write_bytes(b"half")
    assert len(data.load("imagenet64", root).train) == TRAIN


def test_a_disk_that_fills_up_leaves_nothing(root, folder, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    refused(root, "No space left on device", str(folder / "imagenet64-converted"), "make room")
    assert sorted(p.name for p in folder.iterdir()) == sorted(convert_files())


def convert_files():
    return [file for files in convert.SPLITS.values() for file in files]


def test_a_killed_conversion_is_done_again(root, folder):
    code = (
        "import os, signal, sys; from quatgrad import data; from quatgrad.data import convert\n"
        "convert._write_split = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "data.load('imagenet64', sys.argv[1])"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert killed.returncode == -9
    assert (folder / ".imagenet64-converting").is_dir()
    assert len(data.load("imagenet64", root).train) == TRAIN
    assert not (folder / ".imagenet64-converting").exists()


# ------------------------------------------------------------------ converted files that are wrong


@pytest.fixture
def converted(root, folder):
    data.load("imagenet64", root)
    return folder / "imagenet64-converted"


def test_an_official_file_that_changed(root, folder, converted):
    path = folder / "train_data_batch_2"
    path.write_bytes(path.read_bytes() + b"more")
    refused(root, str(path), f"delete {converted} to convert it again")


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize("what", ["labels", "checksums"])
def test_a_changed_label_or_checksum(root, converted, which, what):
    path = converted / f"{which}_{what}.npy"
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1
    path.write_bytes(raw)
    refused(root, f"{path} was changed or damaged after the conversion: its SHA-256 is ",
            f"delete {converted}")  # fmt: skip


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize("what", ["images", "labels", "checksums"])
def test_a_truncated_or_missing_converted_file(root, converted, which, what):
    path = converted / f"{which}_{what}.npy"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    refused(root, str(path), f"it has {size - 1:,} bytes, not {size:,}")
    path.unlink()
    refused(root, str(path), "it is missing")


def test_a_changed_pixel_is_found_when_it_is_read(root, converted):
    dataset = data.load("imagenet64", root)
    path = converted / "train_images.npy"
    with open(path, "r+b") as file:
        file.seek(
            -convert.ROW * 3 - 1, os.SEEK_END
        )  # the last byte of the fourth image from the end
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert len(dataset.train.images[: TRAIN - 4]) == TRAIN - 4
    with pytest.raises(DataError, match=rf"image {TRAIN - 4} is damaged, its CRC-32 is \w+, not"):
        dataset.train.images[TRAIN - 4 :]
    with pytest.raises(DataError, match="is damaged"):
        list(data.batches(dataset, 16, 0, 0))


def test_images_that_vanish_or_shrink_while_they_are_used(root, converted):
    images = data.load("imagenet64", root).train.images
    path = converted / "train_images.npy"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match=f"image {TRAIN - 1} is damaged"):
        images[:]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read any more: No such file"):
        images[:2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"read": {}}',
        '{"read": {"val_data": 5}, "written": {}}',
        '{"read": {}, "written": {}}',
    ],
)
def test_damaged_contents(root, converted, text):
    (converted / "contents.json").write_text(text)
    refused(root, f"{converted / 'contents.json'} was changed or damaged")


def test_a_damaged_header(root, converted):
    path = converted / "test_images.npy"
    raw = path.read_bytes()
    path.write_bytes(b"\x00" + raw[1:])
    refused(root, f"{path} cannot be read as a .npy file")
    path.write_bytes(raw.replace(b"|u1", b"|i1"))
    refused(root, "holds |i1", "must hold uint8")


def test_the_record_names_what_was_read(root, folder, converted):
    contents = json.loads((converted / "contents.json").read_text())
    assert list(contents["read"]) == convert_files()
    for name, found in contents["read"].items():
        assert found["bytes"] == (folder / name).stat().st_size
        assert len(found["sha256"]) == 64
