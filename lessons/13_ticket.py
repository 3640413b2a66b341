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
# **Does a small network train as well as the large one it was found in?**
#
# A network of 5,240 weights learns the digits to 95 %. Prune most of them, train on a little, and
# it hardly matters. Then why train 5,240 at all? The usual answer was: because a small network,
# trained from the start, gets stuck. In 2018 Jonathan Frankle and Michael Carbin tried it once
# more, with one change. They put the survivors back to the values they *began* with.

# %%
import inspect
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson13 as check
from quatgrad import data, models, set_backend
from quatgrad.lth import Protocol, Rule, Search, Ticket, find_tickets, rewind
from quatgrad.lth.ticket.ticket import digest
from quatgrad.train import Recipe, train

plt.style.use("quatgrad.style")
set_backend("numpy")  # layers as small as these: there is nothing to gain from compiling

digits = data.load("digits")
recipe = Recipe(epochs=6, batch_size=64, lr=0.1)


def create(seed):
    return models.create("lenet-300-100", width=60, image_size=(4, 4), seed=seed)


# %% [markdown]
# ## The loop
#
# A **ticket** is two things: the masks, and the state to start from. To find one: train, prune the
# smallest weights (lesson 12), put the survivors back to their first values, repeat. The package
# has this loop under the name `find_tickets`. Read it: nothing is hidden.

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
# Read down the last column. An eighth of the weights, put back to where they began, comes within
# three points of the whole network. With a thirtieth it is over.
#
# **Exercise 1.** How many levels does it take until at most the share `share` is left, if each
# keeps the share `keep`? (Forget the rounding of single weights.)


# %%
def levels_until(share, keep):
    """The first level with at most `share` of the weights; 0 is the dense network."""
    ...


check.levels_until(levels_until)

# %% [markdown]
# ## The same loop, on disk
#
# A run of days needs more. `Search` writes every level to disk, and a killed run goes on. Every
# level *asserts* that it started from mask times first state, that pruned weights stayed 0, and
# that the counts are exact. The loop in it is the same: masks, a ticket, training, again.
# (`control` and `late` are for comparisons: more of the first below.)

# %%
source = inspect.getsource(Search._run)
print(source[source.index("        while len(records)") :])
print(inspect.getsource(Search._prune_and_rewind))
with tempfile.TemporaryDirectory() as folder:
    protocol = Protocol(LEVELS, KEEP, floor=0)
    records = Search(create(0), digits, recipe, Path(folder), protocol, progress=False).run()
for record, (ticket, accuracy, state) in zip(records, found, strict=True):
    assert record.accuracy == accuracy
    assert record.ticket == ticket.digest()
    assert record.trained == digest(state)
print("equal, bit for bit:", len(records), "tickets and what they were trained to")

# %% [markdown]
# ## What is it that wins?
#
# A ticket is a place for each weight and a value for each. Which of the two does it? Take them
# away, one at a time. Both controls have exactly as many weights in every layer:
#
# * the **re-initialised ticket** has the places, but new first values;
# * the **random ticket** has the values, but at places drawn by lot.
#
# One run proves nothing, so we do all of it from three seeds. (`quatgrad.lth.ticket.controls` has
# both controls, and one more: only the signs of the values.)

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
fig, ax = plt.subplots()
names = ("ticket", "re-initialised", "random")
for name, runs, marker in zip(names, 100 * accuracy, "osd", strict=True):
    (line,) = ax.plot(percent, runs.mean(axis=0), marker=marker, label=name)
    ax.fill_between(percent, runs.min(axis=0), runs.max(axis=0), alpha=0.2, color=line.get_color())
ax.axhline(100 * accuracy[0, :, 0].mean(), color="0.4", linestyle=":", label="dense")
ax.set(xscale="log", xlabel="% of the weights left", ylabel="test accuracy, %", ylim=(0, 100))
ax.set_xticks(percent, [f"{p:.3g}" for p in percent], minor=False)
ax.minorticks_off()
ax.invert_xaxis()
ax.legend(loc="lower left")
ax.set_title(f"Fewer weights from left to right; mean and range of {SEEDS} seeds")
plt.show()

# %% [markdown]
# At 60 % all three are alike: there is room enough. Below 30 % they part. **The same number of
# weights, in the same layers, trained in the same way**: the one that was found learns, and the one
# that was drawn by lot falls to guessing. Places help (the line in the middle). Values help too.
#
# That is the *lottery ticket hypothesis*: a large network, at random, contains a small one that
# would have learned as well alone. Perhaps large networks train well because they hold many
# tickets.
#
# ## Is the comparison fair?
#
# A control must not differ in anything but what it is meant to take away. Suppose somebody draws
# places at random in the whole network at once. There are as many weights in all. But the last
# layer, with few weights, may now get less than it had, and that alone can ruin it.
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
# Three seeds give three differences between ticket and control. How well do they say what the mean
# of very many would be? With standard deviation `s` (which divides by `n − 1`), it lies within
# `± t s / √n` of theirs, with 95 % confidence. Student's `t` is 4.30 for three values, and not
# 1.96, because `s` itself is only guessed from three.

# %%
gains = {level: 100 * (accuracy[0, :, level] - accuracy[1, :, level]) for level in (1, 3, 5)}
for level, gain in gains.items():
    print(f"{percent[level]:5.1f} % left: ticket less re-initialised, points:", gain.round(1))

# %% [markdown]
# **Exercise 3.** Write the half width of that interval. `student_t(n)` below gives `t`.


# %%
def student_t(n):
    """t such that 95 % lie within ± t, for n values."""
    from scipy import stats

    return stats.t.ppf(0.975, n - 1)


def half_width(values):
    """t s / sqrt(n)."""
    ...


check.half_width(half_width)

# %% [markdown]
# Use it on the three lines above: `half_width(gains[1])`. Where the interval reaches over 0, the
# ticket has not been shown to be better. Say so in a report, even if the mean is positive.
#
# Two more things a report should say. Finding the ticket took eight trainings, so nothing was saved
# yet. And we trained for six epochs only. With 30, random tickets catch up at 13 % (87 % right, the
# ticket 95 %), but not at 5 % (28 % and 87 %). Try it: `recipe` is at the top, and it takes a
# minute.
#
# **What you have now:** the whole experiment, with its controls and its doubts. In a quaternion
# network there is only a quarter of the weights to begin with. Is there still a ticket in it? That
# is the next lesson, and the last.
