"""What the checkers of lesson 13 say to typical wrong answers."""

import math

import numpy as np
import pytest
from scipy import stats

from checkers import lesson13 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda share, keep: None, "not answered yet"),
    (lambda share, keep: math.ceil(math.log(share) / math.log(keep)), "correct"),
    (lambda share, keep: math.floor(math.log(share) / math.log(keep)), "too few"),
    (lambda share, keep: math.ceil(math.log(share) / math.log(keep)) + 1, "too many"),
    (lambda share, keep: math.ceil((1 - share) / (1 - keep)), "not of the whole"),
    (lambda share, keep: math.ceil(math.log(keep) / math.log(share)), "other way up"),
    (lambda share, keep: math.log(share) / math.log(keep), "whole number"),
    (lambda share, keep: max(math.ceil(math.log(share) / math.log(keep)), 1), "too many"),
])  # fmt: skip
def test_levels_until(says, answer, hint):
    assert hint in says(check.levels_until, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda a, b: all(a[n].sum() == b[n].sum() for n in a), "correct"),
    (lambda a, b: sum(m.sum() for m in a.values()) == sum(m.sum() for m in b.values()),
     "one has moved"),
    (lambda a, b: all(np.array_equal(a[n], b[n]) for n in a), "at other places is fair"),
    (lambda a, b: all(a[n].size == b[n].size for n in a), "fewer weights is not fair"),
    (lambda a, b: a["1.weight"].sum() == b["1.weight"].sum(), "fewer weights is not fair"),
    (lambda a, b: False, "the same masks twice are fair"),
])  # fmt: skip
def test_fair(says, answer, hint):
    assert hint in says(check.fair, answer)


T = stats.t.ppf(0.975, 4)


def interval(ddof=1, t=T, root=2):
    return lambda values: t * np.std(values, ddof=ddof) / len(values) ** (1 / root)


@pytest.mark.parametrize(("answer", "hint"), [
    (interval(), "correct"),
    (interval(ddof=0), "ddof=1"),
    (interval(root=1), "not by n"),
    (interval(root=math.inf), "√n is missing"),
    (interval(t=1.96), "1.96"),
    (interval(t=1), "t is missing"),
    (interval(t=2 * T), "whole width"),
    (interval(t=stats.t.ppf(0.975, 3)), "subtracts 1 itself"),
    (lambda values: interval()(values) * np.std(values, ddof=1), "variance"),
])  # fmt: skip
def test_half_width(says, answer, hint):
    assert hint in says(check.half_width, answer)


def test_values_are_an_array_as_in_the_lesson(says):
    answer = lambda v: stats.t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5  # noqa: E731
    assert says(check.half_width, answer) == "correct"
