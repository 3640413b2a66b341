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
# # 10. Residual networks
#
# **Why do a hundred layers train, if every second one may be skipped?**
#
# A gradient that goes back through L layers is multiplied L times. Suppose each layer multiplies
# its length by the same factor. For 50 layers:
#
# | factor | 0.7 | 0.9 | 1.0 | 1.1 | 1.2 |
# |---|---|---|---|---|---|
# | after 50 layers | 0.00000002 | 0.005 | 1 | 117 | 9100 |
#
# Either the first layers learn nothing, or they are thrown about, unless the factor is 1 within a
# few percent. A **residual** layer computes $y = x + f(x)$. Its factor is $1 + f'$: near 1 whenever
# the slope $f'$ is small.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson10 as check
from pictures import curves
from quatgrad import Tensor, data, models
from quatgrad.backend import set_backend
from quatgrad.models.algebra import Layers
from quatgrad.models.resnet import BasicBlock, ResNet
from quatgrad.nn import BatchNorm2d, Module, Sequential
from quatgrad.ops import cross_entropy, relu
from quatgrad.paper.published import rows
from quatgrad.random import generator
from quatgrad.train import Recipe, train

plt.style.use("quatgrad.style")
set_backend("numpy")  # maps of 4 x 4 pixels: there is nothing to gain from compiling

digits = data.load("digits", subset=600)
images, labels = next(data.batches(digits, size=64, seed=0, epoch=0))

# %% [markdown]
# ## A block, built
#
# Two convolutions, each with its batch norm, and a way around them. **Batch norm** subtracts from
# each channel its mean over the batch, divides by its deviation, and applies a scale and a shift
# that are learned; in testing it takes running means of training. Where the block changes the
# number of channels or halves the map, x does not fit any more, and the way around gets a small
# convolution too: one pixel wide.


# %%
class Block(Module):
    expansion = 1  # channels out, for one of width

    def __init__(self, layers, P, Q, stride):
        self.conv1, self.bn1 = layers.conv(P, Q, 3, stride, padding=1), BatchNorm2d(Q)
        self.conv2, self.bn2 = layers.conv(Q, Q, 3, padding=1), BatchNorm2d(Q)
        self.shortcut = Sequential()  # nothing: x as it is
        if stride != 1 or P != Q:
            self.shortcut = Sequential(layers.conv(P, Q, 1, stride), BatchNorm2d(Q))

    def forward(self, x):
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.shortcut(x))


# %% [markdown]
# The package's is the same, written with `conv_norm_act`: it is `activation(norm(conv(x)) +
# residual)`, and a fast rung does all of it in one step. `ResNet` stacks any block: three stages of
# 9 blocks, with 16, 32 and 64 channels, are ResNet-56.

# %%
print(inspect.getsource(BasicBlock.forward))


def resnet(block, depth=9, width=16, seed=0):
    layers = Layers("real", generator(seed, "init"), init="he")
    return ResNet(layers, 10, 4, width, block, (depth,) * 3)


ours, theirs = resnet(Block), models.create("resnet56", image_size=(4, 4), seed=0)
assert np.array_equal(ours(Tensor(images)).data, theirs(Tensor(images)).data)

# %% [markdown]
# ## The same network without the way around


# %%
class Plain(Block):
    def forward(self, x):
        y = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(y)))


def gradient_norms(net):
    """Length of dL/dw for each 3 x 3 convolution, from the first to the last."""
    cross_entropy(net(Tensor(images)), labels).backward()
    weights = [w for name, w in net.weight_parameters() if w.shape[:2] == (3, 3)]
    return [float(np.linalg.norm(w.grad)) for w in weights]


norms = {"with shortcuts": gradient_norms(resnet(Block)),
         "without": gradient_norms(resnet(Plain))}  # fmt: skip
for name, lengths in norms.items():
    factor = (lengths[0] / lengths[-1]) ** (1 / 54)
    print(f"{name:15} first / last = {lengths[0] / lengths[-1]:6.1f}, {factor:.3f} for each layer")
curves(norms, range(1, 56), ("o-", "s--"), yscale="log", xlabel="convolution",
       ylabel="length of its gradient",
       title="ResNet-56, before the first step: the gradient flows to the left")  # fmt: skip

# %% [markdown]
# Without shortcuts the gradient grows by 14 % at each layer on its way back: it *explodes*. (ReLU
# cuts the signal, batch norm scales it up again, and the gradient is scaled with it. Without batch
# norm and with small weights it would vanish instead.) A learning rate that suits the last layer is
# a thousand times too large for the first.
#
# With shortcuts it grows by 5 %: all 55 layers within a factor of 25. The steps at 20 and 38 are
# where a new stage begins, with wider layers.
#
# ## And so they train
#
# 32 layers, 600 images, three epochs, two seeds each. This is far from converged; it shows who
# has started.

