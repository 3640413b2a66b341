"""What the checkers of lesson 11 say to typical wrong answers."""

import pytest

from checkers import lesson11 as check
from quatgrad import Tensor, no_grad
from quatgrad.ops import cross_entropy


@pytest.mark.parametrize(("answer", "hint"), [
    (..., "not answered yet"),
    (38_400, "correct"),
    (25_600, "Relu keeps something"),
    (12_800, "dw = xᵀ g"),
    (51_200, "A sum keeps nothing"),
    (58_400, "weights are there anyway"),
    (58_600, "weights, w and b"),
    (9_600, "four bytes"),
    (76_800, "not eight"),
])  # fmt: skip
def test_bytes_kept(says, answer, hint):
    assert hint in says(check.bytes_kept, answer)


def losses(net, batches):
    return [cross_entropy(net(Tensor(x)), y) for x, y in batches]


def mean(weights=lambda y: len(y), whole=lambda y: len(y)):
    def answer(net, batches):
        total = count = 0
        for images, labels in batches:
            total += cross_entropy(net(Tensor(images)), labels).item() * weights(labels)
            count += whole(labels)
        return total / max(count, 1)

    return answer


def grows(net, batches):
    total = 0.0
    for images, labels in batches:
        total = total + cross_entropy(net(Tensor(images)), labels) * len(labels)
    return (total / 35).item()


def a_tensor(net, batches):
    with no_grad():
        return sum(losses(net, batches))


@pytest.mark.parametrize(("answer", "hint"), [
    (mean(), "correct"),
    (no_grad()(mean()), "correct"),
    (lambda net, batches: None, "not answered yet"),
    (grows, "the graphs of 4 earlier ones"),
    (lambda net, batches: sum(x.item() for x in losses(net, batches)) / 5, "4 earlier ones"),
    (a_tensor, "returns a Tensor"),
    (mean(lambda y: 1, lambda y: 1), "The batches count alike"),
    (mean(lambda y: 1, lambda y: 0), "sum over batches"),
    (mean(whole=lambda y: 0), "sum over images"),
])  # fmt: skip
def test_mean_loss(says, answer, hint):
    assert hint in says(check.mean_loss, answer)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda P, A, batch: 12 * P + batch * A, "correct"),
    (lambda P, A, batch: 12 * P + A, "every image of the batch"),
    (lambda P, A, batch: 4 * P + batch * A, "Gradient and velocity"),
    (lambda P, A, batch: 8 * P + batch * A, "One is missing"),
    (lambda P, A, batch: 3 * P + batch * A, "four bytes"),
    (lambda P, A, batch: batch * (12 * P + A), "one set of weights"),
    (lambda P, A, batch: 12 * P + 4 * batch * A, "bytes already"),
])  # fmt: skip
def test_training_bytes(says, answer, hint):
    assert hint in says(check.training_bytes, answer)
