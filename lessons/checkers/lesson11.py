"""Judges of lesson 11: bytes of a layer, a loss that holds no graph, memory for training."""

import weakref

import numpy as np

from checkers.judging import Wrong, agree, exercise
from quatgrad import Tensor, models, use_backend
from quatgrad.costs import costs
from quatgrad.nn import Linear, ReLU, Sequential
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD


@exercise
def bytes_kept(answer):
    """x and y: what `costs` counts for one image, 64 times."""
    layer = Sequential(Linear(100, 50, rng=np.random.default_rng(11)), ReLU())
    x, y, w = 64 * 100, 64 * 50, 100 * 50
    mistakes = {
        "Relu keeps something too: it must know where y > 0.": 4 * x,
        "The product keeps its factor x too: dw = xᵀ g.": 4 * y,
        "A sum keeps nothing: neither x @ w nor its sum with b is needed again.": 4 * (x + 2 * y),
        "A sum keeps nothing; count x and the output of relu.": 4 * (x + 3 * y),
        "The weights are there anyway.": 4 * (x + y + w),
        "The weights, w and b, are there anyway.": 4 * (x + y + w + 50),
        "Those are numbers; each has four bytes.": x + y,
        "A float32 has four bytes, not eight.": 8 * (x + y),
    }
    with use_backend("numpy"):  # others pad their arrays
        want = 64 * costs(layer, (100,)).activation_bytes
    agree("the number of bytes", answer, want, "costs", mistakes=mistakes)


@exercise
def mean_loss(answer):
    """The mean over images, with the graphs that are alive counted at every batch."""
    rng = np.random.default_rng(11)
    net = Watched(Linear(5, 3, rng=rng))
    sizes = (8, 8, 8, 8, 3)
    batches = [(rng.standard_normal((n, 5)).astype(np.float32), rng.integers(0, 3, n))
               for n in sizes]  # fmt: skip
    losses = [cross_entropy(net.net(Tensor(x)), y).item() for x, y in batches]
    got = answer(net, batches)
    if net.most > 1:
        raise Wrong(
            f"while a batch is computed, the graphs of {net.most} earlier ones are still in "
            "memory: add up numbers, loss.item(), or compute under no_grad()"
        )
    if isinstance(got, Tensor):
        raise Wrong("it returns a Tensor; a Python number is asked for: .item()")
    mistakes = {
        "The batches count alike; the last has only 3 images.": np.mean(losses),
        "That is the sum over batches.": np.sum(losses),
        "That is the sum over images.": np.dot(losses, sizes),
    }
    want = np.average(losses, weights=sizes)
    agree("the mean loss", got, want, "by hand", mistakes=mistakes)


class Watched:
    """A network that counts the graphs of earlier outputs which are alive when it is called."""

    def __init__(self, net):
        self.net, self.nodes, self.most = net, [], 0

    def __call__(self, x):
        self.most = max(self.most, sum(node() is not None for node in self.nodes))
        y = self.net(x)
        if y._node is not None:
            self.nodes.append(weakref.ref(y._node))
        return y

    def __getattr__(self, name):
        return getattr(self.net, name)


@exercise
def training_bytes(answer):
    """Counted on a small network that has made a step."""
    net = models.create("lenet-12", image_size=(4, 4))
    optimizer = SGD(net.parameters(), momentum=0.9)
    for p in net.parameters():
        p.grad = np.zeros(p.shape, p.dtype)
    optimizer.step(0.1)
    arrays = [a for p, s in zip(net.parameters(), optimizer.state, strict=True)
              for a in (p.data, p.grad, s["velocity"])]  # fmt: skip
    P, A, batch = net.num_parameters(), costs(net, (4, 4, 4)).activation_bytes, 10
    mistakes = {
        "The maps are kept for every image of the batch.": 12 * P + A,
        "Gradient and velocity are missing: three numbers for every parameter.": 4 * P + batch * A,
        "One is missing: the parameter, its gradient, its velocity.": 8 * P + batch * A,
        "A float32 has four bytes.": 3 * P + batch * A,
        "There is one set of weights, however many images are in the batch.": batch * (12 * P + A),
        "The bytes of the maps are bytes already.": 12 * P + 4 * batch * A,
    }
    want = sum(a.nbytes for a in arrays) + batch * A
    what = f"training_bytes({P}, {A}, {batch})"
    agree(what, answer(P, A, batch), want, "counted", mistakes=mistakes)