# %%
for block in (Block, Plain):
    for seed in range(2):
        net = resnet(block, depth=5, width=8, seed=seed)
        recipe = Recipe(epochs=3, batch_size=32, lr=0.05)
        last = train(net, digits, recipe, seed, progress=False)[-1]
        print(f"{block.__name__:6} seed {seed}: loss {last.train_loss:.2f}, "
              f"test accuracy {last.test_accuracy:.0%}")  # fmt: skip

# %% [markdown]
# There is another way to see it. Three blocks are $(1 + f_3)(1 + f_2)(1 + f_1)\, x$. Multiply it
# out: there are eight paths from x to y, one through no block, three through one, three through
# two, one through all. A deep residual network is many shallow ones at once, and the gradient
# always has a short way. (This is exact for linear f, and a picture for others.)
#
# **Exercise 1.** Go back through a block by hand: $y = x + \text{relu}(x w_1)\, w_2$, in NumPy, on
# a batch.


# %%
def block_gradient(x, w1, w2, g):
    """dL/dx (N, P), for x (N, P), w1 (P, Q), w2 (Q, P) and g = dL/dy (N, P)."""
    ...


check.block_gradient(block_gradient)

# %% [markdown]
# ## Counting, exactly
#
# The paper prints its networks with two decimals: ResNet-18, 11.22 million. Can we get that number
# from the architecture alone? A convolution with a window of U × V, from P to Q channels, has
# `U V P Q` weights, a quarter of that with quaternions, and no bias. Its batch norm has two numbers
# for each channel, over either algebra.
#
# **Exercise 2.** Count one `BasicBlock` from P to Q channels. It has a shortcut with a
# convolution if P is not Q.


# %%
def block_parameters(P, Q, algebra):
    """How many numbers a BasicBlock learns; algebra is "real" or "quaternion"."""
    ...


check.block_parameters(block_parameters)

# %% [markdown]
# Now the whole networks. ResNet-50 and deeper have blocks of three convolutions: 1 × 1 to fewer
# channels, 3 × 3, and 1 × 1 to four times as many.

# %%
DEPTHS = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3), "ResNet50": (3, 4, 6, 3),
          "ResNet101": (3, 4, 23, 3), "ResNet152": (3, 8, 36, 3)}  # fmt: skip


def count(model, algebra, classes):
    """Parameters of a ResNet of the paper: four stages from 64 channels, images of 4."""
    share, thin = {"real": 1, "quaternion": 4}[algebra], model in ("ResNet18", "ResNet34")

    def conv(P, Q, size):  # and its batch norm
        return size * size * P * Q // share + 2 * Q

    total, P = conv(4, 64, 3), 64
    for stage, depth in enumerate(DEPTHS[model]):
        q = 64 * 2**stage
        Q = q if thin else 4 * q
        for _ in range(depth):
            sizes = [(P, q, 3), (q, q, 3)] if thin else [(P, q, 1), (q, q, 3), (q, Q, 1)]
            sizes += [(P, Q, 1)] if P != Q else []
            total, P = total + sum(conv(*size) for size in sizes), Q
    return total + P * classes // share + classes


for algebra in ("real", "quaternion"):
    net = models.create("resnet18", algebra, num_classes=100)
    assert count("ResNet18", algebra, 100) == net.num_parameters()

# %% [markdown]
# All twenty networks of the paper, beside what it printed (`quatgrad-models` on the command line
# builds each of them, and says what it costs):

# %%
print(
    f"{'':10} {'classes':>7} {'real':>11} {'printed':>8} {'quaternion':>11} {'printed':>8}  share"
)
printed = {(r["model"], r["algebra"], int(r["num_classes"])): r["published_millions"]
           for r in rows("param_counts")}  # fmt: skip
for classes in (100, 1000):
    for model in DEPTHS:
        n = {algebra: count(model, algebra, classes) for algebra in ("real", "quaternion")}
        line = f"{model:10} {classes:7}"
        for algebra, exact in n.items():
            published = printed[model, algebra, classes]
            assert f"{exact / 1e6:.2f}" == published
            line += f" {exact:11,} {published:>7}M"
        print(f"{line}  {n['quaternion'] / n['real']:.4f}")

# %% [markdown]
# Twenty of twenty are equal. The share is a little more than a quarter, because batch norm and the
# bias of the last layer stay real. Such a count is the cheapest test of a reproduction: it finds a
# forgotten shortcut or an extra bias before the first hour of training.
#
# **What you have now:** why depth needs a way around, and the networks of the paper to the last
# parameter. The next lesson asks what it takes to keep them in memory.
