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
# # 13. The lottery ticket
#
# **Does a small network train as well as the large network that contains it?**
#
# A network of 5,240 weights learns the digits to 95 %. If we prune most of the weights and train a
# little more, the accuracy is almost the same. Then why train 5,240 weights at all? The usual
# answer was: a small network that is trained from the start does not get that far. In 2018 Jonathan
# Frankle and Michael Carbin tried it again, with one change. They set the weights that were left
# back to their *first* values.

# %%
import inspect
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson13 as check
from mine import mine, whose
from pictures import lesson13 as show
from quatgrad import data, models, set_backend
from quatgrad.kernels.reference import HAMILTON
from quatgrad.lth import Protocol, Rule, Search, Ticket, find_tickets, rewind
from quatgrad.lth.ticket.ticket import digest
from quatgrad.train import Recipe, train

plt.style.use("quatgrad.style")
set_backend("numpy")  # for layers as small as these, compiling gains nothing

digits = data.load("digits")
recipe = Recipe(epochs=6, batch_size=64, lr=0.1)


def create(seed):
    return models.create("lenet-300-100", width=60, image_size=(4, 4), seed=seed)


# %% [markdown]
# ## The loop
#
# A **ticket** is two things: the masks, and the state to start from. We find one like this: train,
# prune the smallest weights (lesson 12), set the others back to their first values, repeat. In the
# package this loop is called `find_tickets`. Read it; there is nothing else:

# %%
print(inspect.getsource(find_tickets))

# %% [markdown]
# `Rule(keep)` says which weights stay: the share `keep` of each tensor, the largest ones. With
# `keep = 0.6` each level has 40 % fewer weights than the one before.

# %%
LEVELS, KEEP = 7, 0.6
found = list(find_tickets(create(seed=0), digits, recipe, Rule(KEEP), LEVELS, seed=0))
for level, (ticket, accuracy, _) in enumerate(found):
    print(f"level {level}: {ticket.weights_left:5,} weights, {ticket.density:6.1%}, {accuracy:.1%}")

# %% [markdown]
# Look at the last column. With an eighth of the weights, set back to their first values, the
# accuracy is within three points of the whole network. With a 36th the network has failed.
#
# **Exercise 1.** Each level keeps the share `keep` of the weights. After how many levels is at most
# the share `share` left? (Ignore that weights are whole numbers.)


# %%
def levels_until(share, keep):
    """The first level with at most `share` of the weights; 0 is the dense network."""
    ...


check.levels_until(levels_until)

# %% [markdown]
# ## The same loop, on disk
#
# An experiment of several days needs more. `Search` writes every level to disk, and a run that was
# killed goes on. Every level *checks* that it started from mask times first state, that pruned
# weights stayed 0, and that the counts are exact. The loop is the same, so the numbers are, too:

# %%
with tempfile.TemporaryDirectory() as folder:
    protocol = Protocol(Rule(KEEP), LEVELS, stop_accuracy=0)
    records = Search(create(0), digits, recipe, Path(folder), protocol, progress=False).run()
for record, (ticket, accuracy, state) in zip(records, found, strict=True):
    assert record.accuracy == accuracy
    assert record.ticket == ticket.digest()
    assert record.trained == digest(state)
print("equal, bit for bit:", len(records), "tickets and what they were trained to")

# %% [markdown]
# ## Why does a ticket win?
#
# A ticket says for each weight that is left its place and its first value. Which of the two is
# important? We take them away, one at a time. Both controls have the same number of weights in
# every layer:
#
# * the **re-initialised ticket** has the same places, but new first values;
# * the **random ticket** has the same first values, but random places.
#
# One run proves nothing, so we use three seeds. (`quatgrad.lth.ticket.controls` has both controls,
# and others: only the signs of the values, the places of another seed.)

# %%
SEEDS = 3


