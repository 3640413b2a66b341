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
# # 15. Zeros that save time
#
# **When does a zero save time?**
#
# A ticket with 5 % of its weights needs 5 % of the multiplications. But a program that multiplies
# by zeros makes them all. In this lesson we write a program that leaves them out, see why zeros at
# random places are hard to use, why whole quaternions are easy, and measure how many zeros a layer
# must have before it pays.

# %%
import inspect
import timeit

import matplotlib.pyplot as plt
import numpy as np
from numba import njit, set_num_threads

from checkers import lesson15 as check
from pictures import lesson15 as show
from quatgrad import kernels, models, nn, sparse
from quatgrad.sparse.choice import BREAK_EVEN, choose

plt.style.use("quatgrad.style")
rng = np.random.default_rng(0)
set_num_threads(1)  # each of the rivals has one


def best(calls, rounds=10, times=8):
    """Milliseconds of each call: the best of some rounds, in which each of them has a turn."""
    found = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            found[name].append(1e3 * timeit.timeit(call, number=times) / times)
    return {name: min(ms) for name, ms in found.items()}


# %% [markdown]
# ## A zero is a number like any other
#
# Here is a layer with 256 inputs and 256 outputs at each of 16 × 16 pixels: a product of matrices.
# Then the same layer when 95 % of its weights are pruned.

# %%
P, Q, H = 256, 256, 16
planes = rng.standard_normal((P, H * H), dtype=np.float32)  # one plane of pixels for each input
w = rng.standard_normal((P, Q), dtype=np.float32)
dense = kernels.kernel("matmul")  # of lesson 8
for density in (1, 0.05):
    columns = np.ascontiguousarray((w * (rng.random(w.shape) < density)).T)
    ms = best({"dense": lambda c=columns: dense(c, planes)})
    print(f"{density:4.0%} left: {ms['dense']:.2f} ms")

# %% [markdown]
# Nothing is saved. To ask "is this weight zero?" before each multiplication does not help either: a
# question takes longer than a multiplication.
#
# ## Vectors
#
# A processor multiplies 8 or 16 neighbours in memory with one instruction: a **vector**. Say that
# 16 weights are in a vector. If all of them are zero, the instruction can be left out.
#
# **Exercise 1.** A share `density` of the weights is left, at random places. What share of the
# vectors of `lanes` weights can be left out?


# %%
def skipped(density, lanes):
    """The expected share of vectors in which every weight is zero."""
    ...


check.skipped(skipped)

# %% [markdown]
# Now the other way round: put *pixels* into the vectors. One weight is multiplied by 16
# neighbouring pixels, and then a zero leaves out a whole instruction, wherever it is.

# %%
LANES, PIXELS = 16, 16
alive = rng.random((32, 64)) < 0.05
needed = alive.reshape(32, -1, LANES).any(axis=2)  # vectors of weights with a survivor
counts = {
    "all products": alive.size // LANES * PIXELS,
    "16 weights in a vector": int(needed.sum()) * PIXELS,
    "16 pixels in a vector": int(alive.sum()) * PIXELS // LANES,
}
show.vectors(alive, needed, counts)

# %% [markdown]
# ## A row of survivors
#
# For each output we store the weights that are left, and of which inputs they are: **values** and
# **places**. `starts[q]` says where the row of output q begins. The inputs are planes, one for each
# channel, so neighbouring pixels are neighbours in memory.


# %%
def survivors(w):
    """(values, places, starts) of a weight (P, Q)."""
    q, p = np.nonzero(w.T)
    return w[p, q], p, np.searchsorted(q, np.arange(w.shape[1] + 1))


@njit(fastmath=True)
def product(x, values, places, starts):
    """y_q = sum_n values_n x[places_n] for planes x (P, pixels)."""
    y = np.zeros((len(starts) - 1, x.shape[1]), x.dtype)
    for q in range(len(y)):
        for n in range(starts[q], starts[q + 1]):
            for t in range(x.shape[1]):
                y[q, t] += values[n] * x[places[n], t]
    return y


# %%
print(f"{'left':>6}{'dense':>10}{'survivors':>12}   ms")
for density in (1, 0.5, 0.2, 0.1, 0.05, 0.02):
    v = w * (rng.random(w.shape) < density)
    rows = survivors(v)
    assert np.allclose(product(planes, *rows), v.T @ planes, atol=1e-3)
    columns = np.ascontiguousarray(v.T)
    ms = best({"dense": lambda c=columns: dense(c, planes),
               "sparse": lambda r=rows: product(planes, *r)})  # fmt: skip
    print(f"{density:6.0%}{ms['dense']:10.3f}{ms['sparse']:12.3f}")

# %% [markdown]
# With all weights, our program is much slower than the dense product, although both make the same
# multiplications: it pays only when two or three percent are left. A dense product loads an input
# once and multiplies it by the weights of many outputs. A row of survivors meets an input once. So
# each product has a **load** of its own, and loading is what takes the time. (Ours also loads and
# stores the sums each time; the package keeps those of many pixels in registers until a row ends.)
#
# ## What a load is good for
#
# In a quaternion layer a load is good for more. For an output quaternion at one place, four vectors
# are loaded: the components 1, i, j, k of the input. Each component of the weight that is left is
# multiplied by all four of them (lesson 14).
#
# **Exercise 2.** Each component is left with the probability `density`, independently of the
# others. The four vectors are loaded only where at least one component is left. How many products
# are there for each load, on average over all places?


