"""Judges of lesson 13: levels until a share, a fair control, and an interval."""

import math

import numpy as np
from scipy import stats

from checkers.judging import Wrong, agree, exercise


@exercise
def levels_until(answer):
    """ceil(log share / log keep)."""
    for share, keep in ((0.1, 0.8), (0.5, 0.7), (0.1, 0.7), (0.01, 0.5), (0.5, 0.5), (1.0, 0.7)):
        exact = math.log(share) / math.log(keep)
        want = next(level for level in range(100) if keep**level <= share)
        mistakes = {
            "One level too few: there, more than the share is still left.": want - 1,
            "One level too many: the dense network is level 0.": want + 1,
            "Each level removes a share of what is left, not of the whole.":
                math.ceil((1 - share) / (1 - keep)),
            "The logarithms are the other way up.": math.ceil(1 / exact) if exact else 0,
            "A level is a whole number: the first that is far enough.": exact,
        }  # fmt: skip
        what = f"levels_until({share}, {keep})"
        agree(what, answer(share, keep), want, "multiplying it out", mistakes=mistakes)


@exercise
def fair(answer):
    """The same sum in every tensor."""
    rng = np.random.default_rng(13)
    masks = {"1.weight": rng.random((6, 5)) < 0.5, "3.weight": rng.random((5, 4)) < 0.5}
    shuffled = {n: rng.permutation(m.ravel()).reshape(m.shape) for n, m in masks.items()}
    moved = {n: m.copy() for n, m in shuffled.items()}  # one weight, from layer to layer
    moved["1.weight"].flat[moved["1.weight"].argmax()] = False
    moved["3.weight"].flat[moved["3.weight"].argmin()] = True
    fewer = shuffled | {"3.weight": shuffled["3.weight"] & (np.arange(4) > 0)}
    cases = {
        "the same masks twice are fair": (masks, True),
        "a control with the same counts at other places is fair: the places are what it is "
        "meant to take away": (shuffled, True),
        "a control with fewer weights is not fair": (fewer, False),
        "as many weights in all are not enough: one has moved from the first layer to the second":
            (moved, False),
    }  # fmt: skip
    for sentence, (control, want) in cases.items():
        if bool(answer(masks, control)) != want:
            raise Wrong(f"{sentence}; you say {not want}")


@exercise
def half_width(answer):
    """scipy's t-interval."""
    values = np.array([3.0, 5.5, 1.0, 4.0, 2.5])
    n, s = len(values), np.std(values, ddof=1)
    t = stats.t.ppf(0.975, n - 1)
    want = stats.t.interval(0.95, n - 1, np.mean(values), stats.sem(values))[1] - np.mean(values)
    mistakes = {
        "np.std divides by n unless told otherwise: ddof=1.": t * np.std(values) / np.sqrt(n),
        "The √n is missing: that is the spread of single runs.": t * s,
        "Divide by √n, not by n.": t * s / n,
        "That is the whole width; half of it is asked for.": 2 * want,
        "1.96 is for many values; with five, s itself is uncertain: student_t(n).":
            1.96 * s / np.sqrt(n),
        "The t is missing: s / √n is one standard error.": s / np.sqrt(n),
        "That is the variance; s is its square root.": t * s**2 / np.sqrt(n),
        "student_t(n) takes n, and subtracts 1 itself.":
            stats.t.ppf(0.975, n - 2) * s / np.sqrt(n),
    }  # fmt: skip
    agree(f"half_width({values})", answer(values), want, "scipy.stats", mistakes=mistakes)
