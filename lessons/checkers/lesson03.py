"""Judges of lesson 3: gradients of what was broadcast."""

import numpy as np

from checkers.judging import Open, Wrong, agree, exercise
from quatgrad.testing import numerical_gradients


@exercise
def bias_gradient(answer):
    """sum_n g."""
    g = np.random.default_rng(3).standard_normal((5, 3))
    (want,) = numerical_gradients(lambda b: b + np.zeros((5, 1)), [np.zeros(3)], g)
    mistakes = {
        "The sum over the batch is missing: b was copied to every row.": g,
        "That is the mean over the batch; slopes of several uses add.": g.mean(axis=0),
        "You sum along each row; add the rows to each other: over axis 0.": g.sum(axis=1),
        "You add everything up; each of the Q columns has its own sum.": g.sum(),
        "b has shape (Q,): leave keepdims out.": g.sum(axis=0, keepdims=True),
        "That is one row of g; add all of them.": g[0],
    }
    agree("dL/db", answer(g.copy()), want, "finite difference", mistakes=mistakes)


@exercise
def axes(answer):
    """(0, 1)."""
    if answer is None:
        raise Open
    axes = {answer} if isinstance(answer, int) else set(answer)
    axes = {axis % 3 if -3 <= axis < 3 else axis for axis in axes}
    if axes - {0, 1, 2}:
        raise Wrong(f"g has three axes, 0, 1 and 2; there is no axis {max(axes)}")
    if 2 in axes:
        raise Wrong("axis 2 has 6 entries in s and in g: it was not stretched")
    if axes == {0}:
        raise Wrong("0 is right, and one more was stretched. Write (1, 6) below (8, 5, 6), the "
                    "right ends together: axis 0 of s stands below axis 1 of g")  # fmt: skip
    if axes == {1}:
        raise Wrong("1 is right; but s was also copied along an axis that it does not have at all")
    if not axes:
        raise Wrong("s has 6 entries and g has 240: something was copied")


@exercise
def scale_gradient(answer):
    """sum_nij x g."""
    x, g = np.random.default_rng(3).standard_normal((2, 2, 3, 4, 5))
    (want,) = numerical_gradients(lambda s: s * x, [np.ones(5)], g)
    mistakes = {
        "The sums are missing: s was copied to each image, row and column.": x * g,
        "x is missing: a product's slope along s is x.": g.sum(axis=(0, 1, 2)),
        "The sum over the batch, axis 0, is missing.": (x * g).sum(axis=(1, 2)),
        "Rows and columns, axes 1 and 2, are to be summed too.": (x * g).sum(axis=0),
        "You sum over the channels; that is the one axis to keep.": (x * g).sum(axis=(1, 2, 3)),
        "You add everything up; each channel has its own sum.": (x * g).sum(),
        "First multiply, then add: the sum of products is no product of sums.":
            x.sum(axis=(0, 1, 2)) * g.sum(axis=(0, 1, 2)),
        "That is the mean; slopes of several uses add.": (x * g).mean(axis=(0, 1, 2)),
    }  # fmt: skip
    agree("dL/ds", answer(x.copy(), g.copy()), want, "finite difference", mistakes=mistakes)
