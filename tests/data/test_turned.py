"""Turned patterns: exact, seeded, told apart by nothing but how colours stand to one another."""

import numpy as np
import pytest

from quatgrad import data
from quatgrad.data import turned
from quatgrad.errors import OptionError
from quatgrad.quaternion import from_axis_angle, rotate


def test_the_images_are_always_the_same():
    for name, fingerprint in (("turned", "59bbdcef7207d455"), ("turned-far", FAR)):
        dataset = data.load(name)
        assert dataset.fingerprint() == fingerprint
        assert dataset.input_shape == (8, 8, 4)
        assert np.bincount(dataset.train.labels).tolist() == [250] * 8
        assert np.bincount(dataset.test.labels).tolist() == [125] * 8


FAR = "4f12ea6ef80845a1"


def test_a_turn_is_that_of_the_algebra():
    rng = np.random.default_rng(0)
    v, axes, angles = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), rng.random(5) * 3
    expected = rotate(from_axis_angle(axes, angles), v)
    np.testing.assert_allclose(turned.turn(v, axes, angles), expected, atol=1e-14)


def gram(T):
    """Lengths and angles of all colours of a pattern."""
    v = T.reshape(-1, 3)
    return v @ v.T


def test_mirrored_classes_differ_in_the_sign_of_triple_products_alone():
    T = turned.templates()
    for k in range(0, 8, 2):
        np.testing.assert_allclose(gram(T[k]), gram(T[k + 1]), atol=1e-12)
        a, b = (np.linalg.det(T[n].reshape(-1, 3)[[0, 2, 16]]) for n in (k, k + 1))
        assert a == pytest.approx(-b)
        assert abs(a) > 1e-3


def angles_to_templates(split):
    """The angle of the rotation nearest to each image's, in degrees (Kabsch)."""
    T = turned.templates()[split.labels].reshape(len(split), -1, 3)
    x = (split.images.reshape(T.shape) - 128.0) / turned.SCALE
    U, _, V = np.linalg.svd(np.einsum("npi,npj->nij", x, T))
    R = U @ V
    assert (np.linalg.det(R) > 0).mean() > 0.99  # mirrored ones are other classes
    return np.rad2deg(np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1)))


def test_turns_are_as_large_as_they_say():
    far = turned.load(trained=45.0)
    assert angles_to_templates(far.train).max() < 60
    assert angles_to_templates(far.test).min() > 30
    everywhere = angles_to_templates(turned.load().test)
    assert np.histogram(everywhere, 6, (0, 180))[0].min() > 100
    assert np.array_equal(far.train.images, data.load("turned-far").train.images)


@pytest.mark.parametrize(("trained", "tested"), [(0, 10), (20, 10), (10, 181), (-5, 5)])
def test_turns_that_cannot_be(trained, tested):
    with pytest.raises(OptionError, match="0 < trained <= tested <= 180"):
        turned.load(trained=trained, tested=tested)


def test_statistics_are_its_own():
    with pytest.raises(OptionError, match="turned has its own"):
        data.load("turned", statistics="cifar10")
