"""What the checkers of lesson 12 say to typical wrong answers."""

import math

import numpy as np
import pytest

from checkers import lesson12 as check


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda n, keep: None, "not answered yet"),
    (lambda n, keep: max(n - round((1 - keep) * n), min(n, 1)), "correct"),
    (lambda n, keep: round((1 - keep) * n), "how many go"),
    (lambda n, keep: n - round((1 - keep) * n), "empties the tensor"),
    (lambda n, keep: max(round(keep * n), min(n, 1)), "Round what goes"),
    (lambda n, keep: n - int((1 - keep) * n), "cut off"),
    (lambda n, keep: n - math.floor((1 - keep) * n + 0.5), "even neighbour"),
    (lambda n, keep: n - math.ceil((1 - keep) * n), "one too many"),
])  # fmt: skip
def test_left(says, answer, hint):
    assert hint in says(check.left, answer)


def rank(score=np.abs, dead_too=False, smallest=False, apart=False):
    """Answers to exercise 2 that differ in what they rank."""

    def one(w, alive, keep):
        candidates = np.arange(w.size) if dead_too else np.flatnonzero(alive)
        order = candidates[np.argsort(score((w * alive).ravel()[candidates]), kind="stable")]
        gone = round((1 - keep) * len(candidates))
        mask = np.zeros(w.size, bool)
        mask[order[:gone] if smallest else order[gone:]] = True
        return mask.reshape(w.shape)

    def answer(tensors, masks, keep):
        if apart:
            return [one(w, m, keep) for w, m in zip(tensors, masks, strict=True)]
        row, alive = (np.concatenate([a.ravel() for a in x]) for x in (tensors, masks))
        pieces = np.split(one(row, alive, keep), [tensors[0].size])
        return [p.reshape(w.shape) for p, w in zip(pieces, tensors, strict=True)]

    return answer


@pytest.mark.parametrize(("answer", "hint"), [
    (rank(), "correct"),
    (rank(apart=True), "ranks each tensor by itself"),
    (rank(smallest=True), "Those are the smallest"),
    (rank(score=lambda w: w), "large negative weight is large"),
    (rank(dead_too=True), "mask 0 at level 2 is wrong"),
    (rank(dead_too=True), "dead are counted among the candidates"),
    (lambda tensors, masks, keep: rank()(tensors, masks, keep)[:1], "1 masks came back"),
])  # fmt: skip
def test_largest_of_all(says, answer, hint):
    assert hint in says(check.largest_of_all, answer)


def masked_step(gradient=True, velocity=True, weight=True, product=False, memory=True):
    """Answers to exercise 3 that mask only some of the three."""

    def answer(w, v, g, alive, lr, momentum):
        def masked(a, when):
            if not when:
                return a
            return a * alive if product else np.where(alive, a, 0)

        v = masked(momentum * v * memory + masked(g, gradient), velocity)
        return masked(w - lr * v, weight), v

    return answer


@pytest.mark.parametrize(("answer", "hint"), [
    (masked_step(), "correct"),
    (masked_step(gradient=False), "correct"),
    (lambda *given: [*masked_step()(*given)], "correct"),
    (masked_step(weight=False), "correct"),
    (masked_step(False, False, False), "Nothing is masked"),
    (masked_step(velocity=False, weight=False), "momentum wakes the dead"),
    (masked_step(False, False), "the dead still have a velocity"),
    (masked_step(velocity=False), "velocity of before is not"),
    (masked_step(memory=False), "velocity of before is forgotten"),
    (masked_step(product=True), "0 * inf is no 0"),
    (lambda w, v, g, alive, lr, momentum: w, "two arrays are asked for"),
])  # fmt: skip
def test_step(says, answer, hint):
    assert hint in says(check.step, answer)
