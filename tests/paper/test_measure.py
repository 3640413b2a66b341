"""Gaps, crossovers, collapse: on curves drawn by hand, and every number known of the published."""

import math

import pytest

from quatgrad.paper import measure
from quatgrad.paper.curves import Curve, Point, pairs
from quatgrad.paper.published import published


def drawn(algebra, *points):
    made = [Point(i, x / points[0][0], x, a, None, None, 1, round(1e4 * x), round(1e4 * x))
            for i, (x, a) in enumerate(points)]  # fmt: skip
    return Curve("mnist", "lenet-12", algebra, "ours", "", tuple(made))


REAL = drawn("real", (100, 90), (10, 60), (1, 30), (0.1, 5))


def test_gaps_are_those_at_the_quaternion_levels_that_the_real_curve_spans():
    quaternion = drawn("quaternion", (25, 70), (1, 50), (0.05, 40))
    at25 = 60 + 30 * math.log10(2.5)
    assert measure.gaps(REAL, quaternion) == [(25, pytest.approx(70 - at25)), (1, 20)]
    assert measure.gap(REAL, quaternion, 0.05) is None


def test_a_network_has_collapsed_when_one_pruning_took_two_thirds():
    assert [p.x for p in measure.alive(REAL)] == [100, 10, 1]
    revived = drawn("real", (100, 90), (10, 29), (1, 80))
    assert [p.x for p in measure.alive(revived)] == [100]
    assert len(measure.alive(drawn("real", (100, 90), (10, 31)))) == 2


def test_the_widest_gap_is_one_between_networks_that_live():
    quaternion = drawn("quaternion", (25, 70), (1, 50), (0.5, 50))
    assert measure.widest_gap(REAL, quaternion) == (1, 20)
    assert measure.widest_gap(REAL, drawn("quaternion", (0.5, 50))) is None


def test_the_crossover_is_where_the_gap_is_zero_for_the_last_time():
    quaternion = drawn("quaternion", (10, 50), (1, 40))  # -10, then +10
    assert measure.crossover(REAL, quaternion) == pytest.approx(10**0.5)
    assert measure.crossover(REAL, drawn("quaternion", (10, 61), (1, 31))) == math.inf
    assert measure.crossover(REAL, drawn("quaternion", (10, 70), (1, 29))) is None
    back = drawn("quaternion", (100, 80), (10, 70), (5, 40), (1, 40))
    assert 1 < measure.crossover(REAL, back) < 5


def test_a_first_lead_ends_at_the_zero_of_the_gap_or_with_the_curves():
    quaternion = drawn("quaternion", (100, 80), (10, 70), (1, 20))  # -10, +10, -10
    lead, end = measure.first_lead(REAL, quaternion, "x")
    assert lead == [(10, 10)]
    assert end == pytest.approx(10**0.5)
    lead, end = measure.first_lead(REAL, drawn("quaternion", (10, 70), (1, 40)), "weights")
    assert ([x for x, _ in lead], end) == ([1e5, 1e4], 1e4)
    assert measure.first_lead(REAL, drawn("quaternion", (10, 50)), "x")[0] == []


def test_first_below_and_matched_down_to():
    assert measure.first_below(REAL, 50).x == 1
    assert measure.first_below(REAL, 5) is None
    better = drawn("real", (100, 60), (70, 61), (50, 59), (30, 60), (20, 50))
    assert measure.matched_down_to(better).x == 30
    assert measure.matched_down_to(REAL) is None
    assert (measure.best_less_dense(better), measure.best_less_dense(REAL)) == (1, -30)


# ------------------------------------------------------------------------- the published curves

SIZES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def five(dataset):
    return [(r, q) for _, r, q in pairs(published(), dataset, "resnet")]


def pair(dataset, model):
    return next((r, q) for m, r, q in pairs(published(), dataset) if m == model)


def test_the_jitter_of_two_runs_is_what_the_data_show():
    assert measure.noise("cifar100") == pytest.approx(2, abs=0.1)
    assert measure.noise("imagenet64") == pytest.approx(0.9, abs=0.1)
    assert measure.noise("mnist") == 0


