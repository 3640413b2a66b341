"""Judges of lesson 5: gradients of the Hamilton product and of a quaternion layer."""

import numpy as np

from checkers.judging import agree, exercise
from quatgrad import Tensor, ops
from quatgrad.kernels.reference import HAMILTON
from quatgrad.quaternion import conjugate, multiply
from quatgrad.testing import numerical_gradients

N, P, Q = 5, 3, 2


@exercise
def dq(answer):
    """conj(p) g."""
    p, q, g = np.random.default_rng(5).standard_normal((3, 4)).round(2)
    _, want = numerical_gradients(ops.hamilton, [p, q], g)
    mistakes = {
        "The factors are swapped: p stands on the left of q, and stays on the left.":
            multiply(g, conjugate(p)),
        "The conjugate is missing.": multiply(p, g),
        "The conjugate is missing, and the factors are swapped: p stays on the left.":
            multiply(g, p),
        "It is p that becomes its conjugate, not g.": multiply(p, conjugate(g)),
        "That is dL/dp. For dL/dq the other factor, p, stays.": multiply(g, conjugate(q)),
        "The other factor is p: q has no part in its own gradient.": multiply(conjugate(q), g),
    }  # fmt: skip
    got = answer(p.copy(), q.copy(), g.copy())
    agree("dq", got, want, "finite difference", mistakes=mistakes, components=True)


def _layer(x: Tensor, w: Tensor) -> Tensor:
    """The package's layer, with the components of x and y in an axis of their own."""
    y = ops.hamilton_linear(x.reshape(x.shape[0], 4 * x.shape[2]), w)
    return y.reshape(x.shape[0], 4, w.shape[2])


def _example():
    rng, shapes = np.random.default_rng(5), ((N, 4, P), (4, P, Q), (N, 4, Q))
    x, w, g = (rng.standard_normal(shape).round(2) for shape in shapes)
    return x, w, g, *numerical_gradients(_layer, [x, w], g)


@exercise
def layer_dx(answer):
    """conj(w) g, summed over q."""
    _, w, g, want, _ = _example()
    mistakes = {
        "The conjugate is missing: that is w g. Keep b for x and c for g, and leave b free.":
            np.einsum("abc,apq,nbq->ncp", HAMILTON, w, g),
        "The factors are swapped, g w̄ for w̄ g: in the table a belongs to w and comes first.":
            np.einsum("bac,apq,ncq->nbp", HAMILTON, w, g),
        "The sum over the outputs q is missing.": np.einsum("abc,apq,ncq->nbpq", HAMILTON, w, g),
        "You sum over the batch; each example has an x of its own.": want.sum(axis=0),
        "Leave the components in an axis of their own.": want.reshape(N, 4 * P),
        "Features and components are exchanged: first b, then p.": want.swapaxes(1, 2),
    }  # fmt: skip
    agree("dL/dx", answer(g.copy(), w.copy()), want, "finite difference", mistakes=mistakes)


@exercise
def layer_dw(answer):
    """g conj(x), summed over the batch."""
    x, _, g, _, want = _example()
    each = np.einsum("abc,nbp,ncq->napq", HAMILTON, x, g)
    mistakes = {
        "The sum over the batch is missing: w was used for every example, and the uses add.": each,
        "That is the mean over the batch; slopes of several uses add.": each.mean(axis=0),
        "That is one example of the batch; all have used w.": each[0],
        "The factors are swapped, x̄ g for g x̄: in the table b belongs to x and comes second.":
            np.einsum("bac,nbp,ncq->apq", HAMILTON, x, g),
        "The conjugate is missing: that is g x. Keep b for x and c for g, and leave a free.":
            np.einsum("cba,nbp,ncq->apq", HAMILTON, x, g),
        "Inputs and outputs are exchanged: w is (4, P, Q).": want.swapaxes(1, 2),
    }  # fmt: skip
    agree("dL/dw", answer(x.copy(), g.copy()), want, "finite difference", mistakes=mistakes)