# %%
def products_per_load(density):
    """Expected products, over expected loads."""
    ...


check.products_per_load(products_per_load)

# %% [markdown]
# If quaternions are pruned *as a whole*, all four components are left or none: 16 products for four
# loads, at every density. At 5 % by component it is hardly more than one.
#
# ## The package
#
# `sparse.prepare` makes a plan of a network: values and places of each layer, planes of pixels, and
# one compiled program that reads them. Dense layers are dense there, if that is faster:

# %%
print(inspect.getsource(choose))
net = nn.Sequential(nn.Conv2d(P, Q, 1, bias=False, rng=rng))
(weight,) = net.parameters()
weight.data = v.reshape(weight.shape)
x = planes.T.reshape(1, H, H, P)
y = sparse.prepare(net, x.shape[1:])(x).reshape(H * H, Q)
assert np.allclose(y.T, product(planes, *survivors(v)), atol=1e-3)

# %% [markdown]
# ## The break-even density
#
# Now we measure. The layer is a 3 × 3 convolution with 64 channels, real or quaternion. For each
# density it is computed as a sparse one; dense, its zeros do not matter.

# %%
C = 64
image = rng.standard_normal((1, H, H, C), dtype=np.float32)
densities = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
KINDS = {
    "real": nn.Conv2d, "quaternion, by component": nn.QConv2d, "quaternion, as a whole": nn.QConv2d,
}  # fmt: skip


def call_of(name, density, kind):
    """A call of the layer, of which this share is left, with one image."""
    conv = KINDS[name](C, C, 3, padding=1, bias=False, rng=rng)
    shape = conv.weight.shape[1:] if "whole" in name else conv.weight.shape
    mask = np.broadcast_to(rng.random(shape) < density, conv.weight.shape)
    conv.weight.data = conv.weight.data * mask
    plan = sparse.prepare(conv, (H, H, C), {"weight": mask}, kinds={"weight": kind})
    return lambda: plan(image)


calls = {(name, d): call_of(name, d, "sparse") for name in KINDS for d in densities}
calls |= {(name, "dense"): call_of(name, 1.0, "dense") for name in KINDS}
ms = best(calls)
sparse_ms = {name: np.array([ms[name, d] for d in densities]) for name in KINDS}
dense_ms = {name: ms[name, "dense"] for name in KINDS}

# %%
show.sparse_and_dense(densities, sparse_ms, dense_ms)
for name in KINDS:
    print(f"{name:26} at 5 %: {dense_ms[name] / sparse_ms[name][2]:4.1f} times as fast as dense")

# %% [markdown]
# Where a line crosses the dotted line of its colour (whole quaternions: that of quaternions), the
# zeros begin to pay. The real layer and the quaternions by component cost about the same: one load
# for each product. (Dense quaternions are faster than dense reals, lesson 8, so they are harder to
# beat.) Whole quaternions are cheapest.
#
# **Exercise 3.** At which density does the sparse layer take as long as the dense one? Between two
# measured densities the line is straight.


# %%
def break_even(densities, sparse_ms, dense_ms):
    """The density at which sparse_ms (increasing, one for each density) would be dense_ms."""
    ...


check.break_even(break_even)
for name in KINDS:
    print(f"{name:26}", break_even(densities, sparse_ms[name], dense_ms[name]))
print("by the package's table:", {k: d for (k, is_pixel), d in BREAK_EVEN.items() if not is_pixel})

# %% [markdown]
# ## Whole networks
#
# A network has more than products: norms, sums, maps that are moved. And a small one has too little
# work for any of this to matter. ResNet-8 and LeNet-300-100, one image, dense and with 5 % left:

# %%
for model, size in {"resnet8": (32, 32), "lenet-300-100": (14, 14)}.items():
    calls, x = {}, np.ones((1, *size, 4), np.float32)
    for density in (1, 0.05):
        net = models.create(model, "quaternion", image_size=size, seed=0)
        for _, p in net.weight_parameters():
            p.data = p.data * (rng.random(p.shape) < density)
        plan = sparse.prepare(net, x.shape[1:])
        calls[density] = lambda plan=plan, x=x: plan(x)
    ms = best(calls)
    print(f"{model:14} dense {ms[1]:.3f} ms, 5 % {ms[0.05]:.3f} ms: {ms[1] / ms[0.05]:.1f} times")

# %% [markdown]
# 5 % of the weights take more than 5 % of the time: of the small ResNet a fifth or so, of
# LeNet half of it or more. In a large network whole quaternions come nearer: in ResNet-18 a ninth
# (README, "Inference"). `quatgrad-lth deploy RUN` measures the time and the file on the disk for
# the levels of a run, and compares them with what else you could take: a smaller dense network.
#
# **What you have now:** an engine that differentiates, layers of quaternions, tickets, and a way to
# run them that leaves out what was pruned. Fifteen lessons ago we began with a slope. Next:
# `quatgrad-lth --help`, and a question of your own; or two more layers, for text and for time.
