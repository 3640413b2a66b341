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
# # 7. A convolution is patches times a matrix
#
# **How does a sliding window become one matrix product?**
#
# A convolution slides a small window over an image. At each place it multiplies what it sees by
# the same few weights, and writes down the sum. Here is one place: the window sees the top left
# corner of this image.
#
# | image | | | | | weights | | |
# |---|---|---|---|---|---|---|---|
# | **1** | **2** | **3** | 4 | | 1 | 0 | −1 |
# | **5** | **6** | **7** | 8 | | 1 | 0 | −1 |
# | **9** | **10** | **11** | 12 | | 1 | 0 | −1 |
# | 13 | 14 | 15 | 16 | | | | |
#
# The sum is $(1 + 5 + 9) - (3 + 7 + 11) = -6$: left column minus right column. One step to the
# right it is $(2 + 6 + 10) - (4 + 8 + 12) = -6$ again. This window measures how fast the numbers
# fall from left to right. Here they rise, by as much everywhere.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from checkers import lesson07 as check
from pictures import lesson07 as show
from quatgrad import Tensor, data, ops
from quatgrad.kernels import gemm, reference
from slider import slider

plt.style.use("quatgrad.style")

# %% [markdown]
# ## As written: loops
#
# Written down, it is $y_{ij} = \sum_{u, v} x_{i+u,\,j+v}\, w_{uv}$. Two loops go over the places,
# and the sum over the window could be two more.

# %%
ramp = np.arange(1.0, 17).reshape(4, 4)
edge = np.array([[1.0, 0, -1]] * 3)


def slide(x, w):
    """y[i, j] = sum_uv x[i+u, j+v] w[u, v]."""
    (H, W), (U, V) = x.shape, w.shape
    y = np.zeros((H - U + 1, W - V + 1))
    for i in range(len(y)):
        for j in range(len(y[0])):
            y[i, j] = (x[i : i + U, j : j + V] * w).sum()
    return y


print(slide(ramp, edge))

# %% [markdown]
# ## The same, as a matrix
#
# Each output is a sum of nine products, of the pixels in the window with the weights. That is a row
# times a column. So copy the pixels of each window into a row: the **patches**. Then all outputs
# are one matrix product.

# %%
patches = sliding_window_view(ramp, (3, 3)).reshape(4, 9)
print(patches.astype(int), "<- four windows, nine pixels each")
print(patches @ edge.ravel(), "<- times the weights")

# %% [markdown]
# Look at a digit: pull the slider, and watch the window on the left, its row in the middle, and
# the pixel that it makes.

# %%
digits = data.load("digits").train
digit = digits.images[digits.labels == 0][0, :, :, 0] / 16.0
rows, output = sliding_window_view(digit, (3, 3)).reshape(36, 9), slide(digit, edge)
shown = {"8 × 8 image": digit, "36 patches": rows, "weights": edge.reshape(9, 1),
         "6 × 6 output": output}  # fmt: skip


def places(window=19):
    """The window, its row of the patches, and its output."""
    show.one_window(shown, window)


slider(places, window=(0, 35, 1))

# %% [markdown]
# In the output grey is 0, black where ink begins (less on the left than on the right, so minus) and
# white where it ends. A linear layer from 64 pixels to 36 outputs would have 2304 weights. This one
# has nine.
#
# ## Built
#
# Real maps have a batch, and channels: `x (N, H, W, P)`, weights `(U, V, P, Q)`. A window then
# sees `U V P` numbers, and each of the Q outputs has its own column of weights. A border of zeros
# (padding) lets the window reach the pixels at the edge.


# %%
def convolve(x, w, padding=0):
    """y[n,i,j,q] = sum_uvp x[n, i+u-padding, j+v-padding, p] w[u,v,p,q]."""
    U, V, P, Q = w.shape
    border = (0, 0), (padding, padding), (padding, padding), (0, 0)
    windows = sliding_window_view(np.pad(x, border), (U, V), axis=(1, 2))  # (N, I, J, P, U, V)
    N, I, J = windows.shape[:3]
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(N * I * J, U * V * P)
    return (rows @ w.reshape(U * V * P, Q)).reshape(N, I, J, Q)


rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 8, 8, 3)), rng.standard_normal((3, 3, 3, 5))
y = convolve(x, w, padding=1)
assert np.allclose(y, ops.conv2d(Tensor(x), Tensor(w), padding=1).numpy())
print(x.shape, "->", y.shape)

# %% [markdown]
# The package's own, first as the formula and then as the matrix product. It has a stride too: the
# window may move by more than one pixel.

# %%
print(inspect.getsource(reference.conv2d))
print(inspect.getsource(gemm.conv2d))

# %% [markdown]
# Why does it go block by block? The patches are nine times as large as the map. A batch of 128 maps
# of 32 × 32 pixels with 64 channels takes 34 MB; its patches 302 MB. Written to memory and
# read back, they would cost more than the product.
#
# **Exercise 1.** A window moves over a map with some stride and padding. How many places are there
# in one direction? Start with stride 1, and count where the window's left edge can stand.


# %%
def out_size(size, window, stride, padding):
    """Outputs in one direction, for `size` pixels with `padding` zeros on either side."""
    ...


check.out_size(out_size)

# %% [markdown]
# ## The gradient of the weights
#
# With the patches, a convolution is a linear layer: $y = \text{patches} \cdot w$. So
# $dw = \text{patches}^\top \cdot g$, as for any linear layer. The rows are all places of all
# images, and the product sums over them: each place has used the same weights.
#
# **Exercise 2.** Write it. `rows_of(x, U, V)` gives the patches.


# %%
def rows_of(x, U, V):
    """The patches of x (N, H, W, P), without padding: (N I J, U V P)."""
    P = reference.patches(x, (U, V), (1, 1), (0, 0))
    return P.reshape(-1, U * V * x.shape[3])


def weight_gradient(x, g, U, V):
    """dL/dw (U, V, P, Q), from x (N, H, W, P) and g = dL/dy (N, I, J, Q)."""
    ...


check.weight_gradient(weight_gradient)

# %% [markdown]
# ## The gradient of the image
#
# $g \cdot w^\top$ is the gradient of the patches. But a patch is made of copies: a pixel in the
# middle stands in nine of them. How often does each pixel of a 6 × 6 image stand in a patch?

# %%
ones = np.ones((1, 4, 4, 3, 3, 1))  # 16 patches
print(reference.unpatches(ones, (1, 6, 6, 1), (1, 1), (0, 0))[0, :, :, 0].astype(int))

# %% [markdown]
# A pixel that was copied gets the sum of the gradients of its copies, as in lesson 3. So each patch
# is added back to the place that it was taken from.
#
# **Exercise 3.** Write this for one image. Go over the places, and put each patch back.


# %%
def unpatch(P, H, W):
    """The image (H, W) in which the patches P (I, J, U, V) are added up where they came from."""
    ...


check.unpatch(unpatch)

# %% [markdown]
# The package does it with one addition for each of the nine offsets, and all images at once:

# %%
print(inspect.getsource(reference.unpatches))

# %% [markdown]
# Taking patches and adding them back are **adjoint**: for any x and P,
# $\langle \text{patches}(x), P \rangle = \langle x, \text{unpatches}(P) \rangle$, where
# $\langle a, b \rangle$ is the sum of all $a b$. One number on each side: a quick test that finds
# almost every mistake in an index.

# %%
how = (1, 1), (1, 1)  # stride, padding
P = rng.standard_normal((2, 8, 8, 3, 3, 3))
print((reference.patches(x, (3, 3), *how) * P).sum())
print((x * reference.unpatches(P, x.shape, *how)).sum())

# %% [markdown]
# ## And with quaternions
#
# Nothing new is needed. A window sees quaternions instead of numbers; the layer's matrix is the
# one of lesson 6, with its sixteen blocks, for each offset of the window: the first line of
# `gemm.conv2d`, above.

# %%
maps, weight = rng.standard_normal((2, 8, 8, 12)), rng.standard_normal((4, 3, 3, 3, 5))
y = ops.hamilton_conv2d(Tensor(maps), Tensor(weight), padding=1)
assert np.allclose(y.numpy(), convolve(maps, gemm.expand(weight), padding=1))
print(f"{weight.size} numbers act as a weight of {gemm.expand(weight).size}")

# %% [markdown]
# **What you have now:** a convolution and both its gradients from two ideas, a product of matrices
# and copies that are added back. But is it fast? The next lesson measures.
