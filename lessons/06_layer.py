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
# # 6. A quaternion layer
#
# **Where do three quarters of the parameters go?**
#
# A linear layer from 8 features to 8 has 64 weights: each output listens to each input, and every
# connection has its own number. The quaternion layer of the same size has 16 weights. But each
# output still listens to each input: no connection is missing. So where are the other 48?

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson06 as check
from pictures import lesson06 as show
from quatgrad import Tensor, models
from quatgrad.costs import costs
from quatgrad.kernels import gemm, reference
from quatgrad.kernels.reference import HAMILTON
from quatgrad.nn import Linear, QLinear

plt.style.use("quatgrad.style")
rng = np.random.default_rng(0)

real = Linear(8, 8, bias=False, rng=rng)
quaternion = QLinear(8, 8, bias=False, rng=rng)
for layer in (real, quaternion):
    print(f"{layer!r:30} weight {layer.weight.shape!s:10} {layer.num_parameters()} numbers")

# %% [markdown]
# ## Eight numbers are two quaternions
#
# The features lie in four blocks, `[1 | i | j | k]`. With two quaternions A and B they are
#
# | 1 of A | 1 of B | i of A | i of B | j of A | j of B | k of A | k of B |
# |---|---|---|---|---|---|---|---|
#
# The weight has shape `(4, 2, 2)`: four components, two quaternions in, two out. The layer is
# written like any linear layer, only that each product is a Hamilton product with **the weight on
# the left**: $y_q = \sum_p w_{pq}\, x_p$.

# %%
x = np.arange(1.0, 9)
w = rng.integers(-3, 4, (4, 2, 2)).astype(float)
A, B = x.reshape(4, 2).T  # feature 2b + p is component b of quaternion p
y = [reference.hamilton(w[:, 0, q], A) + reference.hamilton(w[:, 1, q], B) for q in (0, 1)]
print("two Hamilton products for each output:", np.transpose(y).ravel())
print("the layer:                            ", reference.hamilton_linear(x[None], w)[0])

# %% [markdown]
# ## The layer is a matrix, built
#
# Multiplying by fixed weights is linear, so there is a plain 8 × 8 matrix W with $y = x W$. The
# sign table says what stands in it: unit `a` of the weight takes component `b` of the input to
# component `c` of the output, with a sign. So block `(b, c)` of W is plus or minus component `a`.


# %%
def block_matrix(w):
    """W (4P, 4Q) such that y = x W is the layer with the weight w (4, P, Q)."""
    blocks = [[None] * 4 for _ in range(4)]
    for a in range(4):
        for b in range(4):
            c = int(np.flatnonzero(HAMILTON[a, b])[0])
            blocks[b][c] = HAMILTON[a, b, c] * w[a]
    return np.block(blocks)


W = block_matrix(w)
print(W.astype(int))
assert np.array_equal(x @ W, np.transpose(y).ravel())

# %% [markdown]
# The package's own fills the same blocks, for convolutions too (their window axes are `lead`):

# %%
print(inspect.getsource(gemm.expand))
assert np.array_equal(block_matrix(w), gemm.expand(w))

# %% [markdown]
# ## Sixteen blocks, four colours
#
# Here are both weights, with a name in place of each number. This is Figure 1 of *Large Neural
# Networks at a Fraction* (turned on its side, since our inputs are rows).

# %%
show.real_and_quaternion_weight(HAMILTON)

# %% [markdown]
# **That is where they go.** The 48 numbers have not become zeros. They have become copies: each of
# the 16 stands in four places, once in every block row and every block column, with the signs of
# Hamilton's table. The layer is as wide as before, and as connected. What it has lost is the
# freedom to choose the four places one by one.
#
# **Exercise 1.** How many numbers does `QLinear(features_in, features_out)` learn? It has a bias,
# one number for each output feature.


# %%
def parameters(features_in, features_out):
    """How many numbers a quaternion layer learns, its bias included."""
    ...


check.parameters(parameters)

