"""What the checkers of lesson 8 say to typical wrong answers."""

import pytest

from checkers import lesson08 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda a, b, c, d: (a * c - b * d, a * d + b * c), "with 4 multiplications, not 3"),
    (lambda a, b, c, d: (a * c + b * d, a * d + b * c), "bd is subtracted"),
    (lambda a, b, c, d: (a * c - b * d, (a + b) * (c + d)), "take them away"),
    (lambda a, b, c, d: (a * c - b * d, (a + b) * (c + d) - a * c), "Only one of ac and bd"),
    (lambda a, b, c, d: (a * d + b * c, a * c - b * d), "swapped"),
    (lambda a, b, c, d: a * c - b * d, "two numbers are asked for"),
])  # fmt: skip
def test_a_wrong_complex_product(says, answer, hint):
    assert hint in says(check.gauss, answer)


def test_another_way_with_three_is_right_too(says):
    def other(a, b, c, d):
        k = c * (a + b)
        return k - b * (c + d), k + a * (d - c)

    assert says(check.gauss, other) == "correct"


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda a, b, c, d: (a + b + c, b - c + d), "m₄ has −d₃w₂"),
    (lambda a, b, c, d: (a + b + c, b + c - d), "the sign of m₃"),
    (lambda a, b, c, d: (a + b - c, b - c - d), "m₃ is added"),
    (lambda a, b, c, d: (b - c - d, a + b + c), "swapped"),
    (lambda a, b, c, d: a + b, "two numbers are asked for"),
])  # fmt: skip
def test_a_wrong_winograd(says, answer, hint):
    assert hint in says(check.winograd, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda m, r: m * r / (m + r - 1), "one dimension"),
    (lambda m, r: (m * r / (m + r)) ** 2, "m + r − 1, not m + r"),
    (lambda m, r: ((m + r - 1) / (m * r)) ** 2, "upside down"),
    (lambda m, r: (r / (m + r - 1)) ** 2, "for each of m × m outputs"),
])  # fmt: skip
def test_a_wrong_saving(says, answer, hint):
    assert hint in says(check.saving, answer)
