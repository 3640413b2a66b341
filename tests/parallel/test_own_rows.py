"""Of images on the disk each process reads its own: none other, and all of them once."""

import numpy as np
import pytest

from quatgrad import data, models
from quatgrad.data import disk, synthetic
from quatgrad.parallel.processes import Several
from quatgrad.train import evaluate

TRAIN, TEST = 45, 23


class Counting(Several):
    """One of several, whose sums stay its own."""

    def sum_metrics(self, sums, share):
        return sums

    def rows(self, n):
        return self.share(n).rows


@pytest.fixture
def images(tmp_path):
    synthetic.make("imagenet64", tmp_path, train=TRAIN, test=TEST, num_classes=5)
    return data.load("imagenet64", tmp_path)


@pytest.fixture
def read(monkeypatch):
    """Rows of the file, in the order in which they are read."""
    rows, honest = [], disk.ImagesOnDisk._read

    def counting(self, file, row, image):
        rows.append(row)
        honest(self, file, row, image)

    monkeypatch.setattr(disk.ImagesOnDisk, "_read", counting)
    return rows


def epoch(images, rank, n):
    return data.batches(images, 16, 1, 0, part=Counting(n, rank, False).rows)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_of_an_epoch_each_reads_its_share(images, read, n):
    every = []
    for rank in range(n):
        mine = epoch(images, rank, n)
        read.clear()  # one is read to know its size
        assert sum(len(x) for x, _ in mine) == len(read)
        assert TRAIN // n - 3 <= len(read) <= TRAIN // n + 3
        every += read
    assert sorted(every) == list(range(TRAIN))


def test_a_share_is_what_the_whole_batch_has_there(images):
    whole = [*data.batches(images, 16, 1, 0)]
    parts = [[*epoch(images, rank, 3)] for rank in range(3)]
    for k, batch in enumerate(whole):
        for i, of_all in enumerate(batch):
            assert (np.concatenate([p[k][i] for p in parts]) == of_all).all()


def test_of_the_test_images_each_reads_its_share(images, read):
    net = models.create("lenet-300-100", "real", 5, 4, 4, image_size=(64, 64), seed=0)
    every = []
    for rank in range(4):
        read.clear()
        evaluate(net, images.test, images, 4, Counting(4, rank, False))
        assert read.pop(0) == 0  # to know its size
        assert TEST // 4 <= len(read) <= TEST // 4 + 1
        every += read
    assert sorted(every) == list(range(TEST))


def test_no_image_is_read_to_compare_what_processes_have(images, read):
    images.fingerprint()
    assert not read