# %% [markdown]
# ## How much is lost?
#
# Go the other way: given any 8 × 8 matrix, which quaternion layer is nearest to it? A component
# stands in four places. The best single number for four places is the average of what is there
# (after the signs have been undone).
#
# **Exercise 2.** Write it. (`gemm.fold(W)` adds up the four places of each component, with
# signs. Or read the picture, and slice W yourself.)


# %%
def nearest(W):
    """The weight w (4, P, Q) whose block matrix is nearest to W (4P, 4Q)."""
    ...


check.nearest(nearest)

# %% [markdown]
# A matrix of 400 × 400 has 160,000 free directions, and quaternion layers fill 40,000 of them. So
# of one drawn at random a quarter of the squared length should remain, and three quarters be lost:

# %%
random = rng.standard_normal((400, 400))
copied = block_matrix(rng.standard_normal((4, 100, 100)))
for name, M in (("a random matrix", random), ("a quaternion layer", copied)):
    kept = gemm.expand(gemm.fold(M) / 4)
    print(f"{name:19} keeps {(kept**2).sum() / (M**2).sum():6.1%} of its squared length")

# %% [markdown]
# Nothing says that a *good* matrix is random, though. The bet of a quaternion network is that four
# numbers that belong together, like the colours of a pixel, may share their weights. A convolution
# makes a similar bet with the pixels of an image.
#
# ## Its gradient adds up four places
#
# A number that is used in four places gets a gradient from all four, and they add up: lesson 3's
# shadow again. So $dw$ is $x^\top g$, the gradient of the big matrix, with its four places added:

# %%
layer = QLinear(8, 8, bias=False, rng=rng)
images, g = rng.standard_normal((2, 5, 8)).astype(np.float32)  # a batch of five
layer(Tensor(images)).backward(g)
assert np.allclose(layer.weight.grad, gemm.fold(images.T @ g), atol=1e-5)
print("dw has shape", layer.weight.grad.shape, "from a gradient of", (images.T @ g).shape)

# %% [markdown]
# And $dx$ is $g W^\top$. But what is the transpose of this picture? Mirror it at its diagonal: the
# blocks of `r` stay, and the blocks of `i`, `j`, `k` change their sign. This is the picture of the
# conjugate weight, with inputs and outputs exchanged: $dx_p = \sum_q \bar w_{pq}\, g_q$.
#
# **Exercise 3.** Write `dx`, from `block_matrix`.


# %%
def input_gradient(g, w):
    """dL/dx (N, 4P), from g = dL/dy (N, 4Q) and the weight w (4, P, Q)."""
    ...


check.input_gradient(input_gradient)

# %% [markdown]
# ## In a whole network, and what is not saved
#
# Here is a whole network, over both algebras: LeNet-300-100, with hidden layers of 300 and 100
# features, for images of 4 × 4 quaternions and ten classes.

# %%
nets = {a: models.create("lenet-300-100", a, image_size=(4, 4)) for a in ("real", "quaternion")}
print(f"{'':14}{'real':>12}{'quaternion':>12}")
for (name, p), twin in zip(
    nets["real"].named_parameters(), nets["quaternion"].parameters(), strict=True
):
    print(f"{name:14}{p.size:12,}{twin.size:12,}")
r, q = (costs(net, (4, 4, 4)) for net in nets.values())
print(f"{'all':14}{r.parameters:12,}{q.parameters:12,}")
print(f"{'multiply-adds':14}{r.multiply_adds:12,}{q.multiply_adds:12,}")

# %% [markdown]
# Three things to see.
#
# * Weights fall to exactly a quarter, biases do not fall at all.
# * The last layer stays real: ten classes are not a multiple of four.
# * **The multiply-adds do not fall.** Each weight is multiplied in its four places. A quaternion
#   network is four times as small, but not four times as fast. (Lesson 8 halves the work, with
#   another idea.)
#
# **What you have now:** a layer as a matrix of sixteen blocks in four colours, its two gradients,
# and an exact count. The next lesson slides it over an image.
