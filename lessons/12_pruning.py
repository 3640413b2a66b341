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
# # 12. Pruning honestly
#
# **When is a pruned weight really gone?**
#
# To prune a network, set its smallest weights to 0 and go on training the others. It sounds like
# one line of NumPy. But two things go wrong, and nobody sees it. Fewer weights are pruned than the
# report says. And pruned weights come back. The program runs, the accuracy looks good (even
# better), and the result is worth nothing. In this lesson we count, rank, and keep pruned weights
# at 0.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson12 as check
from pictures import panels
from quatgrad import Parameter, Tensor, data, models
from quatgrad.errors import InvariantError
from quatgrad.lth import Ticket, check_pruned, full_masks, prune_by_magnitude, rewind
from quatgrad.lth.prune.rule import highest
from quatgrad.lth.ticket.mask_constraint import MaskConstraint, set_mask
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD, Adam
from quatgrad.train import evaluate

plt.style.use("quatgrad.style")

# %% [markdown]
# ## How many go?
#
# Ten weights, and 30 % are to go: three go, seven stay. Of five weights, 30 % are one and a half.
# Half a weight cannot go, so we round. Python rounds a half to the **even** neighbour, and decimal
# fractions like 0.3 are not exact in binary:

# %%
print("round(0.5), round(1.5), round(2.5), round(3.5) =", *map(round, (0.5, 1.5, 2.5, 3.5)))
print("(1 - 0.7) * 35 =", (1 - 0.7) * 35, "-> round gives", round((1 - 0.7) * 35))

# %% [markdown]
# By hand 30 % of 35 is 10.5, and the even neighbour is 10. The computer's 10.500000000000002 is no
# half any more, and 11 go. One weight does not matter to the accuracy. It matters to a claim like
# "both networks have the same number of weights", and to a run that should end with the same bits
# everywhere. So the rule has to be written down: the paper's is to remove `round((1 - keep) n)` of
# `n` weights. One more line is ours: a tensor that has weights keeps at least one.
#
# **Exercise 1.** Write it.


# %%
def left(n, keep):
    """How many of n weights are left after one pruning that keeps the share `keep`."""
    ...


check.left(left)

# %% [markdown]
# ## Which ones go?
#
# The smallest in magnitude. The simple way is a threshold: the median of `|w|`, to prune half of
# them. We prune 64 weights three times by half. Then we do it again with weights that were rounded
# to one digit:

# %%
rng = np.random.default_rng(12)
for what, w in (("64 weights", rng.standard_normal(64)), ("rounded", rng.integers(-9, 9, 64) / 10)):
    counts = [64]
    for _ in range(3):
        w = np.where(np.abs(w) > np.quantile(np.abs(w), 0.5), w, 0)
        counts.append(np.count_nonzero(w))
    print(f"{what:10}", " -> ".join(map(str, counts)), "  should be 64 -> 32 -> 16 -> 8")

# %% [markdown]
# After the first level half of the numbers are 0, so the median is about 0, and **nothing goes any
# more**. The dead were counted among the candidates. And where several weights are equal to the
# threshold, all of them go, or none.
#
# The cure: rank only those alive, and count instead of comparing. A *mask* remembers who is alive.


# %%
def largest(w, alive, keep):
    """The new mask: of the entries alive, the share `keep` that is largest in magnitude."""
    candidates = np.flatnonzero(alive)
    n = len(candidates)
    gone = min(round((1 - keep) * n), n - 1)
    ranked = candidates[np.argsort(np.abs(w.ravel()[candidates]), kind="stable")]
    mask = np.zeros(w.size, bool)
    mask[ranked[gone:]] = True
    return mask.reshape(w.shape)


w, alive = rng.integers(-9, 9, (8, 8)) / 10, np.ones((8, 8), bool)
counts = [64]
for _ in range(3):
    alive = largest(w, alive, 0.5)
    counts.append(alive.sum())
print(" -> ".join(map(str, counts)))

# %% [markdown]
# A stable sort leaves equal weights in their order, so of equals the later ones stay: the same on
# every machine. The package's own gets along without sorting everything: it finds the smallest that
# stays, and settles ties by hand. `prune_by_magnitude` does this for each tensor of a network:

# %%
print(inspect.getsource(highest))
net = models.create("lenet-300-100", width=60, image_size=(4, 4))
weights = dict(net.weight_parameters())
theirs, ours = full_masks(weights), full_masks(weights)
for _ in range(5):
    theirs = prune_by_magnitude(weights, theirs, keep=0.7)
    ours = {name: largest(w.numpy(), ours[name], 0.7) for name, w in weights.items()}
    assert all(np.array_equal(ours[name], theirs[name]) for name in weights)
print({name: f"{mask.sum()} of {mask.size}" for name, mask in ours.items()})

# %% [markdown]
# Each layer lost the same share. One can also rank the weights of all layers together: then a
# layer of small weights loses more than others.
#
# **Exercise 2.** Write that one: of all weights alive in all tensors, keep the share `keep`. (Lay
# them in one row with `np.concatenate`, let `largest` decide, and cut the row with `np.split`.)


# %%
def largest_of_all(tensors, masks, keep):
    """New masks (a list of arrays, as `masks`) for a list of arrays `tensors`."""
    ...


check.largest_of_all(largest_of_all)

# %% [markdown]
# ## The dead wake up
#
# Now train a network, prune 80 %, and train on. We set the pruned weights to 0, once. Their
# gradients are not 0, so at the next step they are back: clear. So we multiply the gradients by the
# mask as well. That should do. Let us look at it, for the two most common optimizers.

