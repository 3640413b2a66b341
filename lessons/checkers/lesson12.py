"""Judges of lesson 12: counting survivors, ranking over layers, a step that wakes nobody."""

import math

import numpy as np

from checkers.judging import Wrong, agree, exercise
from quatgrad import Parameter
from quatgrad.lth.prune.counts import survivors
from quatgrad.lth.prune.rule import Rule, prune
from quatgrad.lth.ticket.mask_constraint import set_mask
from quatgrad.optim import SGD

#: Each tells one more mistake from the rule.
COUNTS = ((10, 0.7), (11, 0.75), (10, 0.75), (5, 0.7), (35, 0.7), (1, 0.2), (0, 0.5))


@exercise
def left(answer):
    """n - round((1 - keep) n), at least 1."""
    for n, keep in COUNTS:
        gone = (1 - keep) * n
        mistakes = {
            "That is how many go.": round(gone),
            "That empties the tensor: the last weight stays.": n - round(gone),
            "Round what goes, not what stays: halves round differently.": max(round(keep * n), 1),
            "int() and // cut off; the rule rounds.": n - int(gone),
            "Halves go to the even neighbour: Python's round, not floor(x + 1/2).":
                n - math.floor(gone + 0.5),
            "Rounding up removes one too many.": n - math.ceil(gone),
        }  # fmt: skip
        agree(f"left({n}, {keep})", answer(n, keep), survivors(n, keep), "rule", mistakes=mistakes)


@exercise
def largest_of_all(answer):
    """prune(..., Rule(keep, scope="global")), twice: at the second level some are dead already."""
    rng = np.random.default_rng(12)
    tensors = [rng.standard_normal((6, 5)), 0.3 * rng.standard_normal((4, 2, 3))]
    masks = [np.ones(w.shape, bool) for w in tensors]
    for level in (1, 2):
        want = _pruned(tensors, masks, Rule(0.6, scope="global"))
        each = _pruned(tensors, masks, Rule(0.6))
        dead_too = _pruned([w * m for w, m in zip(tensors, masks, strict=True)],
                           [np.ones(w.shape, bool) for w in tensors],
                           Rule(0.6, scope="global"))  # fmt: skip
        got = answer([w.copy() for w in tensors], [m.copy() for m in masks], 0.6)
        if len(got) != len(tensors):
            raise Wrong(f"there are {len(tensors)} tensors, and {len(got)} masks came back")
        for i, mask in enumerate(want):
            mistakes = {
                "Those are the smallest: they should go, and the largest stay.":
                    masks[i] & ~mask,
                "That ranks each tensor by itself; lay all of them in one row first.": each[i],
                "The dead are counted among the candidates: only those alive are ranked.":
                    dead_too[i],
                "Magnitudes are ranked: a large negative weight is large.":
                    _signed(tensors, masks)[i],
            }  # fmt: skip
            what = f"mask {i} at level {level}"
            agree(what, got[i], mask, "prune(Rule(scope='global'))", mistakes=mistakes)
        masks = want


def _pruned(tensors, masks, rule):
    weights = {str(i): Parameter(w) for i, w in enumerate(tensors)}
    return list(prune(weights, {str(i): m for i, m in enumerate(masks)}, rule).values())


def _signed(tensors, masks):
    """What ranking w in place of |w| would keep."""
    lowest = min(w.min() for w in tensors)
    return _pruned([w - lowest for w in tensors], masks, Rule(0.6, scope="global"))


@exercise
def step(answer):
    """SGD on a pruned Parameter; the velocity of the dead is 0 too."""
    rng = np.random.default_rng(12)
    w0, v0, g = rng.standard_normal((3, 3, 4))
    alive = rng.random((3, 4)) < 0.5
    w0 *= alive
    w, v = _sgd(w0, v0, g, alive)
    free_w, free_v = w0 - 0.1 * (0.9 * v0 + g), 0.9 * v0 + g
    ghost_v = 0.9 * v0 + g * alive
    of_weight = {
        "Nothing is masked: the dead train like the others.": free_w,
        "The gradient is masked, but the velocity is not: momentum wakes the dead.":
            w0 - 0.1 * ghost_v,
        "The velocity of before is forgotten; those alive go on with it.": (w0 - 0.1 * g) * alive,
        "The new velocity moves the weight, not the old one.": (w0 - 0.1 * v0) * alive,
    }  # fmt: skip
    of_velocity = {
        "The weights are right, but the dead still have a velocity: the next step that forgets "
        "the mask wakes them.": free_v,
        "The gradient is masked, but the velocity of before is not.": ghost_v,
    }
    got = _pair(answer(w0.copy(), v0.copy(), g.copy(), alive.copy(), 0.1, 0.9))
    agree("w", got[0], w, "SGD", mistakes=of_weight)
    agree("v", got[1], v, "SGD", mistakes=of_velocity)
    with np.errstate(invalid="ignore"):
        got = _pair(answer(w0.copy(), v0.copy(), np.where(alive, g, np.inf), alive, 0.1, 0.9))
    if not np.isfinite(got).all():
        raise Wrong("with infinite gradients of the dead it gives NaN: 0 * inf is no 0. "
                    "np.where(alive, x, 0) chooses where a product computes")  # fmt: skip
    agree("w, with infinite gradients of the dead,", got[0], w, "SGD")


def _pair(got):
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong("two arrays are asked for, (w, v)")
    return got


def _sgd(w0, v0, g, alive):
    """(w, v) of the package: one step of a pruned parameter, from the velocity v0."""
    w = Parameter(w0)
    set_mask(w, alive)
    optimizer = SGD([w], momentum=0.9)
    optimizer.load_state_dict({"0/velocity": v0})
    w.grad = g * alive
    optimizer.step(0.1)
    return w.numpy(), optimizer.state[0]["velocity"]
