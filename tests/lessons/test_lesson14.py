"""What the checkers of lesson 14 say to typical wrong answers."""

import pytest

from checkers import lesson14 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda keep: None, "not answered yet"),
    (lambda keep: 1 - (1 - keep) ** 4, "correct"),
    (lambda keep: keep**4, "all four parts are left"),
    (lambda keep: (1 - keep) ** 4, "wholly gone"),
    (lambda keep: 4 * keep * (1 - keep) ** 3, "not at least one"),
    (lambda keep: min(4 * keep, 1), "do not add up"),
    (lambda keep: keep, "whole quaternions"),
    (lambda keep: 1 - (1 - keep) ** 3, "four parts"),
])  # fmt: skip
def test_at_work(says, answer, hint):
    assert hint in says(check.at_work, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda n, H, W, c: n * c * H * W, "correct"),
    (lambda n, H, W, c: n * c, "every pixel"),
    (lambda n, H, W, c: n * H * W, "four places"),
    (lambda n, H, W, c: 9 * n * c * H * W, "window is in the number"),
    (lambda n, H, W, c: n * H * W / c, "counts quaternions"),
    (lambda n, H, W, c: n * c * c * H * W, "four for each"),
])  # fmt: skip
def test_multiply_adds(says, answer, hint):
    assert hint in says(check.multiply_adds, answer)


def gap(real=1.0, quaternion=1.0):
    """Read the curves at these multiples of the share."""
    return lambda r, q, f: q.at(f * quaternion, "fraction") - r.at(f * real, "fraction")


@pytest.mark.parametrize(("answer", "hint"), [
    (gap(), "correct"),
    (gap(real=0.25), "real network does a quarter"),
    (gap(quaternion=0.25), "quarter of its own share"),
    (lambda r, q, f: -gap()(r, q, f), "sign is turned round"),
    (lambda r, q, f: q.at(f, "fraction") - r.at(25 * f), "gap at equal weights"),
    (lambda r, q, f: q.at(f) - r.at(f), "`at` gave None"),
    (lambda r, q, f: q.at(f, "fraction") - "1", "it stops"),
    (lambda r, q, f: q.at(100 * f) - r.at(100 * f), "wants %, and of the real network's"),
])  # fmt: skip
def test_gap_at_equal_work(says, answer, hint):
    assert hint in says(check.gap_at_equal_work, answer)
