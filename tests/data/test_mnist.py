import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from quatgrad import data
from quatgrad.data import mnist
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError, OptionError


@pytest.fixture
def root(tmp_path):
    return make("mnist", tmp_path / "made", train=40, test=20)


def refused(root, *words):
    with pytest.raises(DataError) as caught:
        data.load("mnist", root)
    for word in (*words, "--data-dir", "QUATGRAD_DATA", mnist.URL):
        assert word in str(caught.value)


def idx(array):
    """The IDX form, written by hand: 0 0 8 axes, sizes big-endian, bytes."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def test_reads_the_official_form_gzipped_or_not(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (n, 28, 28)) if k == 0 else rng.integers(0, 10, n)
              for n in (7, 5) for k in (0, 1)]  # fmt: skip
    for name, array in zip(mnist.FILES, arrays, strict=True):
        if "labels" in name:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (tmp_path / name).write_bytes(idx(array))
    dataset = data.load("mnist", tmp_path)  # DIR itself
    for split, images, labels in ((dataset.train, *arrays[:2]), (dataset.test, *arrays[2:])):
        assert np.array_equal(split.images[..., 0], images)
        assert np.array_equal(split.labels, labels)
    x = dataset.encode(dataset.train.images)
    expected = (arrays[0] / 255 - 0.1307) / 0.3081
    assert (x.shape, x.dtype) == ((7, 28, 7, 4), np.float32)
    assert np.allclose(x.reshape(7, 28, 28), expected, rtol=1e-5, atol=1e-5)


def test_folder_encoder_and_augmentation(root):
    dataset = data.load("mnist", root, subset=30, seed=1)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (30, 20, 10)
    assert dataset.augment is None
    assert data.load("mnist", root, encoder="blocks").input_shape == (14, 14, 4)
    with pytest.raises(OptionError, match="does not fit"):
        data.load("mnist", root, encoder="rgb")


# ------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda raw: b"", "it starts with "),
        (lambda raw: raw[:6], "it starts with "),
        (lambda raw: b"\x00\x00\x0d" + raw[3:], "it starts with 00 00 0d 03, not with 00 00 08 03"),
        (lambda raw: raw[:-1], "bytes follow its header, not 31360"),
        (lambda raw: raw + b"\x00", "31361 bytes follow its header, not 31360"),
        (lambda raw: raw[:8] + (32).to_bytes(4, "big") + raw[12:], "images are [32, 28], not [28"),
        (lambda raw: raw[:4] + (39).to_bytes(4, "big") + raw[8:-784], "39 images in"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_images(root, change, word, zipped):
    path = root / "mnist" / mnist.TRAIN_IMAGES
    raw = change(path.read_bytes())
    path.unlink()
    if zipped:
        path = path.with_name(f"{path.name}.gz")
        raw = gzip.compress(raw)
    path.write_bytes(raw)
    refused(root, mnist.TRAIN_IMAGES, word)


@pytest.mark.parametrize("raw", [b"", b"no gzip at all", gzip.compress(bytes(9000), mtime=0)[:-9]])
def test_damaged_gzip(root, raw):
    path = root / "mnist" / mnist.TEST_LABELS
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(raw)
    refused(root, f"{path}.gz is damaged")


def test_labels_in_place_of_images(root):
    folder = root / "mnist"
    (folder / mnist.TRAIN_IMAGES).write_bytes((folder / mnist.TRAIN_LABELS).read_bytes())
    refused(root, "it starts with 00 00 08 01, not with 00 00 08 03")


def test_a_label_above_nine(root):
    path = root / "mnist" / mnist.TRAIN_LABELS
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(DataError, match="label is 10, but the 10 classes"):
        data.load("mnist", root)


def test_another_dataset_of_the_official_size_is_told_apart(root, monkeypatch):
    content = (root / "mnist" / mnist.TEST_IMAGES).read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    monkeypatch.setitem(mnist.FILES, mnist.TEST_IMAGES, (20, md5))
    assert len(data.load("mnist", root).test) == 20
    monkeypatch.setitem(mnist.FILES, mnist.TEST_IMAGES, (20, "0" * 32))
    refused(root, f"has the MD5 sum {md5}, not {'0' * 32}", "Fashion-MNIST")


# ---------------------------------------------------------------------------- finding the files


def test_search_order_and_what_is_missing(root, home, tmp_path, monkeypatch):
    monkeypatch.setenv("QUATGRAD_DATA", str(root))
    assert mnist.ensure() == root / "mnist"
    other = make("mnist", tmp_path / "other", 4, 2)
    assert mnist.ensure(other) == other / "mnist"
    assert mnist.ensure(other / "mnist") == other / "mnist"
    (other / "mnist" / mnist.TEST_LABELS).unlink()
    refused(other, f"{other / 'mnist'} lacks {mnist.TEST_LABELS}; ")
    refused(tmp_path / "nowhere", f"nowhere/mnist lacks {mnist.TRAIN_IMAGES}, ")


def test_downloads_only_into_the_cache(home, root, monkeypatch):
    asked = []

    def fetch_files(url, md5, folder, where):
        asked.append((url, sorted(md5), where))
        make("mnist", where, 4, 2)
        return where / folder

    monkeypatch.setattr(mnist, "fetch_files", fetch_files)
    data.load("mnist", root)
    assert asked == []
    with pytest.raises(DataError, match="lacks"):
        mnist.ensure(download=False)
    for _ in range(2):
        assert len(data.load("mnist").train) == 4
    names = sorted(f"{name}.gz" for name in mnist.FILES)
    assert asked == [(mnist.URL, names, home / ".cache" / "quatgrad")]


def test_the_real_mnist():
    root = os.environ.get("QUATGRAD_DATA")
    if not root or not (Path(root) / "mnist").is_dir():
        pytest.skip("QUATGRAD_DATA names no folder with mnist")
    dataset = data.load("mnist")  # which compares the MD5 sums
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    pixels = dataset.train.images / np.float32(255)
    assert (round(float(pixels.mean()), 4), round(float(pixels.std()), 4)) == (
        mnist.MEAN,
        mnist.STD,
    )
