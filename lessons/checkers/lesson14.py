"""Judges of lesson 14: quaternions at work, multiply-adds of a pruned layer, equal work."""

import math

import numpy as np

from checkers.judging import Wrong, agree, exercise
from quatgrad.costs import costs
from quatgrad.nn import Conv2d, QConv2d
from quatgrad.paper.published import published


@exercise
def at_work(answer):
    """The binomial probabilities of 1 to 4 parts, added up."""
    for keep in (0.25, 0.6, 1.0):
        chance = [math.comb(4, n) * keep**n * (1 - keep) ** (4 - n) for n in range(5)]
        mistakes = {
            "That is the share of which all four parts are left.": chance[4],
            "That is the share of those wholly gone.": chance[0],
            "Exactly one part is not at least one.": chance[1],
            "Chances of things that can happen together do not add up.": min(4 * keep, 1.0),
            "That is the share of a mask of whole quaternions.": keep,
            "A quaternion has four parts.": 1 - (1 - keep) ** 3,
        }
        agree(f"at_work({keep})", answer(keep), sum(chance[1:]), "binomial", mistakes=mistakes)


@exercise
def multiply_adds(answer):
    """`costs` of a convolution of which half of the weights are left."""
    rng = np.random.default_rng(14)
    for kind, components in ((Conv2d, 1), (QConv2d, 4)):
        layer = kind(4, 8, 3, padding=1, bias=False, rng=rng)
        masks = {"weight": rng.random(layer.weight.shape) < 0.5}
        alive, (H, W) = int(masks["weight"].sum()), (5, 7)
        mistakes = {
            "Each weight is multiplied at every pixel of the output.": alive * components,
            "A component of a quaternion stands in four places.": alive * H * W,
            "The window is in the number of weights already.": alive * components * H * W * 9,
            "Dividing by four counts quaternions; each component meets four.":
                alive * H * W / components,
            "Sixteen products for four components: four for each.":
                alive * H * W * components**2,
        }  # fmt: skip
        what = f"multiply_adds({alive}, {H}, {W}, {components})"
        want = costs(layer, (H, W, 4), masks).multiply_adds
        agree(what, answer(alive, H, W, components), want, "costs", mistakes=mistakes)


@exercise
def gap_at_equal_work(answer):
    """Both curves where the same share of their own weights is left."""
    curves = published()
    for model, level in (("resnet18", 12), ("resnet101", 8)):
        real, quaternion = (curves["cifar100", model, a] for a in ("real", "quaternion"))
        f, here = quaternion.points[level].fraction, quaternion.points[level].accuracy
        mistakes = {
            "That is the gap at equal weights: there the real network does a quarter of the work.":
                here - real.at(quaternion.points[level].x),
            "`at(x)` wants %, and of the real network's weights.":
                _read(quaternion, 100 * f) - _read(real, 100 * f),
            "At a quarter of its own share the quaternion network does a quarter of the work.":
                quaternion.at(f / 4, "fraction") - real.at(f, "fraction"),
        }  # fmt: skip
        what = f"the gap of {model} at {f:.2%} of the work"
        want = here - real.points[level].accuracy  # both lost the same share at each level
        got = _gap(answer, real, quaternion, f)
        agree(what, got, want, "level by level", mistakes=mistakes, tolerance=1e-3)


def _gap(answer, real, quaternion, f):
    """The answer; `at` gives None beyond the ends of a curve, and None cannot be subtracted."""
    try:
        return answer(real, quaternion, f)
    except TypeError as error:
        if "NoneType" not in str(error):
            raise
        raise Wrong(
            f"a curve has no point at {f:.2%}: `at` gave None. at(x) wants x in % of the "
            "real network's weights, at(f, 'fraction') a share of its own"
        ) from None


def _read(curve, x):
    """`curve.at(x)`, NaN beyond its ends."""
    value = curve.at(x)
    return math.nan if value is None else value
