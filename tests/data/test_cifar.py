import os
from pathlib import Path

import numpy as np
import pytest
from cifar_files import content, make_files, write

from quatgrad import data
from quatgrad.data import cifar
from quatgrad.data.augment import pad_crop_flip
from quatgrad.errors import DataError


def test_reads_the_official_layout(name, layout, files, tmp_path):
    dataset = data.load(name, tmp_path)
    K = layout.num_classes
    assert (dataset.name, dataset.num_classes, dataset.input_shape) == (name, K, (32, 32, 4))
    assert dataset.class_names == tuple(f"class_{i}" for i in range(K))
    assert dataset.augment is pad_crop_flip

    raw = [content(layout, 2 * K, seed) for seed in range(len(layout.train) + 1)]
    for split, parts in ((dataset.train, raw[:-1]), (dataset.test, raw[-1:])):
        rows = np.concatenate([part[b"data"] for part in parts])
        assert split.labels.tolist() == list(range(K)) * (2 * len(parts))
        assert split.images.shape == (len(rows), 32, 32, 3)
        for colour in range(3):
            plane = rows[:, 1024 * colour : 1024 * (colour + 1)].reshape(-1, 32, 32)
            assert np.array_equal(split.images[..., colour], plane)


@pytest.mark.parametrize("encoder", ["rgb", "rgb_gray", "zero_real"])
@pytest.mark.parametrize("statistics", [None, *data.STATISTICS])
def test_encodes_with_the_statistics_asked_for(name, files, tmp_path, encoder, statistics):
    dataset = data.load(name, tmp_path, encoder=encoder, statistics=statistics)
    x = dataset.encode(dataset.test.images)
    mean, std = map(np.array, data.STATISTICS[statistics or name])
    expected = (dataset.test.images / 255 - mean) / std
    colours = x[..., 1:] if encoder == "zero_real" else x[..., :3]
    assert x.dtype == np.float32
    assert np.allclose(colours, expected, rtol=1e-5, atol=1e-5)


def test_batches_and_subset(name, layout, files, tmp_path):
    dataset = data.load(name, tmp_path, subset=layout.num_classes, seed=4)
    assert sorted(dataset.train.labels) == list(range(layout.num_classes))
    x, y = next(data.batches(dataset, 8, seed=0, epoch=0))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((8, 32, 32, 4), np.float32, (8,), np.int64)


# ------------------------------------------------------------------------------ damaged files


def refused(name, tmp_path, *words):
    with pytest.raises(DataError) as caught:
        data.load(name, tmp_path)
    message = str(caught.value)
    for word in (*words, "--data-dir", "QUATGRAD_DATA", cifar.LAYOUTS[name].url):
        assert word in message


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_truncated_file(name, layout, files, tmp_path, keep):
    path = files / layout.train[-1]
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    refused(name, tmp_path, str(path), "damaged or truncated")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("data", np.zeros((3, 3071), np.uint8), "an array (3, 3071), not bytes (N, 3072)"),
        ("data", np.zeros(3072, np.uint8), "an array (3072,)"),
        ("data", np.zeros((3, 3072), np.float32), "not uint8"),
        ("data", [1, 2], "'data' is list"),
        ("data", None, "it has no 'data', only ['batch_label', "),
        ("labels", None, "it has no "),
        ("labels", [0, 1], "has 2 entries for 3 images"),
        ("labels", "012", "has not a list for 3 images"),
        ("labels", [0, 1, 1000], "1000 is not a class 0 ... "),
        ("labels", [0, -1, 1], "-1 is not a class"),
        ("labels", [0, 1.0, 1], "1.0 is not a class"),
        ("labels", [0, True, 1], "True is not a class"),
    ],
)
def test_tampered_file(name, layout, files, tmp_path, key, value, word):
    what = content(layout, 3, 0)
    key = {"data": "data", "labels": layout.labels_key}[key].encode()
    what[key] = value
    if value is None:
        del what[key]
    path = files / layout.test
    write(path, what)
    refused(name, tmp_path, str(path), word)


@pytest.mark.parametrize("names", [[b"a", b"b"], b"abcdefghij"])
def test_wrong_class_names(name, layout, files, tmp_path, names):
    write(files / layout.meta, {layout.names_key.encode(): names})
    refused(name, tmp_path, layout.meta, "is no list of")


class Malice:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def test_malicious_file_is_not_run(name, layout, files, tmp_path):
    write(files / layout.train[0], {b"data": Malice(tmp_path / "trace")})
    refused(name, tmp_path, layout.train[0], "system", "was not run")
    assert not (tmp_path / "trace").exists()


# ---------------------------------------------------------------------------- finding the files


@pytest.fixture
def no_download(monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"a download was tried: {arguments}")

    monkeypatch.setattr(cifar, "fetch_folder", fail)


def test_search_order(name, layout, home, tmp_path, monkeypatch, no_download):
    given, named = tmp_path / "given", tmp_path / "named"
    for root in (given, named, home / ".cache" / "quatgrad"):
        make_files(root, layout)
    assert cifar.ensure(name) == home / ".cache" / "quatgrad" / layout.folder
    monkeypatch.setenv("QUATGRAD_DATA", str(named))
    assert cifar.ensure(name) == named / layout.folder
    assert cifar.ensure(name, given) == given / layout.folder
    assert cifar.ensure(name, "~/.cache/quatgrad").parent.parent == home / ".cache"


@pytest.mark.parametrize("by", ["argument", "environment", "nobody"])
def test_missing_says_where_it_looked_and_downloads_nothing(
    name, layout, home, tmp_path, monkeypatch, no_download, by
):
    root = home / ".cache" / "quatgrad" if by == "nobody" else tmp_path / "nowhere"
    if by == "environment":
        monkeypatch.setenv("QUATGRAD_DATA", str(root))
    with pytest.raises(DataError, match="QUATGRAD_DATA=DIR") as caught:
        cifar.ensure(name, root if by == "argument" else None, download=by != "nobody")
    assert f"{name}: {root / layout.folder} lacks {layout.train[0]}" in str(caught.value)
    assert not root.exists()


def test_one_missing_file_is_named(name, layout, files, tmp_path):
    (files / layout.test).unlink()
    refused(name, tmp_path, f"lacks {layout.test}; ")


def test_an_incomplete_cache_is_not_overwritten(name, layout, home, no_download):
    folder = make_files(home / ".cache" / "quatgrad", layout)
    (folder / layout.meta).unlink()
    with pytest.raises(DataError, match="delete it first"):
        data.load(name)


def test_downloads_only_into_the_cache(name, layout, home, monkeypatch):
    asked = []

    def fetch(url, md5, folder, files, root):
        asked.append((url, md5, root))
        return make_files(root, layout)

    monkeypatch.setattr(cifar, "fetch_folder", fetch)
    assert data.load(name).num_classes == layout.num_classes
    assert data.load(name).num_classes == layout.num_classes
    assert asked == [(layout.url, layout.md5, home / ".cache" / "quatgrad")]


# -------------------------------------------------------------------------------- the real data


def test_the_real_cifar100():
    root = os.environ.get("QUATGRAD_DATA")
    if not root or not (Path(root) / "cifar-100-python").is_dir():
        pytest.skip("QUATGRAD_DATA names no folder with cifar-100-python")
    dataset = data.load("cifar100")
    assert len(dataset.test) == 10_000
    assert np.bincount(dataset.test.labels).tolist() == [100] * 100
    pixels = dataset.train.images[::50] / np.float32(255)
    assert np.allclose(pixels.mean((0, 1, 2)), data.STATISTICS["cifar100"][0], atol=0.02)
