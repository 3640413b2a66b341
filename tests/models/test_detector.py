"""The detector: its counts, the same map over both algebras, parts that are real."""

import numpy as np
import pytest

from quatgrad import Tensor, models, no_grad
from quatgrad.costs import costs
from quatgrad.errors import OptionError, ShapeError
from quatgrad.models.detector import PRIOR, split
from quatgrad.models.equal import count_weights, equal_width

CELLS = {"num_classes": 3, "in_channels": 4, "image_size": (120, 160)}


@pytest.mark.parametrize(
    ("algebra", "width", "weights"),
    [("real", 32, 583_808), ("quaternion", 32, 145_952), ("real", 16, 146_496)],
)
def test_counts(algebra, width, weights):
    assert count_weights("detector", algebra, width=width, **CELLS) == weights


def test_the_real_one_of_equal_weights_is_half_as_wide():
    assert equal_width("detector", 32, **CELLS) == 16
    assert equal_width("detector", 32, **CELLS, real_parts="stage3") > 16


def test_costs_are_those_of_its_maps():
    net = models.create("detector", "real", **CELLS)
    stem = 60 * 80 * 9 * 4 * 32
    stage1 = 30 * 40 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    stage2 = 300 * (9 * 64 * 128 + 9 * 128 * 128 + 64 * 128)
    stage3, head = 300 * 2 * 9 * 128 * 128, 300 * 128 * 8
    assert costs(net, (120, 160, 4)).multiply_adds == stem + stage1 + stage2 + stage3 + head
    twin = models.create("detector", "quaternion", **CELLS)
    assert costs(twin, (120, 160, 4)).multiply_adds == costs(net, (120, 160, 4)).multiply_adds


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"real_head": True}])
@pytest.mark.parametrize("algebra", ["real", "quaternion", "grouped", "plus"])
@pytest.mark.parametrize(("classes", "channels"), [(1, 8), (3, 8), (4, 8), (5, 12), (20, 24)])
def test_the_map_has_scores_which_start_at_the_prior(algebra, classes, channels, options):
    net = models.create("detector", algebra, classes, 4, 8, image_size=(40, 56), **options).eval()
    x = np.zeros((2, 40, 56, 4), np.float32)
    with no_grad():
        y = net(Tensor(x)).numpy()
    assert y.shape == (2, 5, 7, channels)
    scores, numbers = split(y, classes)
    assert scores.shape == (2, 5, 7, classes)
    assert numbers.shape == (2, 5, 7, 4)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), PRIOR, rtol=1e-5)  # of black pictures
    assert not numbers.any()
    np.testing.assert_array_equal(numbers, 0)


def test_the_numbers_of_a_box_are_one_quaternion():
    y = np.arange(8.0).reshape(1, 1, 1, 8)  # two quaternions: 0 2 4 6 and 1 3 5 7
    scores, numbers = split(y, 3)
    assert numbers.ravel().tolist() == [0, 2, 4, 6]
    assert scores.ravel().tolist() == [1, 3, 5]


def test_odd_pictures_and_channels_that_are_no_quaternions():
    net = models.create("detector", "quaternion", 2, 4, 8, image_size=(41, 50)).eval()
    with no_grad():
        assert net(Tensor(np.zeros((1, 41, 50, 4), np.float32))).shape == (1, 6, 7, 8)
    with pytest.raises(ShapeError):
        models.create("detector", "quaternion", 2, 3, 8)
    with pytest.raises(OptionError, match="part"):
        models.create("detector", "quaternion", 2, 4, 8, real_parts="stage4")