@pytest.mark.parametrize(
    ("dataset", "model", "x", "gap", "within"),
    [
        ("cifar100", "resnet101", 6.0, 0.5, 0.05),
        ("cifar100", "resnet101", 0.706, 4.5, 0.05),
        ("cifar100", "resnet101", 0.494256, 3.8, 0.05),
        ("cifar100", "resnet101", 0.6, 4.3, 0.05),
        ("cifar100", "resnet101", 1.44137, 2.1, 0.05),
        ("cifar100", "resnet50", 0.242121, 26.6, 0.05),
        ("imagenet64", "resnet101", 0.39063, 7.03, 0.01),
        ("imagenet64", "resnet101", 0.09766, 13.3, 0.05),
        ("imagenet64", "resnet101", 6.25, 0.5, 0.05),
        ("imagenet64", "resnet101", 3.125, 0.2, 0.05),
        ("imagenet64", "resnet101", 1.5625, 0.8, 0.05),
        ("imagenet64", "resnet101", 0.7813, 1.8, 0.05),
        ("imagenet64", "resnet101", 0.195314, 8.8, 0.05),
        ("imagenet64", "resnet152", 25.0, 1.2, 0.05),
        ("imagenet64", "resnet152", 12.5, 1.2, 0.05),
        ("imagenet64", "resnet101", 12.5, -0.2, 0.05),
    ],
)
def test_gaps_at_equal_weights(dataset, model, x, gap, within):
    assert measure.gap(*pair(dataset, model), x) == pytest.approx(gap, abs=within)


@pytest.mark.parametrize(
    ("dataset", "level", "gaps"),
    [
        ("cifar100", 0, (-2.0, -6.1, -5.0, -3.6, -2.2)),
        ("cifar100", 11, (2.9, 3.3, 11.1, 3.8, 2.9)),
        ("cifar100", 12, (5.4, 2.2, 5.6, 4.8, 10.9)),
        ("cifar100", 13, (11.0, 6.4, 26.6, 7.8, 7.9)),
        ("imagenet64", 0, (-3.9, -4.4, -0.3, -0.1, 1.2)),
    ],
)
def test_gaps_of_the_five_networks_at_one_level(dataset, level, gaps):
    found = [measure.gap(r, q, q.points[level].x) for r, q in five(dataset)]
    assert found == pytest.approx(gaps, abs=0.05)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("cifar100", ((1.7, 3), (1.9, 2), (2.8, 2.9), (17.5, 18.5), (4, 4.5))),
        ("imagenet64", ((1.4, 1.45), (1.05, 1.15), (1.9, 2.1), (9.5, 10.5), (25, math.inf))),
    ],
)
def test_crossovers_of_the_resnets(dataset, expected):
    found = [measure.crossover(r, q) for r, q in five(dataset)]
    assert all(low <= x <= high for x, (low, high) in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("cifar100", ((0.083, 12.9), (0.118, 16.9), (0.49, 11.1), (0.169, 14.7), (0.346, 10.9))),
        ("imagenet64", ((0.17, 5.0), (0.118, 5.2), (0.169, 8.3), (0.195, 8.8), (0.195, 9.1))),
    ],
)
def test_widest_gaps_while_both_live(dataset, expected):
    found = [measure.widest_gap(r, q) for r, q in five(dataset)]
    for (x, gap), (known_x, known_gap) in zip(found, expected, strict=True):
        assert gap == pytest.approx(known_gap, abs=0.05)
        assert x == pytest.approx(known_x, rel=0.01)


@pytest.mark.parametrize(
    ("dataset", "real", "quaternion"),
    [
        ("cifar100", (64.26, 61.28, 62.24, 65.13, 65.95), (61.85, 58.12, 61.28, 64.11, 64.96)),
        ("imagenet64", (60.20, 62.73, 63.41, 65.42, 66.82), (51.64, 55.00, 60.93, 63.48, 65.06)),
    ],
)
def test_dense_accuracies(dataset, real, quaternion):
    assert [r.dense.accuracy for r, _ in five(dataset)] == pytest.approx(real, abs=0.005)
    assert [q.dense.accuracy for _, q in five(dataset)] == pytest.approx(quaternion, abs=0.005)


def test_pruned_networks_as_good_as_dense_on_cifar100():
    found = [(measure.matched_down_to(r), measure.matched_down_to(q)) for r, q in five("cifar100")]
    real, quaternion = zip(*found, strict=True)
    assert [100 * p.fraction for p in real] == pytest.approx([49, 4.0, 5.8, 8.2, 11.8], abs=0.06)
    assert quaternion[0] is None
    own = [100 * p.fraction for p in quaternion[1:]]
    assert own == pytest.approx([11.8, 24, 16.8, 49], abs=0.06)
    assert [p.x for p in quaternion[1:4]] == pytest.approx([2.9, 6.0, 4.2], abs=0.06)
    best = [(measure.best_less_dense(r), measure.best_less_dense(q)) for r, q in five("cifar100")]
    assert [b for b, _ in best] == pytest.approx([1.6, 3.8, 4.3, 2.9, 4.1], abs=0.06)
    assert [b for _, b in best] == pytest.approx([-0.5, 3.5, 0.7, 2.9, 1.3], abs=0.06)