# %%
digits = data.load("digits")


def batches(epochs):
    for epoch in range(epochs):
        yield from data.batches(digits, 64, seed=0, epoch=epoch)


def steps(net, optimizer, lr, epochs, masks=None):
    """Train; with masks, their zeros are put into the gradients. Yields after each step."""
    for images, labels in batches(epochs):
        optimizer.zero_grad()
        cross_entropy(net(Tensor(images)), labels).backward()
        for name, w in net.weight_parameters() if masks else ():
            w.grad *= masks[name]
        optimizer.step(lr)
        yield


def zero_once(net, masks):
    for name, w in net.weight_parameters():
        w.data = w.data * masks[name]


# %%
OPTIMIZERS = {"SGD with momentum": (lambda p: SGD(p, momentum=0.9), 0.05), "Adam": (Adam, 0.003)}
paths = {}
for title, (make, lr) in OPTIMIZERS.items():
    net = models.create("lenet-300-100", width=60, image_size=(4, 4))
    optimizer = make(net.parameters())
    list(steps(net, optimizer, lr, epochs=2))
    weights = dict(net.weight_parameters())
    masks = prune_by_magnitude(weights, full_masks(weights), keep=0.2)
    zero_once(net, masks)
    first, dead = next(iter(weights.items()))[1], ~next(iter(masks.values()))
    path = [first.numpy()[dead][:40]]
    path += [first.numpy()[dead][:40] for _ in steps(net, optimizer, lr, 1, masks)]
    paths[title] = {"": path}
    awake = {name: np.count_nonzero(w.numpy()[~masks[name]]) for name, w in weights.items()}
    accuracy = evaluate(net, digits.test, digits)[1]
    zero_once(net, masks)
    alone = evaluate(net, digits.test, digits)[1]
    print(f"{title:18} {sum(awake.values())} of {sum((~m).sum() for m in masks.values())} awake;",
          f"accuracy {accuracy:.1%}, without them {alone:.1%}")  # fmt: skip
forty = {"color": "#D55E00", "linewidth": 0.8, "alpha": 0.6}
panels(paths, "pruned weights", look=forty, xlabel="steps after pruning")

# %% [markdown]
# **Every line should be flat.** These are forty weights that we pruned, with a gradient that is
# exactly 0 at every step. Yet they move, because the optimizer remembers: $v \leftarrow 0.9 v + g$,
# and $w \leftarrow w - \text{lr}\, v$. The velocity of a pruned weight starts where training left
# it, and fades away over tens of steps. Adam has a memory of the same kind.
#
# Each of these weights is small. But there are four times as many dead as alive, and together they
# matter. A report would print the first accuracy, beside "20 % of the weights". What the 20 % do
# alone is the second.
#
# ## One door
#
# A program can apply the mask wherever something writes a weight. Sooner or later it forgets one
# place. In the package there is only one place: every write to a parameter goes through `update`,
# and a *constraint* can change what was written. A mask is such a constraint.

# %%
print(inspect.getsource(Parameter.update))
print(inspect.getsource(MaskConstraint))

# %% [markdown]
# `alive` is the mask as bits, all ones or all zeros for each weight, and `&=` keeps or clears
# them. Why no multiplication? Because `0 * inf` is not 0, and one more reason, smaller:

# %%
with np.errstate(invalid="ignore"):
    print("0 * inf =", 0.0 * np.float64(np.inf), "   0 * -1 =", 0.0 * -1.0)

w = Parameter([[1.0, 2.0], [3.0, 4.0]])
set_mask(w, np.array([[True, False], [True, True]]))
w.data = [[-1.0, np.inf], [5.0, 6.0]]
print(w.numpy())

# %% [markdown]
# The door keeps the weight at 0, but the memory of the optimizer stands outside. So a level starts
# with a new optimizer, and that is *checked*, not hoped. `check_pruned` wants weight,
# gradient and momentum of a pruned entry to be exactly 0, and every run calls it after every epoch.

# %%
net = models.create("lenet-300-100", width=60, image_size=(4, 4))
old = SGD(net.parameters(), momentum=0.9)
list(steps(net, old, 0.05, epochs=1))
weights = dict(net.weight_parameters())
ticket = Ticket(prune_by_magnitude(weights, full_masks(weights), keep=0.2), net.state_dict())
rewind(net, ticket)
for what, optimizer in (("old", old), ("new", SGD(net.parameters(), momentum=0.9))):
    list(steps(net, optimizer, 0.05, epochs=1))
    try:
        check_pruned(net, ticket, optimizer)
        print(f"{what} optimizer: weights, gradients and momenta of the dead are 0")
    except InvariantError as error:
        print(f"{what} optimizer: {error}")

# %% [markdown]
# **Exercise 3.** Write a step of SGD with momentum, in plain NumPy, that keeps pruned weights at 0.
# Before the step a pruned weight is 0; after it, the weight *and* its velocity must be 0, even if
# its velocity was not 0 before, or its gradient is infinite. For the other weights:
# $v \leftarrow \text{momentum}\, v + g$, $w \leftarrow w - \text{lr}\, v$.


# %%
def step(w, v, g, alive, lr, momentum):
    """The new (w, v); `alive` is the mask."""
    ...


check.step(step)

# %% [markdown]
# **What you have now:** a count that is exact, a ranking of those alive, and weights that stay at
# 0, with a check that says so. So far the survivors trained on from where they were. The next
# lesson puts them back to where they *began*, and something remarkable happens.
