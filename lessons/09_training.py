# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. Training that can be believed
#
# **How do you know that a network learns, before it has?**
#
# A program with a mistake stops, or prints nonsense. A network with a mistake trains. It just
# reaches 91 % where it could reach 97 %, and nobody knows. So we do not start with a long training.
# We start with three small questions whose answers we know beforehand.
#
# ## What is trained, in a few sentences
#
# Linear layers (lesson 3) have a **ReLU** between them, $\max(x, 0)$, whose slope is 1 above 0
# and 0 below. The last one gives a number for each class, the **logits** $z$. The **softmax**
# makes probabilities of them: $p_c = e^{z_c} / \sum_k e^{z_k}$. The loss, **cross entropy**, is
# the mean of $-\ln p$ of the right classes; its slope along $z_c$ is $p_c$, less 1 for the right
# class, over the number of images. A **step** goes downhill by the **learning rate** lr:
# $w \leftarrow w - \text{lr}\, dL/dw$. **Momentum** puts $v \leftarrow 0.9\, v + dL/dw$ in the
# place of $dL/dw$ (Nesterov's: $dL/dw + 0.9\, v$). An **epoch** is once through all images.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson09 as check
from pictures import curves, panels
from quatgrad import Tensor, data, models, optim
from quatgrad.data.fetch import data_root
from quatgrad.errors import DataError
from quatgrad.ops import cross_entropy, relu
from quatgrad.train import Recipe, TrainStep, train, train_steps

plt.style.use("quatgrad.style")
digits = data.load("digits")
images, labels = next(data.batches(digits, size=50, seed=0, epoch=0))


def network(algebra="quaternion", seed=0):
    return models.create("lenet-300-100", algebra, image_size=(4, 4), seed=seed)


# %% [markdown]
# ## 1. What is the loss before the first step?
#
# The loss is $-\ln p$, where p is the probability that the network gave to the right class. A
# network that knows nothing should give each of ten digits $p = 1/10$. So the loss is
# $\ln 10 = 2.303$, and for C classes $\ln C$. This number needs no training:


# %%
def loss_of(net):
    return cross_entropy(net(Tensor(images)), labels).item()


for factor in (0, 0.1, 1, 3):
    net = network()
    for _, w in net.weight_parameters()[-1:]:  # the last layer
        w.data = w.data * np.float32(factor)
    print(f"last layer times {factor:3}: loss {loss_of(net):.4f}")

# %% [markdown]
# Times 0 it is exact, times 0.1 nearly. As it is created, the network is at 3.8, not at 2.3. It has
# opinions before it has seen anything: if the logits scatter with variance s², the loss is about
# $\ln C + s^2/2$. That much is harmless, and a few steps take it away. A first loss of 12 is a sign
# that something is too large: the weights, or images with pixels from 0 to 255.
#
# And a loss well **below** ln C, before the first step? Nobody can know that much without having
# learned. Then the loss is computed wrongly, or the weights are not new.
#
# With a hundred classes it is $\ln 100 = 4.605$, and opinions come on top. If CIFAR-100 is on this
# machine, here is a network that has never seen it:

# %%
folder, _ = data_root(None)  # of QUATGRAD_DATA, or ~/.cache/quatgrad; nothing is fetched
try:
    cifar = data.load("cifar100", folder, subset=1000)
except DataError:
    print("CIFAR-100 is not there, and not needed")
else:
    x, y = next(data.batches(cifar, size=500, seed=0, epoch=0))
    net = models.create("lenet-300-100", "quaternion", image_size=(32, 32), num_classes=100)
    print(f"CIFAR-100: loss {cross_entropy(net(Tensor(x)), y).item():.2f}, ln 100 is 4.61")

# %% [markdown]
# **Exercise 1.** Not all classes are equally common. What is the lowest loss of a network that does
# not look at the image, but knows how often each class comes?


# %%
def blind_loss(counts):
    """The mean of −ln p over all images, for the best p; counts (C,): images of each class."""
    ...


check.blind_loss(blind_loss)

# %% [markdown]
# Below this number a network has learned something *about images*. Until there it has learned to
# count.
#
# ## The loop, built
#
# Training is five lines that are repeated: predict, compare, forget the old gradients, go back,
# step.


