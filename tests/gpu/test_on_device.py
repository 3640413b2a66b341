"""Batches made on a GPU are those of the CPU: same draws, same images, same numbers."""

import cupy_on_cpu
import numpy as np
import pytest

from quatgrad import use_backend
from quatgrad.arrays import to_numpy
from quatgrad.data import Dataset, Split, batches, on_device, test_batches
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.encode import Encoding


def dataset(encoder, augment=pad_crop_flip, n=11, size=(8, 8)):
    rng = np.random.default_rng(0)
    C = 1 if encoder in ("blocks", "consecutive") else 3
    images = rng.integers(0, 256, (n, *size, C)).astype(np.uint8)
    split = Split(images, rng.integers(0, 2, n))
    encode = Encoding(encoder, (*size, C), (120.0, 110.5, 100.25)[:C], (60.0, 50.5, 40.25)[:C])
    return Dataset("noise", split, split, ("a", "b"), encode, augment)


def both(make):
    """Batches on the device, and on the CPU."""
    there = list(make())
    with use_backend("numpy"):
        here = list(make())
    assert len(there) == len(here)
    return zip(there, here, strict=True)


@pytest.mark.parametrize("augment", [pad_crop_flip, None], ids=["moved", "still"])
@pytest.mark.parametrize(
    "encoder",
    ["rgb", "rgb_gray", "rgb_gray_paper", "zero_real", "blocks", "consecutive", "channels"],
)
def test_batches_are_the_cpus(device, encoder, augment):
    data = dataset(encoder, augment)
    for epoch in (0, 1):
        for (x, y), (true, labels) in both(lambda e=epoch: batches(data, 4, 7, e)):
            assert type(x).__module__.startswith("cupy")
            assert x.dtype == np.float32
            np.testing.assert_allclose(to_numpy(x), true, rtol=0, atol=2e-6)
            np.testing.assert_array_equal(to_numpy(y), labels)
    for (x, y), (true, labels) in both(lambda: test_batches(data.test, data.encode, 3)):
        np.testing.assert_allclose(to_numpy(x), true, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(to_numpy(y), labels)


def test_images_are_copied_once(stand_in):
    data = dataset("rgb_gray")
    list(batches(data, 4, 7, 0))
    with cupy_on_cpu.counted() as counts:
        list(batches(data, 4, 7, 1))
    assert counts["to_device"] == 6  # labels, order, moves; mean, deviation, mix
    assert counts["to_host"] == 0
    assert counts["kernel augment"] == 3


def test_what_the_kernel_does_not_do_is_done_on_the_cpu(stand_in):
    for data in (dataset("rgb", lambda images, draws: images[:, ::-1]),
                 Dataset("own", *[dataset("rgb").train] * 2, ("a", "b"), np.float32)):  # fmt: skip
        assert all(isinstance(x, np.ndarray) for x, _ in batches(data, 4, 7, 0))


def test_images_that_do_not_fit(stand_in, monkeypatch, capsys):
    def empty(*args):
        raise cupy_on_cpu.OutOfMemoryError("Out of memory")

    data = dataset("rgb_gray")
    with monkeypatch.context() as m:
        m.setattr(stand_in, "empty", empty)
        for _ in range(2):
            assert all(isinstance(x, np.ndarray) for x, _ in batches(data, 4, 7, 0))
    assert capsys.readouterr().err.count("do not fit on the device: the CPU makes the batches") == 1


def test_many_images_are_copied_in_pieces(stand_in, monkeypatch):
    monkeypatch.setattr(on_device, "PIECE", 4)
    data = dataset("rgb_gray", None)
    for (x, _), (true, _) in both(lambda: test_batches(data.test, data.encode, 11)):
        np.testing.assert_allclose(to_numpy(x), true, rtol=0, atol=2e-6)
