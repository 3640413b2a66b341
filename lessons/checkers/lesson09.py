"""Judges of lesson 9: the loss of a blind network, one step, and a schedule."""

import numpy as np

from checkers.judging import Wrong, agree, exercise
from quatgrad import Tensor
from quatgrad.nn import Linear
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD, cosine


@exercise
def blind_loss(answer):
    """The entropy of the classes."""
    for counts in ([10] * 10, [70, 20, 10]):
        p = np.array(counts) / sum(counts)
        labels = np.repeat(np.arange(len(p)), counts)
        logits = Tensor(np.tile(np.log(p), (len(labels), 1)))
        mistakes = {
            "That is ln C: the best p are the frequencies, and these are not equal.":
                np.log(len(p)),
            "Bits, not nats: the loss uses the natural logarithm.": -(p * np.log2(p)).sum(),
            "A mean over classes: a common class has more images, so it counts more.":
                -np.log(p).mean(),
            "A sum over classes, but each counts as often as it has images.": -np.log(p).sum(),
            "A sum over images; the loss is their mean.": -(np.array(counts) * np.log(p)).sum(),
            "The sign: p is below 1, so ln p is negative and the loss is −ln p.":
                (p * np.log(p)).sum(),
            "That is −ln of the largest p: the loss of the images of this class alone.":
                -np.log(p.max()),
        }  # fmt: skip
        want = cross_entropy(logits, labels).item()
        what = f"the loss for {len(p)} classes with {', '.join(map(str, counts))} images"
        agree(what, answer(np.array(counts)), want, "cross_entropy", mistakes=mistakes)


LR = 0.5


@exercise
def one_step(answer):
    """zero_grad, backward, step; twice, for what is left over from the first."""
    rng = np.random.default_rng(9)
    batches = [(rng.standard_normal((6, 3)).astype(np.float32), rng.integers(0, 2, 6))
               for _ in range(2)]  # fmt: skip
    net = _net()
    optimizer = SGD(net.parameters())
    got = [float(answer(net, x, y, optimizer, LR)) for x, y in batches]
    w = net.weight.numpy()
    if np.array_equal(w, _net().weight.numpy()):
        raise Wrong(
            "the weights have not moved: optimizer.step takes what backward has left in grad, so "
            "nothing may clear it in between"
        )
    losses, want, after = _steps(batches)
    mistakes = {
        "The old gradients are still there: backward adds to them, so clear them at each step.":
            _steps(batches, clear=False)[1],
        "It goes uphill: the optimizer subtracts the gradient by itself.":
            _steps(batches, lr=-LR)[1],
        "The rate is not the lr that was given.": _steps(batches, lr=1.0)[1],
    }  # fmt: skip
    agree("the weight after two steps", w, want, "two steps", mistakes=mistakes)
    others = {
        "It is the sum over the batch; cross_entropy is the mean already.": 6 * np.array(losses),
        "That is the loss after the step.": after,
    }
    agree("the losses returned", got, losses, "two steps", mistakes=others)


def _net():
    return Linear(3, 2, rng=np.random.default_rng(0))


def _steps(batches, clear=True, lr=LR):
    """Losses before each step, the weight after them, and the losses after each step."""
    net, before, after = _net(), [], []
    for x, y in batches:
        loss = cross_entropy(net(Tensor(x)), y)
        if clear:
            net.weight.grad = net.bias.grad = None
        loss.backward()
        for p in net.parameters():
            p.data = p.data - np.float32(lr) * p.grad
        before.append(loss.item())
        after.append(cross_entropy(net(Tensor(x)), y).item())
    return before, net.weight.numpy(), after


@exercise
def warm_cosine(answer):
    """optim.cosine."""
    lr, steps, warmup = 0.4, 24, 4
    at = np.arange(steps)
    want = [cosine(lr, steps, warmup)(step) for step in at]
    mistakes = {
        "The warm-up starts at 0, a step without effect: step 0 has lr/W.":
            _warm(at / warmup, (at - warmup) / (steps - warmup)),
        "The cosine has run during the warm-up: s is 0 at step W.":
            _warm((at + 1) / warmup, at / steps),
        "The cosine starts at step W, but ends too late: s is 1 when the steps are over.":
            _warm((at + 1) / warmup, (at - warmup) / steps),
        "s is 1 at step `steps`, after the last; yours is 1 at the last.":
            _warm((at + 1) / warmup, (at - warmup) / (steps - 1 - warmup)),
        "There is no warm-up.": _warm(np.ones(steps), at / steps, 0),
        "It falls to −lr: the cosine goes from 1 to −1, so halve 1 + cos.":
            _warm((at + 1) / warmup, (at - warmup) / (steps - warmup), rate=lambda s: np.cos(s)),
        "It rises where it should fall: 1 + cos, not 1 − cos.":
            _warm((at + 1) / warmup, (at - warmup) / (steps - warmup),
                  rate=lambda s: (1 - np.cos(s)) / 2),
        "Half a cosine is from 0 to π; this is a whole one.":
            _warm((at + 1) / warmup, 2 * (at - warmup) / (steps - warmup)),
    }  # fmt: skip
    got = [answer(int(step), lr, steps, warmup) for step in at]
    agree("the rate of the steps 0 to 23, 4 of them warm-up,", got, want, "optim.cosine",
          mistakes=mistakes)  # fmt: skip


def _warm(rising, s, warmup=4, rate=lambda s: (1 + np.cos(s)) / 2):
    return 0.4 * np.where(np.arange(24) < warmup, rising, rate(np.pi * s))
