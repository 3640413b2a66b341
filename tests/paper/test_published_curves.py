"""The published CSVs as curves: how many there are, and what their columns say of one another."""

import pytest

from quatgrad.lth.results.compare import t_interval
from quatgrad.paper.curves import Curve, Point, by_key, pairs
from quatgrad.paper.published import published, published_millions, tensors

CURVES = published()
RESNETS = [c for c in CURVES.values() if c.model.startswith("resnet")]
OLDER = [c for c in CURVES.values() if not c.model.startswith("resnet")]
IDS = "-".join


def test_every_published_point_is_there():
    assert (len(RESNETS), sum(len(c.points) for c in RESNETS)) == (20, 387)
    assert (len(OLDER), sum(len(c.points) for c in OLDER)) == (16, 248)
    assert [m for m, _, _ in pairs(CURVES, "imagenet64")] == [
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    ]  # fmt: skip


@pytest.mark.parametrize("curve", CURVES.values(), ids=lambda c: IDS(c.key))
def test_columns_agree_with_one_another(curve):
    real = CURVES[curve.dataset, curve.model, "real"].dense
    older = not curve.model.startswith("resnet")
    assert [p.level for p in curve.points] == list(range(len(curve.points)))
    unpruned = {p.parameters - p.weights for p in curve.points}
    assert len(unpruned) == 1
    for p in curve.points:
        # the predecessor's fractions have six digits, its counts are floors or ceilings
        assert p.weights / curve.dense.weights == pytest.approx(p.fraction, abs=2e-6 + 1 / 9528)
        if older and curve.dataset == "cifar100":
            continue  # plotted with the ratio of the ten-class networks
        share = p.parameters / real.parameters if older else p.weights / real.weights
        assert p.x == pytest.approx(100 * share, rel=1e-5, abs=1e-4)


def test_a_single_run_has_no_interval_and_five_trials_have_students():
    assert {(p.low, p.high, p.trials) for c in RESNETS for p in c.points} == {(None, None, 1)}
    point = CURVES["cifar10", "conv-2", "real"].points[1]  # 78.30 +- 0.53
    assert point.half_width == pytest.approx(2.776 * 0.53 / 5**0.5, rel=1e-3)
    assert point.low == pytest.approx(78.30 - 0.658, abs=1e-3)
    assert t_interval(1.0, 2) == pytest.approx(12.706 / 2**0.5, rel=1e-4)


def test_counts_of_the_parameter_table():
    assert published_millions("imagenet64", "resnet152", "quaternion") == "15.16"
    assert published_millions("cifar100", "resnet18", "real") == "11.22"
    assert published_millions("cifar10", "conv-2", "real") is None
    assert (tensors("resnet18", "real"), tensors("resnet18", "quaternion")) == (21, 84)
    assert tensors("conv-2", "real") is None


def curve(*points, algebra="real", **more):
    made = [Point(i, x / 100, x, a, None, None, 1, round(1000 * x), round(1000 * x))
            for i, (x, a) in enumerate(points)]  # fmt: skip
    return Curve("cifar100", "resnet18", algebra, "ours", "", tuple(made), **more)


def test_between_levels_a_curve_is_linear_in_the_logarithm():
    c = curve((100, 60), (10, 40), (1, 0))
    assert c.at(100) == 60
    assert c.at(10) == 40
    assert c.at(10**0.5) == pytest.approx(20)
    assert c.at(10**1.25) == pytest.approx(45)
    assert c.at(1) == 0
    assert c.at(101) is None
    assert c.at(0.99) is None
    assert c.at(10_000, "weights") == 40
    assert curve((1, 5)).at(1) == 5


def test_levels_of_equal_size_divide_by_nothing():
    assert curve((100, 60), (1, 30), (1, 20)).at(1) in (30, 20)


def test_pairs_have_both_networks():
    real, quaternion = curve((100, 1)), curve((25, 1), algebra="quaternion")
    assert pairs(by_key([real]), "cifar100") == []
    assert pairs(by_key([real, quaternion]), "cifar100") == [("resnet18", real, quaternion)]
    assert pairs(by_key([real, quaternion]), "cifar100", "conv") == []
