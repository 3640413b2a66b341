"""What is left after each pruning, exactly as published, of networks that nobody has trained.

387 points of "Large Neural Networks at a Fraction": how many weights a level leaves depends on the
sizes of the tensors and on the rule alone, here `survivors` of each component tensor.
"""

from itertools import groupby

import numpy as np
import pytest
from blank_nets import blank

from quatgrad import models
from quatgrad.lth import full_masks, prune_by_magnitude
from quatgrad.lth.prune.counts import survivors
from quatgrad.paper.published import rows

CLASSES = {"CIFAR-100": 100, "ImageNet64x64": 1000}
POINTS = rows("cifar100_results") + rows("imagenet64_results")


def curve(point):
    return point["dataset"], point["model"], point["algebra"]


CURVES = {key: list(points) for key, points in groupby(sorted(POINTS, key=curve), curve)}


def test_there_are_387_points_on_20_curves():
    assert len(POINTS) == 387
    assert len(CURVES) == 20
    for points in CURVES.values():
        assert [int(p["prune_iteration"]) for p in points] == list(range(len(points)))


@pytest.mark.parametrize("key", CURVES, ids=" ".join)
def test_the_rule_leaves_the_published_weights_to_the_last_bit(key):
    dataset, model, algebra = key
    weights = blank(model.lower(), algebra, CLASSES[dataset]).weight_parameters()
    alive = [w.size // w.components for _, w in weights for _ in range(w.components)]
    total = sum(alive)
    for level, point in enumerate(CURVES[key]):
        if level > 0:
            alive = [survivors(n, float(point["keep_per_level"])) for n in alive]
        assert sum(alive) == int(point["weights_remaining_count_exact"]), level
        assert sum(alive) / total == float(point["weights_remaining_fraction"]), level  # no approx


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_pruning_random_weights_leaves_the_published_fractions(algebra):
    points = CURVES["CIFAR-100", "ResNet18", algebra][: 3 if algebra == "real" else 6]
    net = models.create("resnet18", algebra, 100, init="xavier")
    weights = dict(net.weight_parameters())
    masks = full_masks(weights)
    for point in points:
        if point is not points[0]:
            masks = prune_by_magnitude(weights, masks, float(point["keep_per_level"]))
        left = sum(np.count_nonzero(m) for m in masks.values())
        assert left / sum(m.size for m in masks.values()) == float(
            point["weights_remaining_fraction"]
        )
