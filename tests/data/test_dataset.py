import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import data
from quatgrad.data.dataset import Dataset, Split, stratified
from quatgrad.data.encode import Encoding
from quatgrad.errors import DataError, OptionError
from quatgrad.random import generator


def make(labels, num_classes=3):
    """A dataset whose image number k is filled with the value k."""
    labels = np.asarray(labels, dtype=np.int64)
    images = np.broadcast_to(
        np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), 2, 2, 1)
    )
    split = Split(images.copy(), labels)
    encode = Encoding("blocks", (2, 2, 1), (0.0,), (1.0,))
    return Dataset("toy", split, split.take(np.arange(3)), tuple("abc"[:num_classes]), encode)


def test_split_has_a_length_and_takes_in_the_order_asked():
    split = make([0, 1, 2, 0, 1, 2]).train
    some = split.take(np.array([4, 0]))
    assert len(split) == 6
    assert len(some) == 2
    assert some.images[:, 0, 0, 0].tolist() == [4, 0]
    assert some.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, np.int64), "3 images and 2 labels"),
        (np.zeros((2, 2, 2, 1), np.float64), np.zeros(2, np.int64), "float64"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.int64), "N H W C"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.zeros((2, 1), np.int64), "axes N"),
    ],
)
def test_split_refuses(images, labels, message):
    with pytest.raises(DataError, match=message):
        Split(images, labels)


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("which", ["train", "test"])
def test_labels_outside_the_classes_are_refused(label, which):
    good = make([0, 1, 2])
    bad = Split(good.train.images, np.array([0, label, 2]))
    with pytest.raises(DataError, match=f"label is {label}, but the 3 classes"):
        replace(good, **{which: bad})


def test_shapes_and_counts():
    dataset = make([0, 1, 2, 0])
    assert dataset.num_classes == 3
    assert dataset.input_shape == (1, 1, 4)


# -------------------------------------------------------------------------------- fingerprint


def test_fingerprint_names_images_labels_and_splits():
    labels = np.arange(2500) % 3  # more than one piece
    dataset = make(labels)
    one = dataset.fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", one)
    assert make(labels).fingerprint() == one
    images = dataset.train.images.copy()
    images[2000, 1, 1, 0] ^= 1
    flat = images.reshape(2500, 4, 1, 1)
    others = [
        replace(dataset, train=Split(images, labels)),
        replace(dataset, train=Split(dataset.train.images, labels[::-1].copy())),
        replace(dataset, train=Split(flat, labels)),
        replace(dataset, train=dataset.test, test=dataset.train),
        dataset.subset(2000, 0),
        dataset.subset(2000, 1),
    ]
    assert len({one, *(other.fingerprint() for other in others)}) == 1 + len(others)


def test_fingerprint_does_not_depend_on_the_layout_in_memory():
    dataset = make([0, 1, 2] * 4)
    images = np.asfortranarray(dataset.train.images)
    assert replace(dataset, train=Split(images, dataset.train.labels)).fingerprint() == (
        dataset.fingerprint()
    )


# ------------------------------------------------------------------------------------- subset


def deal(labels, n, order):
    """The slow reference: deal the shuffled images class by class until n are dealt."""
    piles = {c: [k for k in order if labels[k] == c] for c in set(labels)}
    place = {k: position for position, k in enumerate(order)}
    dealt = []
    while len(dealt) < n:
        dealt += sorted((pile.pop(0) for pile in piles.values() if pile), key=place.get)
    return sorted(dealt[:n])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.data(), st.integers(0, 99))
def test_stratified_deals_like_cards(labels, data, seed):
    n = data.draw(st.integers(1, len(labels)))
    order = generator(seed).permutation(len(labels)).tolist()
    chosen = stratified(np.array(labels), n, generator(seed))
    assert chosen.tolist() == deal(labels, n, order)


@given(n=st.integers(3, 90), seed=st.integers(0, 1000))
def test_subset_is_even_ordered_repeatable_and_nested(n, seed):
    dataset = make(np.arange(90) % 3)
    part = dataset.subset(n, seed)
    chosen = part.train.images[:, 0, 0, 0].tolist()
    counts = np.bincount(part.train.labels, minlength=3)
    assert len(part.train) == n
    assert counts.max() - counts.min() <= 1
    assert chosen == sorted(set(chosen))
    assert chosen == dataset.subset(n, seed).train.images[:, 0, 0, 0].tolist()
    assert set(chosen) <= set(dataset.subset(min(n + 7, 90), seed).train.images[:, 0, 0, 0])
    assert part.test is dataset.test


def test_subset_depends_on_the_seed_and_whole_is_whole():
    dataset = make(np.arange(90) % 3)
    a, b = (dataset.subset(30, seed).train.images for seed in (0, 1))
    assert not np.array_equal(a, b)
    assert np.array_equal(dataset.subset(90, 5).train.images, dataset.train.images)


