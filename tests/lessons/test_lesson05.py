import re

import numpy as np
import pytest

from checkers import lesson05 as check
from quatgrad.kernels.reference import HAMILTON
from quatgrad.quaternion import conjugate, multiply


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda p, q, g: multiply(conjugate(p), g), "correct"),
    (lambda p, q, g: multiply(g, conjugate(p)), "The factors are swapped"),
    (lambda p, q, g: multiply(p, g), "The conjugate is missing."),
    (lambda p, q, g: multiply(g, p), "missing, and the factors are swapped"),
    (lambda p, q, g: multiply(p, conjugate(g)), "not g"),
    (lambda p, q, g: multiply(g, conjugate(q)), "That is dL/dp"),
    (lambda p, q, g: multiply(conjugate(q), g), "The other factor is p"),
    (lambda p, q, g: 2 * multiply(conjugate(p), g), "It is 2 times what it should be"),
    (lambda p, q, g: None, "not answered yet"),
])  # fmt: skip
def test_dq(says, answer, verdict):
    assert verdict in says(check.dq, answer)


@pytest.mark.parametrize("c", range(4))
def test_the_wrong_component_of_dq_is_named(says, c):
    def answer(p, q, g):
        return multiply(conjugate(p), g) + 0.7 * np.eye(4)[c]

    verdict = says(check.dq, answer)
    assert re.match(rf"dq is wrong along {'1ijk'[c]}: you \S+, finite difference \S+", verdict)


def einsum(indices, first):
    """An answer of exercise 2 (first "w") or 3 ("x") that is this einsum."""

    def layer_dx(g, w):
        return np.einsum(indices, HAMILTON, w, g)

    def layer_dw(x, g):
        return np.einsum(indices, HAMILTON, x, g)

    return layer_dx if first == "w" else layer_dw


@pytest.mark.parametrize(("indices", "verdict"), [
    ("abc,apq,ncq->nbp", "correct"),
    ("abc,apq,nbq->ncp", "The conjugate is missing"),
    ("bac,apq,ncq->nbp", "The factors are swapped"),
    ("abc,apq,ncq->nbpq", "The sum over the outputs q is missing"),
    ("abc,apq,ncq->bp", "You sum over the batch"),
    ("abc,apq,ncq->npb", "first b, then p"),
    ("abc,apq,nbp->ncq", "it stops in line"),
])  # fmt: skip
def test_layer_dx(says, indices, verdict):
    assert verdict in says(check.layer_dx, einsum(indices, "w"))


@pytest.mark.parametrize(("indices", "verdict"), [
    ("abc,nbp,ncq->apq", "correct"),
    ("abc,nbp,ncq->napq", "The sum over the batch is missing"),
    ("bac,nbp,ncq->apq", "The factors are swapped"),
    ("cba,nbp,ncq->apq", "The conjugate is missing"),
    ("abc,nbp,ncq->aqp", "w is (4, P, Q)"),
])  # fmt: skip
def test_layer_dw(says, indices, verdict):
    assert verdict in says(check.layer_dw, einsum(indices, "x"))


@pytest.mark.parametrize(("take", "verdict"), [
    (lambda each: each.mean(axis=0), "the mean over the batch"),
    (lambda each: each[0], "one example of the batch"),
    (lambda each: each[1:].sum(axis=0), "dL/dw is wrong at ["),
])  # fmt: skip
def test_layer_dw_over_the_batch(says, take, verdict):
    def answer(x, g):
        return take(np.einsum("abc,nbp,ncq->napq", HAMILTON, x, g))

    assert verdict in says(check.layer_dw, answer)
