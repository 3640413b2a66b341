import threading
import time
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import data
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.dataset import Dataset, Split
from quatgrad.errors import OptionError
from quatgrad.random import generator


def as_float(images):
    return images.astype(np.float32)


def make(n, augment=None):
    """Image number k is full of k + 1 (0 is the padding), and its label is k % 5."""
    images = np.empty((n, 6, 6, 1), dtype=np.uint8)
    images[:] = (np.arange(n) + 1)[:, None, None, None]
    split = Split(images, np.arange(n) % 5)
    return Dataset("toy", split, split, tuple("abcde"), as_float, augment)


def joined(pieces):
    xs, ys = zip(*pieces, strict=True)
    return np.concatenate(xs), np.concatenate(ys)


@pytest.fixture
def ahead(monkeypatch):
    """Every batch counts as large: a thread prepares it."""
    monkeypatch.setattr(import_module("quatgrad.data.batches"), "LARGE", 1)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("quatgrad-batches")]


sizes = st.integers(1, 40)
counts = st.integers(1, 60)


@given(n=counts, size=sizes, seed=st.integers(0, 99), epoch=st.integers(0, 200))
def test_every_image_exactly_once_with_its_label(n, size, seed, epoch):
    pieces = list(data.batches(make(n), size, seed, epoch))
    x, y = joined(pieces)
    k = x[:, 0, 0, 0].astype(int) - 1
    assert sorted(k) == list(range(n))
    assert np.array_equal(y, k % 5)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert np.array_equal(k, generator(seed, "order", epoch).permutation(n))
    assert len(pieces) == data.num_batches(n, size)


@given(n=counts, size=sizes)
def test_where_an_epoch_is_cut(n, size):
    came = [len(y) for _, y in data.batches(make(n), size, 0, 0)]
    full, rest = divmod(n, size)
    expected = [size] * full + [rest] * (rest > 0)
    if rest == 1 and full:  # a lone image joins the batch before it
        expected[-2:] = [size + 1]
    assert came == expected
    assert [len(y) for _, y in data.test_batches(make(n).train, as_float, size)] == expected


@given(a=sizes, b=sizes, epoch=st.integers(0, 9))
def test_draws_do_not_depend_on_the_batch_size(a, b, epoch):
    dataset = make(41, pad_crop_flip)
    for left, right in zip(
        joined(data.batches(dataset, a, 7, epoch)),
        joined(data.batches(dataset, b, 7, epoch)),
        strict=True,
    ):
        assert np.array_equal(left, right)


def test_seed_and_epoch_change_order_and_augmentation():
    dataset = make(41, pad_crop_flip)
    runs = [joined(data.batches(dataset, 8, *key)) for key in ((0, 0), (0, 1), (1, 0), (0, 0))]
    orders = [x.max((1, 2, 3)) for x, _ in runs]
    moves = [(x > 0).sum((1, 2, 3)) for x, _ in runs]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(orders[a], orders[b])
        assert not np.array_equal(moves[a], moves[b])
    assert np.array_equal(runs[0][0], runs[3][0])


def test_augmentation_leaves_the_dataset_alone():
    dataset = make(41, pad_crop_flip)
    before = dataset.train.images.copy()
    joined(data.batches(dataset, 8, 0, 0))
    assert np.array_equal(dataset.train.images, before)


def test_test_batches_are_in_order_and_not_augmented():
    dataset = make(23, pad_crop_flip)
    x, y = joined(data.test_batches(dataset.test, dataset.encode, 4))
    assert np.array_equal(x, as_float(dataset.test.images))
    assert np.array_equal(y, dataset.test.labels)


@pytest.mark.parametrize("size", [0, -3])
def test_batch_size_below_one_is_refused_at_the_call(size):
    dataset = make(5)
    with pytest.raises(OptionError, match=f"batches of {size}"):
        data.batches(dataset, size, 0, 0)
    with pytest.raises(OptionError, match=f"batches of {size}"):
        data.test_batches(dataset.test, dataset.encode, size)
    with pytest.raises(OptionError, match="0 images"):
        data.num_batches(0, 8)


# ------------------------------------------------------------------------------ prepared ahead


def test_batches_prepared_ahead_are_the_same(ahead):
    came, end, also = [], [], []
    dataset = make(41, pad_crop_flip)
    for x, y in data.batches(dataset, 8, 7, 3):
        came.append((x, y))
        end.append(len(threads()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("quatgrad.data.batches"), "LARGE", 1 << 60)
        for x, y in data.batches(dataset, 8, 7, 3):
            also.append((x, y))
            assert threads() == []
    assert end == [1] * 5
    for (x, y), (x2, y2) in zip(came, also, strict=True):
        assert np.array_equal(x, x2)
        assert np.array_equal(y, y2)


def test_test_batches_prepared_ahead_are_the_same(ahead):
    dataset = make(23)
    pieces = data.test_batches(dataset.test, dataset.encode, 4)
    first = next(pieces)
    assert len(threads()) == 1
    x, y = joined([first, *pieces])
    assert threads() == []
    assert np.array_equal(x, as_float(dataset.test.images))
    assert np.array_equal(y, dataset.test.labels)


def test_the_thread_ends_when_the_iterator_is_dropped(ahead):
    pieces = data.batches(make(40), 4, 0, 0)
    assert threads() == []
    next(pieces)
    assert len(threads()) == 1
    del pieces
    assert threads() == []


def test_no_more_than_a_few_are_prepared(ahead):
    prepared = []

    def augment(images, draws):
        prepared.append(len(images))
        return images

    pieces = data.batches(make(40, augment), 4, 0, 0)
    next(pieces)
    for _ in range(100):
        time.sleep(0.001)
    assert 1 <= len(prepared) <= 3
    assert len(list(pieces)) == 9
    assert prepared == [4] * 10


def test_what_goes_wrong_in_the_thread_is_raised_at_its_batch(ahead):
    seen = []

    def augment(images, draws):
        seen.append(len(images))
        if len(seen) == 3:
            raise ZeroDivisionError("third")
        return images

    came = []
    with pytest.raises(ZeroDivisionError, match="third"):  # noqa: PT012
        for _, y in data.batches(make(40, augment), 4, 0, 0):
            came.append(len(y))
    assert came == [4, 4]
    assert seen == [4, 4, 4]