def controls(ticket, seed):
    """The re-initialised ticket, and the random one."""
    draw = np.random.default_rng(seed).permutation
    places = {name: draw(mask.ravel()).reshape(mask.shape) for name, mask in ticket.masks.items()}
    return Ticket(ticket.masks, create(seed + 1000).state_dict()), Ticket(places, ticket.state)


def accuracy_of(ticket, seed):
    model = create(seed)
    rewind(model, ticket)
    return train(model, digits, recipe, seed, progress=False)[-1].test_accuracy


percent = [100 * ticket.density for ticket, _, _ in found]
search = digits, recipe, Rule(KEEP), LEVELS
accuracy = np.zeros((3, SEEDS, LEVELS + 1))  # of ticket, re-initialised, random
for seed in range(SEEDS):
    levels = found if seed == 0 else find_tickets(create(seed), *search, seed)
    for level, (ticket, own, _) in enumerate(levels):
        others = [accuracy_of(c, seed) for c in controls(ticket, seed)] if level else [own, own]
        accuracy[:, seed, level] = [own, *others]

# %%
names = ("ticket", "re-initialised", "random")
dense = 100 * accuracy[0, :, 0].mean()
show.tickets(percent, dict(zip(names, 100 * accuracy, strict=True)), dense)

# %% [markdown]
# At 60 % all three are equal: there are enough weights. Below 30 % they differ, and at 5 % the
# ticket is right for almost nine of ten images, and the random ticket hardly better than guessing:
# with **the same number of weights, in the same layers, trained in the same way**. The places help
# (the line in the middle). The values help too.
#
# This is the *lottery ticket hypothesis*: a large random network contains a small network that
# could have learned as well alone. Perhaps large networks train well because they contain many
# tickets.
#
# ## Is the comparison fair?
#
# A control must differ from the ticket in one thing only. Suppose somebody draws random places in
# the whole network at once. The number of weights is the same. But the last layer, which has few
# weights, may now have fewer than in the ticket, and this alone can ruin the network.
#
# **Exercise 2.** Write the test: do two sets of masks (dicts by name) leave the same number of
# weights in every tensor?


# %%
def fair(masks, control):
    """True or False."""
    ...


check.fair(fair)

# %% [markdown]
# ## Could it be luck?
#
# Three seeds give three differences between ticket and control. The mean of very many seeds would
# be another number. How far away can it be? With 95 % confidence it is within $\pm\, t s / \sqrt n$
# of our mean, where $s$ is the standard deviation (which divides by $n - 1$). Student's $t$ is 4.30
# for three values, not 1.96, because $s$ is estimated from only three values.

# %%
gains = {level: 100 * (accuracy[0, :, level] - accuracy[1, :, level]) for level in (1, 3, 5)}
for level, gain in gains.items():
    print(f"{percent[level]:5.1f} % left: ticket less re-initialised, points:", gain.round(1))

# %% [markdown]
# **Exercise 3.** Write the half width of that interval. `student_t(n)` below gives `t`.


# %%
def student_t(n):
    """t such that 95 % are within ± t, for n values."""
    from scipy import stats

    return stats.t.ppf(0.975, n - 1)


def half_width(values):
    """t s / sqrt(n)."""
    ...


check.half_width(half_width)

# %% [markdown]
# Use it on the three lines above: `half_width(gains[1])`. If the interval contains 0, these runs do
# not show that the ticket is better. Say so in a report, even if the mean is positive.
#
# A report should say two more things. Seven trainings found the last ticket, so nothing was
# saved yet. And we trained for only six epochs. With 30 epochs random tickets get better: 87 % at
# 13 % of the weights (the ticket 95 %), but only 28 % at 5 % (the ticket 87 %). Try it: `recipe` is
# at the top, and it takes a minute.
#
# ## Your own engine
#
# All this was the package's. But you have written most of it yourself. A function that passed its
# checker is kept in the folder `my/`; what you left out is taken from the package, with the same
# arguments. Together they train a ticket, without `Tensor`, without `train`, without
# `find_tickets`:

