"""What the checkers of lesson 15 say to typical wrong answers."""

import numpy as np
import pytest

from checkers import lesson15 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda d, n: None, "not answered yet"),
    (lambda d, n: (1 - d) ** n, "correct"),
    (lambda d, n: 1 - d, "all of a vector must be zero"),
    (lambda d, n: 1 - (1 - d) ** n, "must be computed"),
    (lambda d, n: d**n, "all of them are left"),
    (lambda d, n: 1 - d * n, "are multiplied"),
    (lambda d, n: (1 - d) ** n / n, "counts as one"),
])  # fmt: skip
def test_skipped(says, answer, hint):
    assert hint in says(check.skipped, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda d: 4 * d / (1 - (1 - d) ** 4), "correct"),
    (lambda d: 4 * d, "nothing is loaded"),
    (lambda d: 16 * d / (1 - (1 - d) ** 4), "not one"),
    (lambda d: d / (1 - (1 - d) ** 4), "makes four products"),
    (lambda d: (1 - (1 - d) ** 4) / (4 * d), "upside down"),
    (lambda d: 16 * d, "number of products at a place"),
    (lambda d: 1.0, "serves all that are left"),
])  # fmt: skip
def test_products_per_load(says, answer, hint):
    assert hint in says(check.products_per_load, answer)


def line(d, t):
    """(offset, slope) of points on a line."""
    slope = (t[-1] - t[0]) / (d[-1] - d[0])
    return t[0] - slope * d[0], slope


def near(d, t, dense):
    """The two points around the crossing."""
    k = np.searchsorted(t, dense)
    return d[k - 1 : k + 1], t[k - 1 : k + 1]


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda d, t, dense: np.interp(dense, t, d), "correct"),
    (lambda d, t, dense: (dense - line(*near(d, t, dense))[0]) / line(*near(d, t, dense))[1],
     "correct"),
    (lambda d, t, dense: (dense - line(d, t)[0]) / line(d, t)[1], "line through all points"),
    (lambda d, t, dense: (dense - np.polyfit(d, t, 1)[1]) / np.polyfit(d, t, 1)[0], "is wrong"),
    (lambda d, t, dense: dense / line(*near(d, t, dense))[1], "does not begin at 0"),
    (lambda d, t, dense: np.interp(dense, d, t), "the other way round"),
    (lambda d, t, dense: d[np.argmin(abs(t - dense))], "between two"),
    (lambda d, t, dense: d[t >= dense][0], "go back to the crossing"),
    (lambda d, t, dense: dense / t[-1], "ratio of times"),
    (lambda d, t, dense: "0.3 %", "no array of numbers"),
])  # fmt: skip
def test_break_even(says, answer, hint):
    assert hint in says(check.break_even, answer)
