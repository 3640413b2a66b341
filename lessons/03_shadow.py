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
# # 3. Broadcasting's shadow
#
# **What is the gradient of something that was copied without a word?**
#
# `x + b` with `x` of shape `(3, 4)` and `b` of shape `(4,)` just works: NumPy lays `b` under every
# row. This is called *broadcasting*. It is so convenient that one forgets that something was
# copied. The gradient does not forget.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson03 as check
from pictures import lesson03 as show
from quatgrad import Tensor
from quatgrad.ops import arithmetic

plt.style.use("quatgrad.style")

# %% [markdown]
# ## One number, used three times
#
# Three prices, one tax $b$: $y = x + b$, and $L$ is the sum of the three. Raise $b$ by 1, and each
# of the three rises by 1. So $L$ rises by 3, and $dL/db = 3$:

# %%
x, b = Tensor([10.0, 20.0, 30.0]), Tensor(5.0, requires_grad=True)
(x + b).sum().backward()
print("dL/db =", b.grad)

# %% [markdown]
# Nothing new: `b` was *used three times*, and slopes of several uses add. Only, this time nobody
# wrote the three uses down. The same with a matrix: `b` of shape `(4,)` is added to each of three
# rows.

# %%
b = np.array([100.0, 200.0, 300.0, 400.0])
g = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])  # dL/dy
show.copied_and_added(b, g)

# %% [markdown]
# That is all of this lesson in one picture. **Forwards, broadcasting copies; backwards, the
# copies' gradients are added.** The gradient has the shape of what it belongs to, `(4,)`, and not
# the shape of `g`.
#
# **Exercise 1.** A linear layer is `y = x w + b` for a batch: `y` is `(N, Q)`, one row for each
# example. Given `g = dL/dy`, write `dL/db`.


# %%
def bias_gradient(g):
    """dL/db, of shape (Q,), from g = dL/dy of shape (N, Q)."""
    ...


check.bias_gradient(bias_gradient)

# %% [markdown]
# ## Which axes?
#
# NumPy's rule: write the two shapes with their right ends together. Where an axis is missing, or
# has size 1, it is stretched.
#
# | | | | | |
# |---|---|---|---|---|
# | shape of `a` | | 3 | 1 | 4 |
# | shape of the result | 2 | 3 | 5 | 4 |
# | | new: stretched | the same | was 1: stretched | the same |
#
# So the gradient of `a` is `g` summed over axes 0 and 2 of the result.
#
# **Exercise 2.** `s` has shape `(1, 6)` and is broadcast to `(8, 5, 6)`. Over which axes of `g` is
# the gradient of `s` summed? A tuple, like `(0, 2)`.

# %%
axes = ...

check.axes(axes)

# %% [markdown]
# ## Built
#
# For any two shapes this takes a few lines: sum over the axes that are new, and over the axes that
# had length 1.


# %%
def gather(g, shape):
    """The gradient of an array of this shape that was broadcast to g's shape."""
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


rng = np.random.default_rng(0)
for shape in [(2, 3, 5, 4), (3, 1, 4), (1, 5, 1), (4,), ()]:
    g = rng.standard_normal((2, 3, 5, 4))
    print(f"{shape!s:13} <- {g.shape}:", gather(g, shape).shape)
    assert np.allclose(gather(g, shape), arithmetic.unbroadcast(g, shape))

# %% [markdown]
# The package does the same with one sum. Every operation of two arrays ends with it:

# %%
print(inspect.getsource(arithmetic.unbroadcast))
print(inspect.getsource(arithmetic.Binary))

# %% [markdown]
# ## A test that needs no derivative
#
# Copying is linear, and so is adding. There is a short equation between them. Take any `b`, copy
# it, multiply by any `g` entry by entry, and add all up. You get the same as from `b` times the
# gathered `g`:

# %%
b, g = rng.standard_normal(4), rng.standard_normal((3, 4))
print((np.broadcast_to(b, g.shape) * g).sum(), (b * gather(g, b.shape)).sum())

# %% [markdown]
# Two maps with this property are called *adjoint*, each the other's shadow. You will meet more
# such pairs: taking patches from an image and adding them back; multiplying by a quaternion and by
# its conjugate. Backward of a linear map is always its adjoint.
#
# **Exercise 3.** A scale: `y = x s`, with `x` of shape `(N, H, W, C)`, images with `C` channels,
# and `s` of shape `(C,)`, one number for each channel. Write `dL/ds`. Two things happen here: a
# product, and a copy.


# %%
def scale_gradient(x, g):
    """dL/ds, of shape (C,), for y = x s; x and g = dL/dy of shape (N, H, W, C)."""
    ...


check.scale_gradient(scale_gradient)

# %% [markdown]
# ## When it is silent
#
# Broadcasting also makes a famous mistake possible. A network gives `y` of shape `(4, 1)`, the
# right answers are `(4,)`. How far apart are they, in the mean square?

# %%
y, t = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([1.0, 2.0, 3.0, 4.0])
print("(y - t) has shape", (y - t).shape, "and mean square", ((y - t) ** 2).mean())
print("y[:, 0] - t has shape", (y[:, 0] - t).shape, "and mean square", ((y[:, 0] - t) ** 2).mean())

# %% [markdown]
# The network is perfect, and the first line says that it is not: every answer was compared with
# every other. No error, no warning, and gradients that pull all outputs to the mean. So losses in
# the package check shapes:

# %%
from quatgrad.errors import ShapeError
from quatgrad.ops import mse_loss

try:
    mse_loss(Tensor(y), Tensor(t))
except ShapeError as error:
    print(error)

# %% [markdown]
# **What you have now:** gradients of arrays, in the shape of what they belong to. With this the
# engine is complete. The next lesson leaves it for a moment and looks at a new kind of number.
