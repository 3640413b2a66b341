"""Judges of lesson 6: counting a layer, the nearest one, and its input gradient."""

import numpy as np

from checkers.judging import agree, exercise
from quatgrad.kernels import reference
from quatgrad.nn import QLinear

SIZES = ((8, 8), (64, 128), (300, 100))


@exercise
def parameters(answer):
    """4 (P/4) (Q/4) + Q = P Q / 4 + Q."""
    for P, Q in SIZES:
        want = QLinear(P, Q, rng=np.random.default_rng(0)).num_parameters()
        mistakes = {
            "That is the real layer, which has four times the weights.": P * Q + Q,
            "The bias is missing: one number for each output feature.": P * Q // 4,
            "The bias is real, and is not divided by four.": (P * Q + Q) // 4,
            "P/4 times Q/4 counts quaternions; each has four components.": P * Q // 16 + Q,
            "That counts quaternions, in the weight and in the bias; each has four components.":
                (P * Q // 4 + Q) // 4,
        }  # fmt: skip
        agree(f"parameters({P}, {Q})", answer(P, Q), want, "QLinear", mistakes=mistakes)


@exercise
def nearest(answer):
    """fold(W) / 4."""
    rng = np.random.default_rng(6)
    W = rng.standard_normal((8, 12))
    w = reference.fold(W)
    block_row = W[:2].reshape(2, 4, 3).transpose(1, 0, 2)
    unsigned = np.einsum("abc,bpcq->apq", np.abs(reference.HAMILTON), W.reshape(4, 2, 4, 3)) / 4
    mistakes = {
        "That adds the four places; the nearest number to four is their average.": w,
        "Only the first row of blocks was looked at: each component stands in three more.":
            block_row,
        "Undo the signs before you average: −i1 says that i1 is minus the number there.": unsigned,
        "It is the conjugate: the weight stands on the left, so its i, j, k keep their signs in "
        "the first row of blocks.": w / 4 * np.array([1, -1, -1, -1]).reshape(4, 1, 1),
    }  # fmt: skip
    agree("w for a random W", answer(W.copy()), w / 4, "fold(W) / 4", mistakes=mistakes)


@exercise
def input_gradient(answer):
    """dx_p = sum_q conj(w_pq) g_q."""
    rng = np.random.default_rng(6)
    for P, Q in ((2, 2), (2, 3)):  # a square weight first: its transpose fits, and is wrong
        w, g = rng.standard_normal((4, P, Q)), rng.standard_normal((5, 4 * Q))
        want = reference.hamilton_linear_dx(g, w)
        forward = reference.hamilton_linear(g, w) if P == Q else 0
        features = reference.hamilton_linear(g, w.swapaxes(1, 2))
        components = reference.hamilton_linear_dx(g, w.swapaxes(1, 2)) if P == Q else 0
        mistakes = {
            "That is the forward pass, w g: the matrix is not transposed.": forward,
            "The conjugate is missing: inputs and outputs are exchanged, but i, j, k keep their "
            "signs.": features,
            "The conjugate is there, but inputs and outputs are not exchanged.": components,
            "The batch is summed: each of the inputs has a gradient of its own.": want.sum(axis=0),
        }
        what = f"dx of a layer from {P} to {Q} quaternions"
        agree(what, answer(g.copy(), w.copy()), want, "conj(w) g", mistakes=mistakes)