@pytest.mark.parametrize(
    ("dataset", "real", "quaternion"),
    [
        ("cifar100", (0.114, 0.114, 0.233, 0.114, 0.163), (0.040, 0.028, 0.058, 0.083, 0.058)),
        ("imagenet64", (0.678, 0.332, 0.233, 0.195, 0.195), (0.494, 0.242, 0.169, 0.098, 0.098)),
    ],
)
def test_first_levels_below_20_percent(dataset, real, quaternion):
    found = [[measure.first_below(c, 20).x for c in rq] for rq in five(dataset)]
    assert [x for x, _ in found] == pytest.approx(real, abs=0.0006)
    assert [x for _, x in found] == pytest.approx(quaternion, abs=0.0006)


@pytest.mark.parametrize(
    ("dataset", "gaps", "weights", "ends"),
    [
        # 1.79 and 3.99 on ImageNet64: often given as 1.7 and 3.9, cut and not rounded
        ("cifar100", (0.5, 2.5), (7.5e6, 0.9e6), 0.9e6),
        ("imagenet64", (1.8, 4.0), (11.1e6, 0.043e6), 0.47e6),
    ],
)
def test_quaternion_resnet101_against_real_resnet18(dataset, gaps, weights, ends):
    real, quaternion = pair(dataset, "resnet18")[0], pair(dataset, "resnet101")[1]
    lead, _ = measure.first_lead(real, quaternion, "weights")
    assert (min(g for _, g in lead), max(g for _, g in lead)) == pytest.approx(gaps, abs=0.05)
    assert (lead[0][0], lead[-1][0]) == pytest.approx(weights, rel=0.03)
    _, end = measure.first_lead(real, quaternion, "parameters")
    assert end == pytest.approx(ends, rel=0.06)


@pytest.mark.parametrize(
    ("dataset", "model", "row", "crossover"),
    [
        ("mnist", "lenet-300-100", "98.2/97.7 98.1/97.8 97.7/97.5 96.7/90.0 -/-", None),
        ("cifar10", "conv-2", "79.0/76.7 76.4/76.4 72.4/74.8 68.2/70.9 62.7/66.2", 12.5),
        ("cifar10", "conv-4", "85.5/82.4 82.1/82.7 74.0/80.5 62.1/74.6 34.0/66.1", 13.9),
        ("cifar10", "conv-6", "87.1/85.2 82.7/85.1 -/- -/- -/-", 16.9),
        ("cifar100", "conv-4", "52.9/51.2 45.2/51.5 -/45.8 -/36.6 -/-", 19.7),
        ("cifar100", "conv-6", "55.5/53.3 -/53.4 -/48.6 -/- -/-", 20.7),
        ("mnist", "lenet-12", "92.8/91.6 88.8/91.5 52.9/88.5 -/79.2 -/44.9", 21.2),
        ("cifar10", "conv-2-early-stopping",
         "80.3/78.0 80.5/78.4 80.1/78.2 79.0/77.6 75.9/74.8", None),
    ],
)  # fmt: skip
def test_the_predecessors_table_at_equal_fractions(dataset, model, row, crossover):
    real, quaternion = pair(dataset, model)
    for x, cell in zip((25, 12.5, 6.25, 3.125, 1.5625), row.split(), strict=True):
        for curve, known in zip((real, quaternion), cell.split("/"), strict=True):
            if known == "-":
                assert curve.at(x) is None
            else:
                assert curve.at(x) == pytest.approx(float(known), abs=0.1)
    found = measure.crossover(real, quaternion)
    assert found == (crossover and pytest.approx(crossover, abs=0.06))


@pytest.mark.parametrize(
    ("dataset", "model", "real", "quaternion"),
    [
        ("mnist", "lenet-300-100", 98.08, 97.60), ("mnist", "lenet-12", 94.20, 91.60),
        ("cifar10", "conv-2", 79.93, 76.67), ("cifar10", "conv-4", 86.59, 82.41),
        ("cifar10", "conv-6", 88.45, 85.16), ("cifar100", "conv-4", 56.30, 51.18),
        ("cifar100", "conv-6", 56.76, 53.29),
    ],
)  # fmt: skip
def test_the_predecessors_dense_networks(dataset, model, real, quaternion):
    """Its figure 2, read independently of figure 4: within 0.07 points."""
    found = [c.dense.accuracy for c in pair(dataset, model)]
    assert found == pytest.approx([real, quaternion], abs=0.075)


def test_pairs_are_in_the_order_of_the_depths():
    assert tuple(r.model for r, _ in five("cifar100")) == SIZES
