"""Judges of lesson 7: sizes, and the two gradients of a convolution."""

import numpy as np

from checkers.judging import agree, exercise
from quatgrad.kernels import reference

ONE, NONE = (1, 1), (0, 0)  # stride, padding


@exercise
def out_size(answer):
    """(size + 2 padding - window) // stride + 1, by counting."""
    for size, window, stride, padding in ((8, 3, 1, 0), (8, 5, 1, 2), (8, 3, 2, 1), (9, 2, 3, 0)):
        last = size + padding - window
        want = len(range(-padding, last + 1, stride))
        room = size + 2 * padding - window
        mistakes = {
            "One too few: from the first place to the last are so many steps, and one place more.":
                room // stride,
            "The padding stands on both sides.": (size + padding - window) // stride + 1,
            "The window's last step reaches beyond the border: round down.": -(-room // stride) + 1,
            "The stride is missing.": room + 1,
            "The padding is missing.": (size - window) // stride + 1,
        }  # fmt: skip
        what = f"out_size({size}, {window}, stride={stride}, padding={padding})"
        agree(what, answer(size, window, stride, padding), want, "counted", mistakes=mistakes)


@exercise
def weight_gradient(answer):
    """patches^T g, summed over images and places."""
    rng = np.random.default_rng(7)
    x, g = rng.standard_normal((3, 6, 5, 2)), rng.standard_normal((3, 4, 4, 3))
    want = _dw(x, g)
    P = reference.patches(x, (3, 2), ONE, NONE)
    by_image = np.einsum("nijuvp,nijq->nuvpq", P, g)
    mistakes = {
        "The sum over the batch is missing: all images have used the same weights.": by_image,
        "Only the first image counts: sum over the batch.": by_image[0],
        "Only the last image counts: sum over the batch.": by_image[-1],
        "It is the mean over the batch: g has been divided by N already, where it should.":
            want / len(x),
        "Not dL/dw yet: give it the shape (U, V, P, Q).": want.reshape(-1, want.shape[-1]),
        "The numbers are right but in the wrong places: a row of patches is (U, V, P), in this "
        "order.": want.transpose(2, 0, 1, 3).reshape(want.shape),
    }  # fmt: skip
    agree("dw", answer(x.copy(), g.copy(), 3, 2), want, "conv2d_dw", mistakes=mistakes)


def _dw(x, g):
    return reference.conv2d_dw(x, g, (3, 2, 2, 3), ONE, NONE)


@exercise
def unpatch(answer):
    """The adjoint of taking patches."""
    P = np.random.default_rng(7).standard_normal((4, 3, 3, 2))
    H, W = 6, 4
    want = _added(P, H, W)
    overwritten = np.zeros((H, W))
    for i in range(4):
        for j in range(3):
            overwritten[i : i + 3, j : j + 2] = P[i, j]
    mistakes = {
        "Each patch overwrites those before: a pixel gets the sum of its copies, +=.": overwritten,
        "It is the mean of a pixel's copies; gradients of copies add up.":
            want / _added(np.ones_like(P), H, W),
        "The patches are turned round: offset (u, v) goes to pixel (i + u, j + v).":
            _added(P[:, :, ::-1, ::-1], H, W),
        "Only the first number of each patch is put back.": np.pad(P[:, :, 0, 0], ((0, 2), (0, 1))),
    }  # fmt: skip
    agree("the image", answer(P.copy(), H, W), want, "unpatches", mistakes=mistakes)


def _added(P, H, W):
    return reference.unpatches(P[None, ..., None], (1, H, W, 1), ONE, NONE)[0, :, :, 0]
