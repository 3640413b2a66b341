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
# # 14. Quaternion tickets
#
# **Can we still prune a network that has only a quarter of the parameters?**
#
# A quaternion network starts with a quarter of the weights. A real network has so few only after
# four levels of pruning by 30 %. Can the quaternion network be pruned further? *Large Neural
# Networks at a Fraction* (2024) says yes, and that at high sparsity it is better than the real
# network. In this lesson we prune quaternions in two ways, ask what "equal" means, and read the
# numbers of the paper in two ways.

# %%
import inspect
import textwrap

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson14 as check
from pictures import lesson14 as show
from quatgrad import data, models, set_backend
from quatgrad.costs import costs
from quatgrad.lth import Rule, find_tickets, full_masks
from quatgrad.lth.prune.rule import prune
from quatgrad.paper.claims import judge
from quatgrad.paper.published import published
from quatgrad.train import Recipe, train
from slider import slider

plt.style.use("quatgrad.style")
set_backend("numpy")  # for layers as small as these, compiling gains nothing
digits = data.load("digits")
recipe = Recipe(epochs=6, batch_size=64, lr=0.1)


def create(algebra, seed):
    return models.create("lenet-300-100", algebra, width=60, image_size=(4, 4), seed=seed)


# %% [markdown]
# ## Two ways to prune a quaternion
#
# Here are three quaternions, one in each column. We prune two thirds of the twelve numbers.

# %%
w = np.array([[5.0, 0.9, 0.2], [0.1, 0.8, 2.0], [0.3, 0.7, 0.4], [0.2, 0.6, 0.1]])
for name, row in zip("1ijk", w, strict=True):
    print(f"{name}  {row}")
print("norm", np.linalg.norm(w, axis=0).round(2))

# %% [markdown]
# * **By component**, as in the paper: the 1, i, j and k parts are four tensors, and in each of them
#   the smallest numbers are pruned. 5, 2, 0.7 and 0.6 stay. A quaternion loses one part after the
#   other.
# * **As a whole**: quaternions are ranked by their norm, and all four parts of a quaternion are
#   pruned together. The first stays, also with its small parts.
#
# Here is the second way in a few lines. A quaternion counts as one thing: it has one norm and one
# place in the ranking.


# %%
def whole(w, alive, keep):
    """The new mask for w (4, P, Q): the quaternions of largest norm, out of the mask `alive`."""
    norm = np.sqrt((w.astype(np.float64) ** 2).sum(axis=0)).ravel()
    candidates = np.flatnonzero(alive[0])
    gone = round((1 - keep) * len(candidates))
    ranked = candidates[np.argsort(norm[candidates], kind="stable")]
    mask = np.zeros(norm.size, bool)
    mask[ranked[gone:]] = True
    return np.broadcast_to(mask.reshape(w.shape[1:]), w.shape)


# %% [markdown]
# In the package a rule chooses *groups* of numbers, which are pruned together, and *pools* of
# groups, which are ranked together. By component: four pools, and each number is a group. As a
# whole: one pool, and four numbers are a group. The package gives the same mask as our function:

# %%
print(inspect.getsource(Rule.groups))
net = create("quaternion", seed=0)
train(net, digits, recipe, progress=False)
trained = dict(net.weight_parameters())
layer, dense = trained["1.weight"].numpy(), full_masks(trained)
mask = prune(trained, dense, Rule(0.25, granularity="quaternion"))["1.weight"]
assert np.array_equal(whole(layer, dense["1.weight"], 0.25), mask)

# %% [markdown]
# ## What a quarter looks like
#
# Both masks of the first layer keep the same share of its 960 numbers: 240 at `keep = 0.25`. Each
# square is a quaternion. Its colour says how many of its four parts are left.


# %%
def parts_left(keep=0.25):
    """Move the share: both masks of the first layer, and how many quaternions are still used."""
    masks = {}
    for granularity, title in {"weight": "by component", "quaternion": "as a whole"}.items():
        rule = Rule(keep, granularity=granularity)
        parts = prune(trained, dense, rule)["1.weight"].sum(axis=0)
        masks[f"{title}: {np.mean(parts > 0):.0%} still used"] = parts
    show.parts_left(masks)


slider(parts_left, keep=(0.05, 0.95, 0.05))

# %% [markdown]
# When a quarter of the numbers is kept, most quaternions on the left are still used, but most of
# them have only one part. On the right three quarters of the quaternions are gone, and a program
# can skip them.
#
# **Exercise 1.** Suppose that each part survives with probability `keep`, independently of the
# others. What share of the quaternions has at least one part left? (Then compare with the picture:
# are large parts often in the same quaternion?)


