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
# # 8. The ladder of kernels
#
# **How fast can the same sum be?**
#
# The last two lessons ended with a formula: a quaternion convolution is a sum of products. A
# formula says what to compute, but not how. In this lesson we compute one layer in seven ways and
# measure each. The slowest takes half a minute or more, the fastest about a thousandth of a second.
# Each way is a **rung** of a ladder: it computes the same as the rung below, and is meant to be
# faster.
#
# The layer has a window of 3 × 3, 32 quaternions in and 32 out, on 8 maps of 16 × 16 pixels.
# Each Hamilton product takes 16 multiplications:

# %%
import inspect
import timeit

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

from checkers import lesson08 as check
from pictures import lesson08 as show
from quatgrad import arrays, backend, kernels
from quatgrad.errors import BackendError
from quatgrad.kernels import gemm, reference
from quatgrad.kernels.numba_cpu.conv.algorithm import explain
from quatgrad.kernels.numba_cpu.conv.eight_products import conv2d as conv2d_by_eight
from quatgrad.kernels.numba_cpu.conv.eight_products import is_profitable
from quatgrad.kernels.reference import HAMILTON

plt.style.use("quatgrad.style")
rng = np.random.default_rng(0)
how = (1, 1), (1, 1)  # stride, padding

N, H, U, P, Q = 8, 16, 3, 32, 32
x = rng.standard_normal((N, H, H, 4 * P), dtype=np.float32)
w = rng.standard_normal((4, U, U, P, Q), dtype=np.float32)
work = N * H * H * U * U * P * Q * 16
print(f"{work / 1e6:.0f} million multiplications")

# %% [markdown]
# ## How to measure
#
# Run it once without measuring, because the first run loads and compiles things. Then take the
# **best** of a few runs. Other programs can make a run slower, but never faster, so the best run
# was disturbed least. And compare each result with the same sum in float64: a fast wrong answer is
# easy.

# %%
truth = reference.conv2d(x.astype(float), w.astype(float), *how)
rungs = {}


def climb(name, f, share=1, right=truth):
    """Measure f, which computes this share of the layer, and compare it with `right`."""
    error = np.abs(f() - right).max() / np.abs(truth).max()
    times = []
    while len(times) < 3 or (sum(times) < 0.8 and len(times) < 200):
        times.append(timeit.timeit(f, number=1))
    rungs[name] = min(times) / share
    print(f"{name:24} {1e3 * rungs[name]:12.2f} ms   error {error:.0e}")
    assert error < 1e-4


# %% [markdown]
# ## First rung: loops
#
# The formula as a Python program, for one output. The whole layer has 65,536 outputs; we do not
# wait for the others.

# %%
TABLE = [(a, b, c, int(HAMILTON[a, b, c])) for a, b, c in np.argwhere(HAMILTON).tolist()]
patches = reference.patches(x, (U, U), *how)
window = patches[0, 5, 5].reshape(U, U, 4, P).tolist()  # the inputs of the window at one place
weight = w.tolist()


def one_output(q=0):
    """y = sum_uvp w_uvpq x_uvp: 288 Hamilton products."""
    y = [0.0] * 4
    for u in range(U):
        for v in range(U):
            for p in range(P):
                for a, b, c, sign in TABLE:
                    y[c] += sign * weight[a][u][v][p][q] * window[u][v][b][p]
    return np.array(y)


climb("Python loops", one_output, share=1 / (N * H * H * Q), right=truth[0, 5, 5, ::Q])

# %% [markdown]
# For each multiplication Python looks up names and indices, and makes a new number object. The
# multiplication itself takes only a hundredth of the time.
#
# ## Second rung: einsum
#
# `einsum` runs the loops in C. It does not know that most of the sign table is zero, so it makes 64
# multiplications in place of 16. Here it computes one row of pixels.

# %%
row = patches[0, 0].reshape(H, U, U, 4, P)
signs = HAMILTON.astype(np.float32)


def einsum():
    return np.einsum("abc,auvpq,juvbp->jcq", signs, w, row).reshape(H, 4 * Q)


climb("einsum", einsum, share=1 / (N * H), right=truth[0, 0])

# %% [markdown]
# ## Third rung: loops, compiled
#
# Numba translates a Python function into machine code. With the matrix of lesson 6, which has no
# zeros, and the patches of lesson 7, three loops are enough. The innermost loop goes along the
# memory: then one instruction multiplies 8 or 16 neighbours at once.


# %%
@njit
def product(A, B):
    """A B for matrices, as three loops."""
    C = np.zeros((len(A), B.shape[1]), A.dtype)
    for n in range(len(A)):
        for k in range(len(B)):
            for q in range(B.shape[1]):
                C[n, q] += A[n, k] * B[k, q]
    return C


rows = patches.reshape(N * H * H, U * U * 4 * P)
columns = gemm.expand(w).reshape(U * U * 4 * P, 4 * Q)
climb("loops, compiled", lambda: product(rows, columns).reshape(truth.shape))

# %% [markdown]
# ## Fourth rung: a matrix product
#
# A BLAS is a library with the same three loops, written by people who have spent years on them.
# They cut the work into small blocks: a number that was loaded from memory is used many times
# before it is replaced. And all cores work together. The times below include making the patches and
# the matrix.
#
# A BLAS must know the processor. If it believes that the processor is an older one, it uses only
# half of it. So the package has its own product for CPUs: blocks, with Numba. (If the machine has
# other work, all of these get slower, and the BLAS most, because its threads wait for one another.)

# %%
for name, rung in (("matrix product", "numpy"), ("matrix product, Numba", "numba")):
    with backend.use_backend(rung):
        climb(name, lambda: gemm.conv2d(x, w, *how))

