"""Spun patterns: exact, seeded; a network of quaternions without biases does not see the spin."""

from pathlib import Path

import numpy as np
import pytest

from quatgrad import Tensor, data, models
from quatgrad.data import spun
from quatgrad.errors import OptionError, ShapeError
from quatgrad.lth.experiment.options import resolve
from quatgrad.quaternion import as_quaternions, from_quaternions, multiply, random_unit


def test_the_images_are_always_the_same():
    for name, fingerprint in (("spun", SPUN), ("spun-far", FAR)):
        dataset = data.load(name)
        assert dataset.fingerprint() == fingerprint
        assert dataset.input_shape == (8, 8, 4)
        assert np.bincount(dataset.train.labels).tolist() == [250] * 8
        assert np.bincount(dataset.test.labels).tolist() == [125] * 8
        assert np.isin(dataset.train.images, (0, 255)).mean() < 0.01  # few are cut off


SPUN, FAR = "401d902bb1d9dd1e", "e16d53c18d04cda0"


def test_the_product_is_that_of_the_algebra():
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((2, 5, 4))
    np.testing.assert_allclose(spun.product(p, q), multiply(p, q), atol=1e-14)


def test_two_classes_of_a_pair_have_the_same_lengths_and_angles():
    T = spun.templates().reshape(8, 64, 4)
    for k in range(0, 8, 2):
        np.testing.assert_allclose(T[k] @ T[k].T, T[k + 1] @ T[k + 1].T, atol=1e-12)
        np.testing.assert_allclose(multiply(np.eye(4)[1], T[k]), T[k + 1], atol=1e-12)


def spins(split):
    """The unit quaternion nearest to each image's, as angles in degrees: sum conj(T) x."""
    T = spun.templates()[split.labels] * [1, -1, -1, -1]
    q = spun.product(T, (split.images - 128.0) / spun.SCALE).sum(axis=(1, 2))
    return np.rad2deg(np.arccos(q[:, 0] / np.linalg.norm(q, axis=1)))


def test_spins_are_as_large_as_they_say():
    far = data.load("spun-far")
    assert spins(far.train).max() < 65
    assert spins(far.test).min() > 25
    assert np.histogram(spins(data.load("spun").test), 6, (0, 180))[0].min() > 100


@pytest.mark.parametrize(("trained", "tested"), [(0, 10), (20, 10), (10, 181)])
def test_spins_that_cannot_be(trained, tested):
    with pytest.raises(OptionError, match="0 < trained <= tested <= 180"):
        spun.load(trained=trained, tested=tested)


def logits(algebra, x):
    options = {"num_classes": 8, "in_channels": 8, "image_size": (4, 4), "width": 24, "seed": 3}
    net = models.create("modulus-300-100", algebra, **options)
    for p in net.parameters():  # modReLUs that cut something off
        if p.ndim == 1 and p.size < 8:
            p.data = np.full(p.shape, -0.3, np.float32)
    return net(Tensor(x)).data


def test_no_unit_quaternion_from_the_right_changes_a_modulus_net():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4, 4, 8), dtype=np.float32)
    u = random_unit((1,), 1, np.float32)
    y, both = from_quaternions(multiply(as_quaternions(x), u)), {}
    for algebra in ("quaternion", "real", "plus", "grouped"):
        both[algebra] = np.abs(logits(algebra, y) - logits(algebra, x)).max()
    assert both.pop("quaternion") < 1e-5
    assert min(both.values()) > 0.01


def test_a_modulus_net_has_whole_quaternions_alone():
    with pytest.raises(OptionError, match=r"modulus-300-100: .* width of 30"):
        models.create("modulus-300-100", "real", width=30)
    with pytest.raises(ShapeError, match="multiple of 4; got 0"):
        models.create("modulus-300-100", width=12, in_channels=4).modules[-2](Tensor(1.0))


def test_the_tuned_preset_is_complete():
    results = Path(__file__).parents[2] / "experiments/results/tuned/spun"
    options = resolve({"preset": str(results / "tuned-spun.toml"), "algebra": "quaternion"})
    assert (options.model.model, options.model.width) == ("modulus-300-100", 96)
    assert options.recipe.lr == pytest.approx(0.02975, abs=1e-5)
