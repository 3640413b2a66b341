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
# **What does a quarter of the parameters leave to prune?**
#
# A quaternion network starts about where a real one is after four levels of pruning by 30 %: with a
# quarter of the weights. Can it be pruned further? *Large Neural Networks at a Fraction* (2024)
# says that it can, and that at high sparsity it beats the real network. In this lesson we prune
# quaternions in two ways, ask what "equal" means, and read the paper's own numbers twice.

# %%
import inspect
import textwrap

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson14 as check
from quatgrad import data, models, set_backend
from quatgrad.lth import Rule, Ticket, full_masks, rewind
from quatgrad.lth.prune.rule import prune
from quatgrad.models.costs import costs
from quatgrad.paper.claims import judge
from quatgrad.paper.published import published
from quatgrad.train import Recipe, train
from slider import slider

plt.style.use("quatgrad.style")
set_backend("numpy")  # layers as small as these: there is nothing to gain from compiling
digits = data.load("digits")
recipe = Recipe(epochs=6, batch_size=64, lr=0.1)


def create(algebra, seed):
    return models.create("lenet-300-100", algebra, width=60, image_size=(4, 4), seed=seed)


# %% [markdown]
# ## Two ways to prune a quaternion
#
# Here are three quaternions, one in each column. Two thirds of the twelve numbers are to go.

# %%
w = np.array([[5.0, 0.9, 0.2], [0.1, 0.8, 2.0], [0.3, 0.7, 0.4], [0.2, 0.6, 0.1]])
for name, row in zip("1ijk", w, strict=True):
    print(f"{name}  {row}")
print("norm", np.linalg.norm(w, axis=0).round(2))

# %% [markdown]
# * **By component**, as the paper does: the 1, i, j and k parts are four tensors, and each loses
#   its own smallest. 5, 2, 0.7 and 0.6 stay. A quaternion dies in pieces.
# * **As a whole**: quaternions are ranked by their norm, and all four parts of one go together.
#   The first stays, small parts and all.
#
# The second in a few lines. A quaternion counts as one thing: one norm, one place in the ranking.


# %%
def whole(w, alive, keep):
    """The new mask for w (4, P, Q): of the quaternions alive, those of largest norm."""
    norm = np.sqrt((w.astype(np.float64) ** 2).sum(axis=0)).ravel()
    candidates = np.flatnonzero(alive[0])
    gone = round((1 - keep) * len(candidates))
    ranked = candidates[np.argsort(norm[candidates], kind="stable")]
    mask = np.zeros(norm.size, bool)
    mask[ranked[gone:]] = True
    return np.broadcast_to(mask.reshape(w.shape[1:]), w.shape)


# %% [markdown]
# In the package a rule is a choice of *groups*, which go together, and of *pools*, in which they
# are ranked. By component there are four pools, and each number is a group of its own; as a whole
# there is one pool, of groups of four. And our mask is the package's:

# %%
print(inspect.getsource(Rule.groups))
net = create("quaternion", seed=0)
train(net, digits, recipe, progress=False)
trained = dict(net.weight_parameters())
layer, dense = trained["1.weight"].numpy(), full_masks(trained)
mask = prune(trained, dense, Rule(0.25, granularity="quaternion"))["1.weight"]
assert np.array_equal(whole(layer, dense["1.weight"], 0.25), mask)

# %% [markdown]
# ## A quarter left, and what it looks like
#
# Both masks of the first layer keep the same share of its 960 numbers: 240 at `keep = 0.25`. Each
# square is a quaternion, and its colour says how many of its four parts are left.


# %%
def parts_left(keep=0.25):
    """Pull the share: both masks of the first layer, and how many quaternions are at work."""
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
    titles = {"weight": "by component", "quaternion": "as a whole"}
    for ax, (granularity, title) in zip(axes, titles.items(), strict=True):
        rule = Rule(keep, granularity=granularity)
        parts = prune(trained, dense, rule)["1.weight"].sum(axis=0)
        image = ax.imshow(parts, cmap=plt.get_cmap("cividis", 5), vmin=-0.5, vmax=4.5)
        ax.set(title=f"{title}: {np.mean(parts > 0):.0%} still at work", xticks=[], yticks=[])
        ax.set_xlabel("output quaternion")
        ax.grid(False)
    axes[0].set_ylabel("input quaternion")
    fig.colorbar(image, ax=axes, ticks=range(5), label="parts left")
    plt.show()


slider(parts_left, keep=(0.05, 0.95, 0.05))

# %% [markdown]
# With a quarter kept, most quaternions on the left are still at work, most of them with a single
# part. On the right three quarters are gone for good, and a program may skip them.
#
# **Exercise 1.** Suppose each part survives with probability `keep`, whatever happens to the
# others. What share of the quaternions has at least one part left? (Then compare with the picture:
# do large parts keep company?)


# %%
def at_work(keep):
    """The expected share of quaternions that are not wholly gone."""
    ...


check.at_work(at_work)

# %% [markdown]
# ## What does a weight cost?
#
# A real weight of a linear layer is multiplied once for each image. A component of a quaternion
# stands in four places of the block matrix (lesson 6), so it is multiplied four times. In a
# convolution all of that happens at every pixel of the output.
#
# **Exercise 2.** How many multiply-adds does a pruned convolution take for one image?


# %%
def multiply_adds(alive, height, width, components):
    """`alive` weights left; an output of height x width; components: 1 real, 4 quaternion."""
    ...


check.multiply_adds(multiply_adds)

# %% [markdown]
# So the two networks of the paper compare like this, both dense:

