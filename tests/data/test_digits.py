import numpy as np
from sklearn.datasets import load_digits

from quatgrad.data import digits, load


def test_split_is_fixed_disjoint_whole_and_balanced():
    a, b = load("digits"), digits.load()
    assert np.array_equal(a.train.images, b.train.images)
    assert len(a.train) == 1437
    assert len(a.test) == 360
    assert np.bincount(a.test.labels).tolist() == [36] * 10
    assert np.bincount(a.train.labels).min() >= 138

    raw = load_digits()
    together = np.concatenate([a.train.images, a.test.images]).reshape(1797, 64)
    labels = np.concatenate([a.train.labels, a.test.labels])
    came = sorted((*image, label) for image, label in zip(together, labels, strict=True))
    meant = sorted((*image, label) for image, label in zip(raw.data, raw.target, strict=True))
    assert np.array_equal(came, meant)


def test_split_is_the_published_one():
    # If this fails, results on digits can no longer be compared with older ones.
    assert load("digits").test.labels[:12].tolist() == [4, 9, 0, 2, 5, 9, 0, 5, 5, 6, 9, 8]


def test_encoding_is_normalised_blocks():
    dataset = load("digits")
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.max() == 16
    assert dataset.input_shape == (4, 4, 4)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.augment is None
    x = dataset.encode(dataset.train.images)
    assert x.dtype == np.float32
    assert abs(x.mean()) < 1e-5
    assert abs(x.std() - 1) < 1e-5