# %%
def at_work(keep):
    """The expected share of quaternions with at least one part left."""
    ...


check.at_work(at_work)

# %% [markdown]
# ## What does a weight cost?
#
# In a linear layer each real weight is multiplied once for each image. A component of a quaternion
# is in four places of the block matrix (lesson 6), so it is multiplied four times. In a convolution
# this happens at every pixel of the output.
#
# **Exercise 2.** How many multiply-adds does a pruned convolution need for one image?


# %%
def multiply_adds(alive, height, width, components):
    """`alive` weights left; an output of height x width; components: 1 real, 4 quaternion."""
    ...


check.multiply_adds(multiply_adds)

# %% [markdown]
# Here are the two networks of the paper, both dense:

# %%
print(f"{'':26}{'weights':>12}{'multiply-adds':>16}{'MB stored':>11}")
for algebra in ("real", "quaternion"):
    big = models.create("resnet18", algebra, num_classes=100)
    c = costs(big, (32, 32, 4))
    print(f"ResNet-18, {algebra:15}{c.weights:12,}{c.multiply_adds:16,}{c.bytes / 1e6:11.1f}")

# %% [markdown]
# The quaternion network has a quarter of the weights, but *the same* multiply-adds. So "equal" can
# mean two things. At equal **weights** the quaternion network does four times the work. At equal
# **work** it has a quarter of the weights. A comparison must say which of them it means.
#
# ## Our result
#
# We use three seeds on the digits, the loop of the last lesson, and the two rules:

# %%
LEVELS, SEEDS, KEEP = 7, 3, 0.6


def search(algebra, granularity, seed):
    """(weights, multiply-adds, test accuracy) of each level."""
    model, rule = create(algebra, seed), Rule(KEEP, granularity=granularity)
    for ticket, accuracy, _ in find_tickets(model, digits, recipe, rule, LEVELS, seed):
        c = costs(model, digits.input_shape, ticket.masks)
        yield c.weights, c.multiply_adds, 100 * accuracy


NETWORKS = {
    "real": ("real", "weight"),
    "quaternion, by component": ("quaternion", "weight"),
    "quaternion, as a whole": ("quaternion", "quaternion"),
}
runs = {name: np.array([list(search(*kind, seed)) for seed in range(SEEDS)])
        for name, kind in NETWORKS.items()}  # fmt: skip

# %%
show.equal_weights_equal_work(runs)

# %% [markdown]
# Both pictures show the same runs. On the left the quaternion network, pruned by component, is far
# better when there are few weights: each weight is in four places of the matrix. On the right the
# real network is better. And here whole quaternions do worse than components: a mask of whole
# quaternions has less choice.
#
# ## The result of the paper
#
# The package contains the results of the paper, level by level: ten pairs of ResNets, real and
# quaternion. Here are three of its claims, tested on its own numbers.

# %%
curves = published()
for verdict in judge(curves):
    if verdict.claim in ("A1", "A2", "A4"):
        print(f"{verdict.statement}\n  -> {verdict.verdict.upper()}")
        print(textwrap.indent(textwrap.fill(verdict.numbers, 88), "     "))

# %% [markdown]
# The four points of the first claim exist, but at 0.6 %, not at 6 %. The other claims are true.
#
# `curve.at(x)` is the accuracy when `x` % of the weights of the *dense real* network are left: this
# is the axis of the paper. `curve.at(f, "fraction")` is the accuracy when the share `f` of the
# network's *own* weights is left. All tensors were pruned by the same share.
#
# **Exercise 3.** By how many points is the quaternion network ahead at equal *work*, when each of
# the two does the share `f` of the multiply-adds of its dense network?


# %%
def gap_at_equal_work(real, quaternion, f):
    """Points, quaternion less real; negative where the real network is ahead."""
    ...


check.gap_at_equal_work(gap_at_equal_work)

# %%
show.published_twice(
    curves["cifar100", model, algebra]
    for model in ("resnet18", "resnet101")
    for algebra in ("real", "quaternion")
)

# %% [markdown]
# Left: below 1 % the dashed lines are above the solid lines. This is what the paper says, and in
# its data it is true for all ten pairs, until the quaternion network only guesses. Right: at equal
# work the real network is better, in all ten pairs and at every level, until both only guess. (Each
# curve is one seed. The dip of ResNet-101 comes from batch norm: the 8 % become 38 % with the
# statistics of the batch in place of the running statistics.)
#
# Both pictures are true. If you have little memory, take the quaternion ticket. If you have little
# time, take the real ticket. (Only if your program skips zeros: most programs do not.)
#
# **What you have now:** an engine that differentiates, layers of quaternions, tickets, and two
# meanings of "equal". The next lesson writes a program that skips zeros.
