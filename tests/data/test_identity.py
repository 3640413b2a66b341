"""The files are what they are taken for: official, or known by what was read at first."""

import gzip
import hashlib
import os
import pickle
import re
import shutil

import numpy as np
import pytest

from quatgrad import data
from quatgrad.backend import notice
from quatgrad.data import cifar, identity, mnist
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError


def refused(name, root, *words):
    with pytest.raises(DataError) as caught:
        data.load(name, root)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) <= 500 + 2 * len(str(root))


def flip(path, place=-100):
    """Change a bit of a file, and leave its date alone."""
    before = path.stat()
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


FOLDERS = {"mnist": "mnist", "cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
FILES = [(name, file) for name in cifar.LAYOUTS for file in cifar.LAYOUTS[name].files]


# ------------------------------------------------------------------------------------- official


def official(monkeypatch, name, folder):
    """From now on the files in `folder` are the official ones."""
    layout = cifar.LAYOUTS[name]
    sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in layout.files}
    monkeypatch.setitem(cifar.LAYOUTS, name, layout._replace(md5_of=sums))


def count_as_whole(monkeypatch, train, test):
    monkeypatch.setattr(cifar, "TRAIN_IMAGES", train)
    monkeypatch.setattr(cifar, "TEST_IMAGES", test)


def test_official_files_are_read_without_a_word_or_a_trace(
    name, layout, tmp_path, monkeypatch, notices
):
    folder = make(name, tmp_path, 50, 10) / layout.folder
    official(monkeypatch, name, folder)
    data.load(name, tmp_path)
    assert notices() == ""
    assert sorted(p.name for p in folder.iterdir()) == sorted(layout.files)


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_flipped_bit_of_an_official_file(name, file, tmp_path, monkeypatch):
    folder = make(name, tmp_path, 50, 10) / FOLDERS[name]
    official(monkeypatch, name, folder)
    count_as_whole(monkeypatch, 50, 10)
    flip(folder / file, -3 if "meta" in file else -600)
    refused(name, tmp_path, f"{folder / file} is damaged")


def test_as_many_images_as_the_official_files_have_must_be_theirs(
    name, layout, tmp_path, monkeypatch
):
    make(name, tmp_path, 50, 10)
    count_as_whole(monkeypatch, 50, 10)
    refused(name, tmp_path, f"{layout.train[0]} is damaged: it is not the official file")


def test_the_same_images_in_other_files(name, layout, tmp_path, monkeypatch, notices):
    folder = make(name, tmp_path, 50, 10) / layout.folder
    images = data.load(name, tmp_path).train.images / 255
    (folder / identity.RECORD).unlink()
    count_as_whole(monkeypatch, 50, 10)
    colours = tuple(images.mean((0, 1, 2))), tuple(images.std((0, 1, 2)))
    monkeypatch.setitem(data.STATISTICS, name, colours)
    assert len(data.load(name, tmp_path).train) == 50
    assert f"not in the official files of {name}: repacked, it seems" in notices()
    monkeypatch.setitem(data.STATISTICS, name, (colours[0], tuple(np.array(colours[1]) + 2e-4)))
    (folder / identity.RECORD).unlink()
    refused(name, tmp_path, "it is not the official file")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "imagenet64"])
def test_other_numbers_of_images_are_noticed(name, tmp_path, notices):
    data.load(name, make(name, tmp_path, 50, 10))
    assert "holds 50 training and 10 test images, " in notices()
    assert "results compare with no others" in notices()


# ---------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize(
    ("name", "source", "copies", "where"),
    [
        ("cifar100", "train", ["test"], "test: 100 of its 100 images are in train already"),
        ("cifar10", "data_batch_1", ["data_batch_4"], "data_batch_4: 20 of its 20 images are in "
         "data_batch_1"),
        ("cifar10", "data_batch_2", ["test_batch"], "test_batch: 20 of its 20 images are in "
         "data_batch_2"),
        ("cifar10", "data_batch_1", [f"data_batch_{k}" for k in range(2, 6)], "in data_batch_1"),
        ("mnist", "train-images-idx3-ubyte", ["t10k-images-idx3-ubyte"], "images are in train-im"),
    ],
)  # fmt: skip
def test_a_file_that_is_a_copy(name, source, copies, where, tmp_path):
    folder = make(name, tmp_path, 100, 100) / FOLDERS[name]
    for copy in copies:
        shutil.copy(folder / source, folder / copy)
        labels = source.replace("images-idx3", "labels-idx1")
        if labels != source:
            shutil.copy(folder / labels, folder / copy.replace("images-idx3", "labels-idx1"))
    refused(name, tmp_path, where, "count twice")
    assert not (folder / identity.RECORD).exists()


