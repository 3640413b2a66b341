import numpy as np
import pytest

from quatgrad import data
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError, OptionError

NAMES = ("mnist", "cifar10", "cifar100", "imagenet64")


@pytest.mark.parametrize("name", NAMES)
def test_made_data_is_read_and_its_classes_differ(name, tmp_path):
    dataset = data.load(name, make(name, tmp_path, train=60, test=40, num_classes=4))
    assert (len(dataset.train), len(dataset.test)) == (60, 40)
    for split in (dataset.train, dataset.test):
        assert np.bincount(split.labels).tolist() == [len(split) // 4] * 4
        assert split.labels.tolist() != sorted(split.labels)
    # the nearest class mean of the training images is the class of every test image
    images, labels = (dataset.train.images[:] / 1.0), dataset.train.labels
    means = np.stack([images[labels == k].mean(0) for k in range(4)])
    distance = ((dataset.test.images[:][:, None] - means) ** 2).sum((2, 3, 4))
    assert np.array_equal(distance.argmin(1), dataset.test.labels)


@pytest.mark.parametrize("name", NAMES)
def test_made_data_depends_on_the_seed_alone(name, tmp_path):
    marks = [
        data.load(name, make(name, tmp_path / str(k), 20, 10, seed=seed)).fingerprint()
        for k, seed in enumerate((0, 0, 1))
    ]
    assert marks[0] == marks[1] != marks[2]


def test_files_that_are_there_are_never_overwritten(tmp_path):
    make("mnist", tmp_path)
    with pytest.raises(DataError, match=r"mnist cannot be made in .*: File exists"):
        make("mnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("svhn", {}),
        ("cifar10", {"num_classes": 11}),
        ("cifar10", {"num_classes": 0}),
        ("cifar10", {"train": 4}),
        ("imagenet64", {"test": 0}),
    ],
)
def test_the_impossible_is_refused(name, options, tmp_path):
    with pytest.raises(OptionError, match=r"can(not)? be made"):
        make(name, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