# %%
print(f"{'':26}{'weights':>12}{'multiply-adds':>16}{'MB stored':>11}")
for algebra in ("real", "quaternion"):
    big = models.create("resnet18", algebra, num_classes=100)
    c = costs(big, (32, 32, 4))
    print(f"ResNet-18, {algebra:15}{c.weights:12,}{c.multiply_adds:16,}{c.bytes / 1e6:11.1f}")

# %% [markdown]
# A quarter of the weights, and *the same* multiply-adds. Then "equal" can mean two things. At equal
# **weights** the quaternion network does four times the work. At equal **work** it has a quarter of
# the weights. A comparison must say which one it makes.
#
# ## What we find
#
# Three seeds on the digits, with the loop of the lesson before, and the two rules:

# %%
LEVELS, SEEDS, KEEP = 7, 3, 0.6


def search(algebra, granularity, seed):
    """(weights, multiply-adds, test accuracy) of each level."""
    model = create(algebra, seed)
    first, weights = model.state_dict(), dict(model.weight_parameters())
    masks = full_masks(weights)
    for _ in range(LEVELS + 1):
        rewind(model, Ticket(masks, first))
        epochs = train(model, digits, recipe, seed, progress=False)
        c = costs(model, digits.input_shape, masks)
        yield c.weights, c.multiply_adds, 100 * epochs[-1].test_accuracy
        masks = prune(weights, masks, Rule(KEEP, granularity=granularity))


NETWORKS = {
    "real": ("real", "weight"),
    "quaternion, by component": ("quaternion", "weight"),
    "quaternion, as a whole": ("quaternion", "quaternion"),
}
runs = {name: np.array([list(search(*kind, seed)) for seed in range(SEEDS)])
        for name, kind in NETWORKS.items()}  # fmt: skip

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
for (name, levels), marker in zip(runs.items(), "osd", strict=True):
    weights, work, accuracy = levels.mean(axis=0).T
    low, high = levels[..., 2].min(axis=0), levels[..., 2].max(axis=0)
    for ax, x in zip(axes, (weights, work), strict=True):
        (line,) = ax.plot(x, accuracy, marker=marker, label=name)
        ax.fill_between(x, low, high, alpha=0.15, color=line.get_color())
axes[0].set(xlabel="weights left", ylabel="test accuracy, %", ylim=(0, 100))
axes[1].set(xlabel="multiply-adds for one image")
ticks = [5000, 2000, 1000, 500, 200, 100, 50]
for ax, title in zip(axes, ("at equal weights", "at equal work"), strict=True):
    ax.set(xscale="log", xlim=(6000, 35), title=title)
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
axes[1].legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
# The same runs, drawn twice. On the left the quaternion network, pruned by component, is far ahead
# as soon as weights are few: its places in the matrix are four times as many. On the right the real
# network is ahead. And whole quaternions do worse than components here: their masks are tidy,
# but coarse.
#
# ## What the paper found
#
# The package holds the paper's results, level by level: ten pairs of ResNets, real and quaternion.
# Here are three of its claims, judged from its own numbers.

# %%
curves = published()
for verdict in judge(curves):
    if verdict.claim in ("A1", "A2", "A4"):
        print(f"{verdict.statement}\n  -> {verdict.verdict.upper()}")
        print(textwrap.indent(textwrap.fill(verdict.numbers, 88), "     "))

# %% [markdown]
# The four points of the first are there, but at 0.6 %, not at 6 %. The others hold.
#
# A curve is read with `curve.at(x)`: the accuracy at `x` % of the *dense real* network's weights,
# which is the paper's axis. `curve.at(f, "fraction")` reads it where the share `f` of the network's
# *own* weights is left. Every tensor was pruned alike.
#
# **Exercise 3.** By how many points is the quaternion network ahead at equal *work*: both where
# their multiply-adds have fallen to the share `f` of the dense ones?


# %%
def gap_at_equal_work(real, quaternion, f):
    """Points, quaternion less real; negative where the real network is ahead."""
    ...


check.gap_at_equal_work(gap_at_equal_work)

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
for model, colour, width in (("resnet18", "C0", 1.2), ("resnet101", "C1", 2.4)):
    for algebra, style in (("real", "-"), ("quaternion", "--")):
        points = curves["cifar100", model, algebra].points
        for ax, share in zip(axes, ("x", "fraction"), strict=True):
            x = [getattr(p, share) * (1 if share == "x" else 100) for p in points]
            label = f"{model.replace('resnet', 'ResNet-')}, {algebra}"
            accuracy = [p.accuracy for p in points]
            ax.plot(x, accuracy, style, color=colour, linewidth=width, label=label)
axes[0].set(xlabel="% of the real network's weights", ylabel="test accuracy, %")
axes[1].set(xlabel="% of the multiply-adds (the same for both)")
for ax, title in zip(axes, ("as published", "the same points, at equal work"), strict=True):
    ax.set(xscale="log", xlim=(150, 0.015), title=title)
    ax.set_xticks([100, 10, 1, 0.1], ["100", "10", "1", "0.1"])
axes[1].legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
# Left: below 1 % the dashed lines are above the solid ones. That is the paper's finding, and in its
# data it holds for all ten pairs, until the quaternion network only guesses. Right: at equal work
# the real network is ahead, in all ten pairs and at every level, until both only guess. (Each
# curve is one seed. The dip of ResNet-101 is batch norm's: its 8 % are 38 % with the statistics of
# the batch in place of the running ones.)
#
# Both pictures are true. If memory is what you lack, the quaternion ticket is the better one. If
# time is, the real ticket is. (If your program skips zeros, that is: most do not.)
#
# **What you have now:** a machine that differentiates, layers over the quaternions, tickets, and
# two ways to be equal. Fourteen lessons ago there was a slope. Next: `quatgrad-lth --help`, and a
# question of your own.