def rows(path, change):
    content = pickle.loads(path.read_bytes())
    key = "data" if "data" in content else b"data"
    content[key] = change(content[key].copy())
    path.write_bytes(pickle.dumps(content, protocol=3))


@pytest.mark.parametrize(("twins", "is_refused"), [(5, False), (6, True), (50, True)])
def test_a_file_with_twins_inside(twins, is_refused, tmp_path):
    folder = make("cifar100", tmp_path, 50, 10) / "cifar-100-python"

    def repeat(data):
        data[: twins + 1 if twins < 50 else 50] = data[0]
        return data

    rows(folder / "train", repeat)
    if is_refused:
        refused("cifar100", tmp_path, f"train: {min(twins, 49)} of its 50 images are in it before")
    else:
        assert len(data.load("cifar100", tmp_path).train) == 50


def test_a_test_file_of_training_images_in_another_order(tmp_path):
    folder = make("cifar10", tmp_path, 100, 30) / "cifar-10-batches-py"
    train = data.load("cifar10", tmp_path).train.images[::-1]
    (folder / identity.RECORD).unlink()
    planes = train.transpose(0, 3, 1, 2).reshape(100, -1)
    rows(folder / "test_batch", lambda data: np.concatenate([planes[:20], data[:10]]))
    refused("cifar10", tmp_path, "test_batch: 20 of its 30 images are in data_batch_5 already")


def test_imagenet64_with_the_validation_images_in_a_batch(tmp_path):
    folder = make("imagenet64", tmp_path, 50, 5) / "imagenet64"
    shutil.copy(folder / "train_data_batch_7", folder / "val_data")
    rows(folder / "val_data", lambda data: data[::-1])
    refused("imagenet64", tmp_path, "val_data: 5 of its 5 images are in train_data_batch_7 already")
    assert not (folder / "imagenet64-converted").exists()


def test_hashes_differ_where_images_do():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1000, 8, 8, 3), dtype=np.uint8)
    for k in range(1, 192):
        images[k] = images[0]
        images[k].reshape(-1)[k] ^= 128  # one bit each
    numbers = identity.hashes(images)
    assert len(np.unique(numbers)) == 1000
    assert np.array_equal(identity.hashes(images[::-1]), numbers[::-1])


# --------------------------------------------------------------------------------- remembered


def content_files(name, folder):
    return [p for p in sorted(folder.iterdir()) if p.name != identity.RECORD]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_flipped_bit_after_the_first_reading(name, tmp_path):
    folder = make(name, tmp_path, 50, 10) / FOLDERS[name]
    before = data.load(name, tmp_path).fingerprint()
    assert data.load(name, tmp_path).fingerprint() == before
    for path in content_files(name, folder):
        place = -3 if "meta" in path.name or "labels" in path.name else -600
        flip(path, place)
        refused(name, tmp_path, str(path))
        flip(path, place)
    assert data.load(name, tmp_path).fingerprint() == before


def test_what_changed_is_named_with_the_way_out(tmp_path):
    folder = make("mnist", tmp_path, 50, 10) / "mnist"
    data.load("mnist", tmp_path)
    flip(folder / mnist.TEST_IMAGES)
    record = folder / identity.RECORD
    refused("mnist", tmp_path, f"{folder / mnist.TEST_IMAGES} has changed since it was first read: "
            "its MD5 sum is ", f"delete {record} if you changed it")  # fmt: skip
    record.unlink()
    data.load("mnist", tmp_path)


def test_the_content_counts_and_not_the_packing(tmp_path):
    folder = make("mnist", tmp_path, 50, 10) / "mnist"
    before = data.load("mnist", tmp_path).fingerprint()
    path = folder / mnist.TRAIN_IMAGES
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert data.load("mnist", tmp_path).fingerprint() == before


