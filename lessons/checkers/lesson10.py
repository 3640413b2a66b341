"""Judges of lesson 10: the gradient of a residual block, and its parameters."""

import numpy as np

from checkers.judging import agree, exercise
from quatgrad import Tensor
from quatgrad.models.algebra import Layers
from quatgrad.models.resnet import BasicBlock
from quatgrad.ops import relu
from quatgrad.random import generator


@exercise
def block_gradient(answer):
    """g + ((g w2^T) * (x w1 > 0)) w1^T."""
    rng = np.random.default_rng(10)
    w1, w2 = rng.standard_normal((3, 5)), rng.standard_normal((5, 3))
    x, g = rng.standard_normal((2, 4, 3))
    X = Tensor(x, requires_grad=True)
    (X + relu(X @ Tensor(w1)) @ Tensor(w2)).backward(g)
    alive = x @ w1 > 0
    inner = (g @ w2.T * alive) @ w1.T
    mistakes = {
        "The way around is missing: y contains x itself, so dx contains g.": inner,
        "The ReLU is missing: where x w₁ was negative, nothing comes back.": g + g @ w2.T @ w1.T,
        "The way around adds g, the gradient of y; not x.": x + inner,
        "Only the way around: the block's own share is missing.": g,
        "The mask asks where x w₁ > 0, before the ReLU; not where the gradient is.":
            g + np.maximum(g @ w2.T, 0) @ w1.T,
        "The batch is summed: each of the inputs has a gradient of its own.":
            (g + inner).sum(axis=0),
    }  # fmt: skip
    got = answer(x.copy(), w1.copy(), w2.copy(), g.copy())
    agree("dx", got, X.grad, "backward()", mistakes=mistakes)


@exercise
def block_parameters(answer):
    """9 P Q + 9 Q Q (+ P Q), a quarter with quaternions, and batch norms of 2 Q each."""
    for algebra in ("real", "quaternion"):
        share = 1 if algebra == "real" else 4
        for P, Q in ((8, 8), (8, 16)):
            block = BasicBlock(Layers(algebra, generator(0)), P, Q, stride=1 if P == Q else 2)
            want = block.num_parameters()
            inner, outer = 9 * P * Q + 9 * Q * Q, P * Q if P != Q else 0
            norms = 4 * Q + (2 * Q if P != Q else 0)
            mistakes = {
                "Batch norm is missing: a scale and a shift for each channel.":
                    (inner + outer) // share,
                "Batch norm is not divided by four: it is real over either algebra.":
                    (inner + outer + norms) // share,
                "The shortcut's convolution is missing.": inner // share + 4 * Q,
                "The shortcut's convolution has a batch norm, too.":
                    (inner + outer) // share + 4 * Q,
                "The shortcut's convolution is one pixel wide, not three.":
                    (inner + 9 * outer) // share + norms,
                "P equals Q here: the shortcut is x itself, and learns nothing.":
                    (inner + P * Q) // share + 6 * Q,
                "The second convolution goes from Q to Q channels.":
                    (18 * P * Q + outer) // share + norms,
                "The convolutions have no bias: batch norm's shift does that.":
                    want + Q * (2 if P == Q else 3),
                "A quaternion convolution has a quarter of the weights.": inner + outer + norms,
                "Batch norm learns a scale and a shift: two numbers for each channel.":
                    (inner + outer) // share + norms // 2,
                "Running mean and variance are kept, but not learned.":
                    (inner + outer) // share + 2 * norms,
            }  # fmt: skip
            what = f"block_parameters({P}, {Q}, {algebra!r})"
            agree(what, answer(P, Q, algebra), want, "BasicBlock", mistakes=mistakes)