def test_subset_of_uneven_classes_takes_what_there_is():
    dataset = make([0] * 20 + [1] * 2 + [2] * 20)
    assert np.bincount(dataset.subset(12, 0).train.labels).tolist() == [5, 2, 5]


@pytest.mark.parametrize("n", [-1, 0, 2, 91])
def test_impossible_subsets_are_refused(n):
    with pytest.raises(OptionError, match=r"choose 3 .* to 90"):
        make(np.arange(90) % 3).subset(n, 0)


# --------------------------------------------------------------------------------------- load


def test_load_makes_the_subset():
    a = data.load("digits", subset=100, seed=3)
    b = data.load("digits").subset(100, 3)
    assert np.array_equal(a.train.images, b.train.images)
    assert len(a.test) == 360


@pytest.mark.parametrize(
    ("name", "hint"), [("cifra10", "did you mean 'cifar10'"), ("xyz", "choose one of digits,")]
)
def test_unknown_dataset(name, hint):
    with pytest.raises(OptionError, match=hint):
        data.load(name)


def test_unknown_encoder_is_refused_before_the_files_are_looked_for(home):
    with pytest.raises(OptionError, match="unknown encoder 'hsv': choose one of rgb_gray, "):
        data.load("cifar10", encoder="hsv")
    with pytest.raises(OptionError, match="'blocks' does not fit this dataset"):
        data.load("cifar100", encoder="blocks")
    with pytest.raises(OptionError, match="'rgb' does not fit this dataset"):
        data.load("digits", encoder="rgb")


def test_unknown_or_unfit_statistics(home):
    with pytest.raises(OptionError, match="unknown statistics 'coco': choose one of cifar10, "):
        data.load("cifar10", statistics="coco")
    for name in ("digits", "mnist"):
        with pytest.raises(OptionError, match=f"for colour images, and {name} is grey"):
            data.load(name, statistics="none")


# ---------------------------------------------------------------------------- validation images


@given(
    labels=st.lists(st.integers(0, 2), min_size=12, max_size=40), share=st.floats(0.25, 0.6),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_held_out_images_are_spread_and_no_image_is_lost(labels, share, seed):
    whole = make(labels)
    n = round(share * len(labels))
    some = whole.split_validation(share, seed)
    numbers = some.validation.images[:, 0, 0, 0]
    assert len(numbers) == n
    rest = some.train.images[:, 0, 0, 0].tolist()
    assert rest == [k for k in range(len(labels)) if k not in set(numbers.tolist())]
    sizes = np.bincount(labels, minlength=3)
    held = np.bincount(some.validation.labels, minlength=3)
    assert (held <= sizes // 2).all() or (held >= sizes // 2).all()
    assert set(some.train.labels.tolist()) == set(labels)
    if (held <= sizes // 2).all():  # and as even as that allows
        assert max(held, default=0) - min(held[held < sizes // 2], default=max(held)) <= 1
    assert some.validation.labels.tolist() == [labels[k] for k in numbers]
    assert some.test is whole.test
    assert whole.validation is None
    assert some.eval_split == ("validation", some.validation)
    assert whole.eval_split == ("test", whole.test)


def test_of_classes_of_one_size_the_held_out_images_are_a_stratified_draw():
    whole = make([0, 1, 2] * 8)
    drawn = stratified(whole.train.labels, 12, generator(5, "validation"))
    numbers = whole.split_validation(0.5, 5).validation.images[:, 0, 0, 0]
    assert numbers.tolist() == drawn.tolist()


def test_a_small_class_is_still_trained_on():
    some = make([0] * 60 + [1] * 60 + [2] * 5 + [0]).split_validation(0.2, 0)
    assert np.bincount(some.validation.labels).tolist() == [11, 12, 2]
    most = make([0, 1] * 20 + [2]).split_validation(38 / 41, 0)
    assert np.bincount(most.train.labels).tolist() == [1, 1, 1]


def test_images_that_are_held_out_already_are_not_thrown_away():
    with pytest.raises(OptionError, match="toy has 3 validation images of its own"):
        make([0, 1, 2] * 4).split_validation(0.25, 0).split_validation(0.25, 0)


def test_held_out_images_are_part_of_the_fingerprint():
    whole = make([0, 1, 2] * 4)
    one, other = whole.split_validation(0.25, 0), whole.split_validation(0.25, 1)
    prints = {d.fingerprint() for d in (whole, one, other, replace(one, validation=None))}
    assert len(prints) == 4


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_too_few_images_held_out_or_left(share):
    with pytest.raises(OptionError, match=r"of the 12 training images of toy: .* 3 or more"):
        make([0, 1, 2] * 4).split_validation(share, 0)


def test_a_validation_label_outside_the_classes_is_refused():
    good = make([0, 1, 2])
    with pytest.raises(DataError, match="a validation label is 3"):
        replace(good, validation=Split(good.train.images, np.array([0, 1, 3])))