# %% [markdown]
# Until now every rung made all multiplications of the definition, but waited less. The next rungs
# make **fewer multiplications**.
#
# ## Three in place of four
#
# A warm-up with complex numbers: $(a + bi)(c + di) = (ac - bd) + (ad + bc)\, i$ has four
# multiplications. Three are enough, as Gauss is said to have seen. Hint: what is $(a + b)(c + d)$?
#
# **Exercise 1.** You may use as many additions as you like, but only three multiplications.


# %%
def gauss(a, b, c, d):
    """(real part, imaginary part) of (a + bi)(c + di), with three multiplications."""
    ...


check.gauss(gauss)

# %% [markdown]
# ## Eight in place of sixteen
#
# In 1975 Howell and Lafon found that eight multiplications are enough for a product of quaternions.
# Four of them multiply sums of components, the other four multiply single components.


# %%
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)


def eight(x, w, mul=np.multiply):
    """w x for x and w (4, ...), one array for each component, with eight calls of mul."""
    (a, b, c, d), (r, i, j, k) = x, w
    sums_x, sums_w = (np.tensordot(HADAMARD, z, 1) for z in (x, w))
    products = np.stack([mul(s, t) for s, t in zip(sums_x, sums_w, strict=True)])
    h = np.tensordot(HADAMARD, products, 1) / 4
    return np.stack([2 * mul(a, r) - h[0], h[1] - 2 * mul(c, k),
                     h[2] - 2 * mul(d, i), h[3] - 2 * mul(b, j)])  # fmt: skip


one, other = rng.standard_normal((2, 4))
assert np.allclose(eight(other, one), reference.hamilton(one, other))

# %% [markdown]
# The components need not be numbers. They can be matrices, and `mul` a matrix product: then this is
# a **linear layer**. Each of its eight products has a quarter of the inputs and a quarter of the
# outputs, a sixteenth of the work of the big product: together they are half of it.
#
# And `mul` can be a convolution. Then this is our layer: eight real convolutions, each with a
# quarter of the features. Here it is in the package, where X and W are the eight planes of x and of
# w:

# %%
print(inspect.getsource(conv2d_by_eight))

# %% [markdown]
# By hand:


# %%
def eight_products():
    X = np.moveaxis(x.reshape(N, H, H, 4, P), 3, 0)
    y = eight(X, w, lambda a, b: gemm.conv2d(a, b, *how))
    return np.moveaxis(y, 0, 3).reshape(truth.shape)


climb("eight products, Numba", eight_products)

# %% [markdown]
# It has half the multiplications of the rung before, and is hardly faster here, or even slower. The
# products were already so fast that the additions count now: they move every number through memory
# and do almost nothing with it. The saving grows with the square of the width, the additions only
# with the width, so a wide layer becomes faster. The package decides for each layer:

# %%
for width in (32, 64, 128, 512):
    products = "eight" if is_profitable(width // 4, width // 4) else "sixteen"
    print(f"linear layer, {width} features: {products} products are faster")

# %% [markdown]
# ## Winograd: four in place of six
#
# Two neighbouring outputs of a window of three are $y_0 = d_0 w_0 + d_1 w_1 + d_2 w_2$ and
# $y_1 = d_1 w_0 + d_2 w_1 + d_3 w_2$: six multiplications. Winograd needs only four:
#
# * $m_1 = (d_0 - d_2)\, w_0$
# * $m_2 = (d_1 + d_2)\,(w_0 + w_1 + w_2) / 2$
# * $m_3 = (d_2 - d_1)\,(w_0 - w_1 + w_2) / 2$
# * $m_4 = (d_1 - d_3)\, w_2$
#
# The sums of weights are computed once, for all places. **Exercise 2.** Compute $y_0$ and $y_1$
# from these four. Use a pen: which of them contain $d_0 w_0$? And which contain $d_3 w_2$?


# %%
def winograd(m1, m2, m3, m4):
    """(y0, y1): additions and subtractions only."""
    ...


check.winograd(winograd)

# %% [markdown]
# **Exercise 3.** In general m outputs of a window of r take $m + r - 1$ multiplications. In two
# dimensions we do it along the rows and along the columns: tiles of m × m outputs, windows of r ×
# r. How many times fewer multiplications are needed?


# %%
def saving(m, r):
    """Multiplications of the definition, over those of Winograd, for m x m outputs."""
    ...


check.saving(saving)

# %% [markdown]
# The package uses m = 4 and r = 3: four times fewer. And at each of the 36 points of a tile it
# makes eight products in place of sixteen: together eight times fewer. Numba keeps a tile in the
# cache from its first addition to its last. `explain` says which way the package uses for a shape.

# %%
print(explain((H, H), w.shape, *how)["y"])
climb("Winograd, eight products", lambda: kernels.kernel("conv2d")(x, w, *how))

# %% [markdown]
# The price is precision: large numbers are added and cancel. The error is about ten times larger
# than before, but still much too small to change how a network trains.
#
# ## Another machine
#
# The last rung is a graphics card, if there is one. The kernels have the same names; the arrays are
# in the memory of the card.

# %%
try:
    with backend.use_backend("cupy"):
        on_card = arrays.asarray(x), arrays.asarray(w)
        kernel = kernels.kernel("conv2d")
        climb("CuPy", lambda: arrays.to_numpy(kernel(*on_card, *how)))
except BackendError as error:
    print("no CuPy rung here:", error)

# %%
show.times_of_rungs(rungs, hatched="eight")
times = list(rungs.values())
print(f"from the first to the fastest: {times[0] / min(times):,.0f} times as fast")

# %% [markdown]
# **What you have now:** three ways to be faster: wait less, multiply less, use more of the machine.
# And a habit: compare each fast way with the slow one that is clearly right. The next lesson trains
# with the fastest, and asks how we can know that training works.