# %%
def by_hand(net, epochs, lr):
    """Train with Nesterov's momentum, and a rate that falls to 0 along a cosine."""
    optimizer = optim.SGD(net.parameters(), momentum=0.9, nesterov=True)
    rate = optim.cosine(lr, steps=epochs * data.num_batches(len(digits.train), 50))
    step = 0
    for epoch in range(epochs):
        for x, y in data.batches(digits, size=50, seed=0, epoch=epoch):
            loss = cross_entropy(net(Tensor(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(rate(step))
            step += 1
    return net.state_dict()


theirs = network()
history = train(theirs, digits, Recipe(epochs=2, batch_size=50, lr=0.05), progress=False)
ours = by_hand(network(), epochs=2, lr=0.05)
assert all(np.array_equal(ours[name], w) for name, w in theirs.state_dict().items())
print(f"the same weights, bit for bit; test accuracy {history[-1].test_accuracy:.1%}")

# %% [markdown]
# Bit for bit, because the order of the images depends only on the seed and the epoch. Here are the
# step and the loop of the package. They do the same, and a few more things for long runs. (On a
# CPU `self.calls.run` notes which functions one step has called, and with which arrays. Later steps
# call just those, without the Python in between, which in this small network takes half the time.)

# %%
print(inspect.getsource(TrainStep.gradients))
print(inspect.getsource(TrainStep.eager))
source = inspect.getsource(train_steps)
print(source[source.index("        for epoch in range(") :])

# %% [markdown]
# ## 2. Can it learn fifty images by heart?
#
# Take one batch and train on it, again and again. A network with more weights than that
# must bring the loss to 0. Here are five ways to do it, and only the first is
# right. Before you look: which curves do you expect?


# %%
def one_batch(forward=lambda net, x: net(x), right=labels, shuffle=False, clear=True):
    """The losses of 80 plain steps on the same fifty images."""
    net, losses, rng = network(), [], np.random.default_rng(0)
    optimizer = optim.SGD(net.parameters())
    for _ in range(80):
        y = rng.permutation(right) if shuffle else right
        loss = cross_entropy(forward(net, Tensor(images)), y)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step(0.05)
        losses.append(loss.item())
    return losses


wrong_labels = np.random.default_rng(1).permutation(labels)
ways = {
    "as it should be": one_batch(),
    "wrong labels, always the same": one_batch(right=wrong_labels),
    "labels shuffled at each step": one_batch(shuffle=True),
    "a ReLU after the last layer": one_batch(lambda net, x: relu(net(x))),
    "old gradients never cleared": one_batch(clear=False),
}

# %%
curves(ways, styles=["-", "--", "-.", ":", "-"], words={"ln 10": (30, 3)},
       levels=[np.log(10)], legend="right", yscale="log", ylim=(1e-4, 100),
       xlabel="step", ylabel="loss on the batch",
       title="fifty images, again and again")  # fmt: skip

# %% [markdown]
# * **Stuck at ln 10**: the labels change from step to step, so there is nothing to learn by heart.
#   Someone shuffles images and labels apart, each time anew.
# * **Stuck elsewhere**: something stands in the way. The ReLU makes a negative logit 0, with
#   gradient 0, and what is dead stays dead.
# * **Old gradients** look best of all, for a while. They add up, and act as a momentum without
#   friction: the network rolls through the valley, and up the other side.
# * **Wrong labels** fall too. So this test says that gradients arrive. It does not say that
#   anything true was learned: for that there are test images.
#
# **Exercise 2.** Write one step. It returns the loss, as a number.


# %%
def one_step(net, x, y, optimizer, lr):
    """One step on the batch x with labels y; the loss before it."""
    ...


check.one_step(one_step)

# %% [markdown]
# ## 3. What rate was really used?
#
# A large learning rate gets far and stays restless; a small one is calm and slow. So one starts
# large and ends small, mostly along half a cosine. Some networks cannot bear the large rate on the
# first day, so a **warm-up** raises it from near 0.
#
# **Exercise 3.** With W steps of warm-up, steps 0, 1, 2 ... have the rates `lr/W, 2lr/W, 3lr/W` ...
# After that comes the cosine, $\text{lr}\,(1 + \cos \pi s) / 2$, where s grows evenly from 0 at
# step W to 1 at step `steps`, the one that would come after the last.


# %%
def warm_cosine(step, lr, steps, warmup):
    """The rate at this step, the first being step 0."""
    ...


check.warm_cosine(warm_cosine)

# %% [markdown]
# Then **draw the rate of the run you are going to start.** It takes a minute. The last picture
# below is what the published CIFAR-100 runs of our paper used. Their schedule was written for
# epochs: ten of warm-up, then a cosine over 110. But it was advanced at each batch, 500 times an
# epoch, and never stopped. So it swings, 220 steps to and fro, and no loss curve showed it.

# %%
steps = 8 * data.num_batches(len(digits.train), 32)
rates = {}
for name, warmup in {"constant": 0, "step": 0, "cosine": 45, "cosine-per-batch": 0}.items():
    rate = optim.SCHEDULES[name](0.1, steps, warmup)
    rates[name + (", warm-up" if warmup else "")] = {"": [rate(step) for step in range(steps)]}
panels(rates, "learning rate", size=(7.5, 2), xlabel="step", ylim=(0, 0.11))

# %% [markdown]
# Does it matter? The same network, three seeds each, eight epochs:

# %%
for name in ("constant", "cosine", "cosine-per-batch"):
    recipe = Recipe(8, 32, lr=0.1, schedule=name)
    last = [train(network(seed=s), digits, recipe, s, progress=False)[-1] for s in range(3)]
    losses = " ".join(f"{epoch.train_loss:.3f}" for epoch in last)
    print(f"{name:17} loss on training images {losses}   "
          f"test accuracy {np.mean([epoch.test_accuracy for epoch in last]):.1%}")  # fmt: skip

# %% [markdown]
# With a constant rate the network ends where chance has left it, a different place for each seed.
# With the cosine it comes to rest. The one that swings stops wherever its last step happens to be.
#
# And why three seeds? One number cannot say how much the numbers differ. If two methods are 0.5 %
# apart and two seeds of one method are 1 % apart, nothing has been shown yet. Lesson 13 will need
# this.
#
# **What you have now:** three checks that take a minute together: the first loss is near ln C, one
# batch can be learned by heart, the rate is the one you meant. The next lesson needs them,
# since its networks are deep enough to fail all three.