# %%
NAMES = "layer_dx", "layer_dw", "bias_gradient", "warm_cosine", "step", "largest_of_all"
layer_dx, layer_dw, bias_gradient, warm_cosine, step, largest_of_all = map(mine, NAMES)
for part in (layer_dx, layer_dw, bias_gradient, warm_cosine, step, largest_of_all):
    print(f"{part.__name__:15} is {whose(part)}")

# %% [markdown]
# The network has two quaternion layers (lesson 5): 16 quaternions of pixels, 12 hidden ones, and 3
# for the classes: twelve numbers, of which two are never right. `slopes` is the whole backward
# walk.


# %%
def forward(weights, biases, x):
    """The input of each layer, and the logits last; x (N, 4, 16)."""
    values = [x]
    for w, b in zip(weights, biases, strict=True):
        y = np.einsum("abc,apq,nbp->ncq", HAMILTON, w, values[-1], optimize=True) + b.reshape(4, -1)
        values.append(np.maximum(y, 0))
    return [*values[:-1], y.reshape(len(x), -1)]


def slopes(weights, values, labels):
    """dL/dw and dL/db of each layer, L the cross entropy; backwards, each layer once."""
    p = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
    g = (p / p.sum(axis=1, keepdims=True) - np.eye(p.shape[1])[labels]) / len(labels)
    found = []
    for w, x in zip(reversed(weights), reversed(values[:-1]), strict=True):
        blocks = g.reshape(len(g), 4, -1)
        found.append((layer_dw(x, blocks), bias_gradient(g)))
        g = (layer_dx(blocks, w) * (x > 0)).reshape(len(g), -1)  # x came out of a ReLU
    return found[::-1]


# %%
def pixels(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), 4, -1).astype(np.float64)


def train_own(first, masks, epochs=4, lr=0.1):
    """Train from mask times first weights; the weights, and the share of test images told right."""
    weights = [w * mask for w, mask in zip(first, masks, strict=True)]
    biases = [np.zeros(4 * w.shape[2]) for w in weights]
    speeds, of_biases = [0 * w for w in weights], [0 * b for b in biases]
    total, count = epochs * data.num_batches(len(digits.train), 64), 0
    for epoch in range(epochs):
        for x, labels in data.batches(digits, 64, seed=0, epoch=epoch):
            rate = warm_cosine(count, lr, total, 10)
            found = slopes(weights, forward(weights, biases, pixels(x)), labels)
            for n, (dw, db) in enumerate(found):
                how = masks[n], rate, 0.9
                weights[n], speeds[n] = step(weights[n], speeds[n], dw, *how)
                how = np.ones(len(db), bool), rate, 0.9
                biases[n], of_biases[n] = step(biases[n], of_biases[n], db, *how)
            count += 1
    logits = forward(weights, biases, pixels(digits.encode(digits.test.images)))[-1]
    return weights, (logits.argmax(axis=1) == digits.test.labels).mean()


rng = np.random.default_rng(0)
first = [rng.standard_normal((4, P, Q)) / np.sqrt(2 * P) for P, Q in ((16, 12), (12, 3))]
masks = [np.ones(w.shape, bool) for w in first]
for _ in range(4):
    trained, right = train_own(first, masks)
    assert all((w[~mask] == 0).all() for w, mask in zip(trained, masks, strict=True))
    print(f"{sum(mask.sum() for mask in masks):4} weights left, {right:.1%} right")
    masks = largest_of_all(trained, masks, keep=0.5)

# %% [markdown]
# That is the engine, and it is yours: slopes, layers of quaternions, steps that wake no pruned
# weight, a rate, a ranking, and a ticket at the end.
#
# **What you have now:** the whole experiment, with its controls and its doubts. A quaternion
# network has only a quarter of the weights from the start. Does it still contain a ticket? That is
# the next lesson.
