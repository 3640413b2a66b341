"""What every checker can say, and that it points at the entry and the mistake."""

import numpy as np
import pytest

from checkers.judging import Wrong, agree, exercise

W = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [-1.0, 0.5, 0.25]])


@exercise
def double(answer):
    agree("2 x", answer(W), 2 * W, "by hand")


def forgets_to_return(x):
    2 * x


def stops(x):
    return x @ np.ones(5)


def test_a_blank_is_open(says):
    assert says(double, ...) == "not answered yet"
    assert says(double, forgets_to_return) == "not answered yet: it returns nothing"


def test_an_answer_that_stops_says_where(says):
    line = stops.__code__.co_firstlineno + 1
    assert says(double, stops).startswith(f"it stops in line {line} of the cell with ValueError")


def test_right_is_right(says):
    assert says(double, lambda x: x + x) == "correct"


def test_the_worst_entry_is_named_with_both_values(says):
    verdict = says(double, lambda x: 2 * x + 3 * (x == 16))
    assert verdict == "2 x is wrong at [1, 1]: you +35, by hand +32"


@pytest.mark.parametrize(("answer", "mistake"), [
    (lambda x: -2 * x, "The sign is turned round."),
    (lambda x: 3 * x, "It is 1.5 times what it should be."),
    (lambda x: 2 * x + 1, "Every entry is off by +1."),
    (lambda x: 2 * x.T, "It is transposed."),
])  # fmt: skip
def test_common_mistakes_are_recognised(says, answer, mistake):
    assert says(double, answer).endswith(mistake)


def test_a_transposed_shape_is_recognised():
    with pytest.raises(
        Wrong, match=r"dw has shape \(3, 2\); it should have \(2, 3\).\n +It is transposed"
    ):
        agree("dw", W[:2].T, W[:2])


def test_components_are_named():
    with pytest.raises(Wrong, match=r"dq is wrong along i: you -0\.45, finite difference"):
        agree("dq", [1, -0.45, 0, 2], [1, 0.14, 0, 2], "finite difference", components=True)
    with pytest.raises(Wrong, match=r"dq is wrong along k at \[1\]"):
        agree("dq", np.eye(2, 4), [[1, 0, 0, 0], [0, 1, 0, 5]], components=True)


def test_a_mistake_is_told_from_others_by_its_value():
    mistakes = {"Swapped.": [0, 2], "Off by one.": [1, 3]}
    with pytest.raises(Wrong, match=r"Off by one\."):
        agree("y", [1, 3], [1, 2], mistakes=mistakes)


def test_the_right_value_is_hidden_where_it_is_the_answer():
    with pytest.raises(Wrong, match=r"^y is wrong at \[1\]: you \+3$"):
        agree("y", [1, 3], [1, 2], None)


def test_nan_is_wrong():
    with pytest.raises(Wrong, match="you \\+nan"):
        agree("y", [1, np.nan], [1, 2])


def test_what_is_no_number_is_said():
    with pytest.raises(Wrong, match="no array of numbers"):
        agree("y", "ten", 10)