@pytest.mark.parametrize("text", ["", "[]", "{", '{"train": 5}', "[" * 10000, "{}"])
def test_a_damaged_record_is_written_anew(text, tmp_path):
    folder = make("cifar100", tmp_path, 50, 10) / "cifar-100-python"
    record = folder / identity.RECORD
    record.write_text(text)
    data.load("cifar100", tmp_path)
    flip(folder / "test", -600)
    refused("cifar100", tmp_path, "has changed since it was first read", str(record))


def test_where_nobody_may_write_it_is_remembered_in_the_cache(tmp_path, home, monkeypatch):
    folder = make("cifar100", tmp_path / "a", 50, 10) / "cifar-100-python"

    def write(path, content):
        if path.parent == folder:
            raise PermissionError(13, "Permission denied")
        path.write_bytes(content)

    monkeypatch.setattr(identity, "write_whole", write)
    data.load("cifar100", tmp_path / "a")
    (record,) = (home / ".cache" / "quatgrad").iterdir()
    flip(folder / "test", -600)
    refused("cifar100", tmp_path / "a", "has changed", str(record))


def test_nowhere_to_remember_is_no_error(tmp_path, monkeypatch):
    def write(path, content):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(identity, "write_whole", write)
    assert len(data.load("mnist", make("mnist", tmp_path, 50, 10)).train) == 50


# --------------------------------------------------------------------------------- imagenet64


@pytest.fixture
def converted(tmp_path):
    root = make("imagenet64", tmp_path, 40, 10)
    return root, data.load("imagenet64", root).fingerprint()


def test_other_official_files_of_the_same_size(converted, tmp_path):
    root, _ = converted
    other = make("imagenet64", tmp_path / "other", 40, 10, seed=1) / "imagenet64"
    shutil.copy(other / "train_data_batch_3", root / "imagenet64")
    refused("imagenet64", root, "train_data_batch_3 has other content", "convert it again")


@pytest.mark.parametrize("date", [1, 10**18])
def test_another_date_alone_is_no_change(converted, date, notices, caplog):
    root, before = converted
    path = root / "imagenet64" / "val_data"
    os.utime(path, ns=(date, date))
    assert data.load("imagenet64", root).fingerprint() == before
    assert f"{path} was written after it was converted: comparing its content" in notices()
    notice.cache_clear()
    caplog.clear()
    assert data.load("imagenet64", root).fingerprint() == before
    assert "comparing" not in notices()  # now it is known


def test_a_conversion_that_knows_no_dates(converted, tmp_path):
    root, before = converted
    contents = root / "imagenet64" / "imagenet64-converted" / "contents.json"
    text = re.sub(r',\s*"changed": \d+', "", contents.read_text())
    contents.write_text(text)
    assert data.load("imagenet64", root).fingerprint() == before
    shutil.copy(
        make("imagenet64", tmp_path / "other", 40, 10, seed=1) / "imagenet64" / "val_data",
        root / "imagenet64",
    )
    later = contents.stat().st_mtime_ns + 10**9
    os.utime(root / "imagenet64" / "val_data", ns=(later, later))
    refused("imagenet64", root, "val_data has other content")


@pytest.mark.parametrize("numbers", [range(200), range(0, 1000, 5), [3, 998]])
def test_classes_are_those_that_occur(numbers, tmp_path, notices):
    numbers = np.array(numbers)
    folder = make("imagenet64", tmp_path, 400, 10) / "imagenet64"
    for path in folder.iterdir():
        content = pickle.loads(path.read_bytes())
        content["labels"] = [int(numbers[y % len(numbers)]) + 1 for y in content["labels"]]
        path.write_bytes(pickle.dumps(content, protocol=3))
    dataset = data.load("imagenet64", tmp_path)
    assert dataset.num_classes == len(numbers)
    assert dataset.class_names == tuple(str(n + 1) for n in numbers)
    assert sorted(set(dataset.train.labels.tolist())) == list(range(len(numbers)))
    assert f"has {len(numbers)} of the 1000 classes of ImageNet64" in notices()
    assert len(data.load("imagenet64", tmp_path, subset=len(numbers)).train) == len(numbers)


def test_all_classes_are_not_noticed(tmp_path, notices):
    root = make("imagenet64", tmp_path, 1000, 10)
    assert data.load("imagenet64", root).num_classes == 1000
    assert "classes of ImageNet64" not in notices()
