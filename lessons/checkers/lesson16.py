"""Judges of lesson 16: attention weights, a test for leaks, heads of whole quaternions."""

import numpy as np

from checkers.judging import Wrong, agree, exercise
from quatgrad import Tensor, ops
from quatgrad.kernels.reference.attention import split


@exercise
def weights(answer):
    """softmax(K q / sqrt(D)), also where exp of a match would overflow."""
    rng = np.random.default_rng(16)
    q, K = rng.standard_normal(9), rng.standard_normal((5, 9))
    s, units = K @ q, np.eye(5, 9)  # the weighted mean of unit vectors is the weights
    queries, keys, values = (Tensor(x[None]) for x in (np.tile(q, (5, 1)), K, units))
    want = ops.attention(queries, keys, values, heads=1).numpy()[0, 0, :5]
    mistakes = {
        "The √D is missing.": _softmax(s),
        "The matches are divided by D; by √D they would be.": _softmax(s / 9),
        "√D belongs to the matches, before exp.": _softmax(s) / 3,
        "They do not add up to 1: divide by the sum.": np.exp(s / 3),
        "These are the matches; the softmax is missing.": s / 3,
        "Multiply by 1 / √D, not by √D.": _softmax(s * 3),
        "exp makes the matches positive, not the square.": s**2 / (s**2).sum(),
        "Without exp negative matches stay negative.": s / s.sum(),
    }
    agree("the weights", answer(q.copy(), K.copy()), want, "ops.attention", mistakes=mistakes)
    with np.errstate(over="ignore", invalid="ignore"):
        large = np.asarray(answer(1000 * q, 1000 * K), np.float64)
    if not np.isfinite(large).all():
        raise Wrong("right, but large matches give NaN: exp(710) is too large for a float. Take "
                    "the largest from all of them first: the weights stay the same")  # fmt: skip


def _softmax(s):
    a = np.exp(s - s.max())
    return a / a.sum()


def _attend(offset):
    """A layer that sees j <= i + offset."""

    def layer(x):
        s = np.where(np.tri(len(x), k=offset, dtype=bool), x @ x.T, -np.inf)
        return np.array([_softmax(row) for row in s]) @ x

    return layer


@exercise
def leaks(answer):
    """Every step has to be tried, and the outputs before it looked at."""
    x = np.random.default_rng(16).standard_normal((6, 3))
    silent = {
        "a causal mask": _attend(0),
        "a layer that looks at each step alone": lambda x: x**2,
        "a sum over the steps before": lambda x: np.cumsum(x, axis=0),
    }
    loud = {
        "attention without a mask": _attend(6),
        "a mask that is off by one, so that each step sees the next,": _attend(1),
        "the difference to the mean of all steps": lambda x: x - x.mean(axis=0),
        "a layer in which only step 2 sees a later one, step 3,":
            lambda x: np.vstack([x[:2], x[2:3] + x[3:4], x[3:]]),
        "a layer in which only the last step but one sees the last":
            lambda x: np.vstack([x[:4], x[4:5] + x[5:6], x[5:]]),
        "a layer in which only the first step sees the last":
            lambda x: np.vstack([x[:1] + x[-1:], x[1:]]),
    }  # fmt: skip
    for name, layer in (silent | loud).items():
        given = x.copy()
        says = bool(answer(layer, given))
        if not np.array_equal(given, x):
            raise Wrong("x is another one afterwards: change a copy, x.copy(), anew for each step")
        if says and name in silent:
            raise Wrong(f"{name} leaks nothing, and you say that it does. Step t itself may move "
                        "when x[t] does; only the outputs before t may not")  # fmt: skip
        if not says and name in loud:
            raise Wrong(f"{name} leaks, and you say that it does not. Was every step tried, and "
                        "every output before it compared?")  # fmt: skip


@exercise
def heads_of(answer):
    """`split` of the package."""
    for T, Q, heads in ((3, 4, 2), (2, 8, 4)):
        x = np.arange(T * 4.0 * Q).reshape(T, 4 * Q)
        want = split(x[None], heads, 4)[0]
        cut = x.reshape(T, heads, -1)
        mistakes = {
            "That cuts from left to right: a head has whole blocks, and no whole quaternion.":
                cut.transpose(1, 0, 2),
            "A head takes neighbours, not every second quaternion: the axis of the heads comes "
            "right after the axis of the components.":
                x.reshape(T, 4, -1, heads).transpose(3, 0, 1, 2).reshape(heads, T, -1),
            "The heads stand in the middle: the first axis is theirs, the second that of the "
            "steps.": want.transpose(1, 0, 2),
            "A head keeps its blocks: first the real parts of its quaternions, then the i parts.":
                x.reshape(T, 4, heads, -1).transpose(2, 0, 3, 1).reshape(heads, T, -1),
            "reshape alone mixes the steps: bring the axis of the heads to the front with "
            "transpose first.": x.reshape(heads, T, -1),
        }  # fmt: skip
        what = f"the cut of {T} steps of {Q} quaternions into {heads} heads"
        agree(what, answer(x.copy(), heads), want, "the package", mistakes=mistakes)
