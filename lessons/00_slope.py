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
# # 0. A derivative is a slope
#
# **How can a program know that a derivative is right?**
#
# Everything that learns in this package learns from derivatives, and derivatives are easy to get
# wrong: a sign, a factor 2, a forgotten term. The program still runs, and learns a little worse.
# So before we compute a single one for a network, we want a test that a wrong derivative cannot
# pass.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson00 as check
from pictures import curves
from pictures import lesson00 as show
from quatgrad import ops
from quatgrad.testing import numerical_gradients, taylor_rate
from slider import slider

plt.style.use("quatgrad.style")

# %% [markdown]
# ## Two points make a slope
#
# Take $f(x) = x^2$ at $x = 3$. Go a little to the right, to $3 + h$. By how much does $f$ rise, for
# each unit of $h$?


# %%
def f(x):
    return x * x


for h in (1, 0.1, 0.01, 0.001):
    print(f"h = {h:<5}  (f(3 + h) - f(3)) / h = {(f(3 + h) - f(3)) / h:.3f}")

# %% [markdown]
# The numbers go to 6. That is the derivative, $f'(3) = 2 \cdot 3$: the slope of the straight line
# that touches the curve. The line through two points of the curve, the *secant*, turns into it:


# %%
def secant(h=2.0):
    """Pull h to 0: the secant (orange) becomes the tangent (green)."""
    show.secant(f, 3, h, slope=(f(3 + h) - f(3)) / h, tangent=6)


slider(secant, h=(0.05, 2.0, 0.05))

# %% [markdown]
# ## Both sides are better than one
#
# With $h = 0.1$ we got 6.1, an error of 0.1. Here is a trick that costs nothing: step to both sides
# of $x$, and take the slope between those two points. The error to the right and the error to the
# left are nearly the same, and cancel.
#
# **Exercise 1.** Write this *central difference*: the slope between $x - h$ and $x + h$.


# %%
def central(f, x, h):
    """The slope of f between x - h and x + h."""
    ...


check.central(central)

# %% [markdown]
# How small should `h` be? In mathematics, as small as you like. In a computer, numbers have 16
# digits. `f(x + h)` and `f(x)` agree in most of them, and the difference keeps only what is left.
# So a smaller `h` is better, until it is worse. Here are both errors for `eˣ` at 1, whose
# derivative we know; the central differences are the package's own.

# %%
steps = 10.0 ** np.arange(-12, 0)
exact = np.e
one_side = [abs((np.exp(1 + h) - np.exp(1)) / h - exact) for h in steps]
both = [abs(float(numerical_gradients(ops.exp, [1.0], 1.0, step=h)[0]) - exact) for h in steps]
words = {"rounding": (3e-12, 1e-9), "the curve bends": (1e-6, 1e-2)}
curves({"one side": one_side, "both sides": both}, steps, ("o-", "s-"), words, xscale="log",
       yscale="log", xlabel="step h", ylabel="error of the slope", legend="lower right",
       title="smaller is better, until it is worse")  # fmt: skip

# %% [markdown]
# Read the right half of the picture. Ten times smaller `h`, ten times smaller error on one side:
# the blue line falls like $h$. The orange one falls like $h^2$, and reaches 11 digits. Finite
# differences need a good choice of `h`, and at the best one they still have an error. Is there a
# test without a choice?
#
# ## What remains
#
# Yes: do not look at the error, look at **how it shrinks**. Near `x` the curve is almost its
# tangent. The *Taylor remainder* is what the tangent does not explain:
#
# $$\text{remainder}(h) = f(x + h) - f(x) - h f'(x)$$
#
# **Exercise 2.** Write it, for a function `f` and what somebody claims to be its derivative, `df`.


# %%
def remainder(f, df, x, h):
    """What is left of f(x + h) after the straight line through (x, f(x)) with slope df(x)."""
    ...


check.remainder(remainder)

# %% [markdown]
# For $x^2$ it is $(3 + h)^2 - 9 - 6h = h^2$: half the step, a quarter of the remainder. So it is
# for every smooth function, if the derivative is right (or still less, where the curve does not
# bend: an eighth for the sine at 0). And if it is wrong, by 3 %, say? Then the line has the wrong
# slope, and a part that falls only like $h$ is never explained away. The picture tells them apart
# at a glance:

# %%
steps = 2.0 ** -np.arange(1, 16)
remainders = {
    name: abs(np.sin(1 + steps) - np.sin(1) - steps * slope)
    for name, slope in {"cos x": np.cos(1), "1.03 cos x": 1.03 * np.cos(1)}.items()
}
words = {"slope 2: right": (1.6e-3, 3e-9, "C0"), "slope 1: wrong": (4e-5, 1.5e-4, "C1")}
curves(remainders, steps, ("o-", "s-"), words, xscale="log", yscale="log",
       xlabel="step h", ylabel="|remainder|", title="sin x: is its derivative ...")  # fmt: skip

# %% [markdown]
# ## The test, built
#
# In a picture with logarithmic axes, $h^2$ is a straight line of slope 2. So the test is: take
# eight steps, each half of the one before, fit a line, read its slope. 2 or more means right, 1
# means wrong. There is no tolerance to choose.


# %%
def rate(f, df, x):
    """The slope of log |remainder| over log h."""
    h = 2.0 ** -np.arange(8, 16)
    remainders = abs(f(x + h) - f(x) - h * df(x))
    return np.polyfit(np.log(h), np.log(remainders), 1)[0]


print("sin, cos x     ", rate(np.sin, np.cos, 1.0).round(3))
print("sin, 1.03 cos x", rate(np.sin, lambda x: 1.03 * np.cos(x), 1.0).round(3))

# %% [markdown]
# The package's own does the same for functions of whole arrays, along one direction, with the
# gradient that `backward` computes (the next lesson builds that):

# %%
print(inspect.getsource(taylor_rate))
for g, dg, op in (np.tanh, lambda x: 1 - np.tanh(x) ** 2, ops.tanh), (np.exp, np.exp, ops.exp):
    assert np.isclose(rate(g, dg, 0.7), taylor_rate(op, 0.7, 1.0), atol=1e-3)

# %% [markdown]
# ## More than one number
#
# A network has many inputs. $f(x, y) = x^2 y$ at $(3, 2)$ is 18. Move $x$ alone, and it changes at
# one rate; move $y$ alone, and it changes at another. Together these numbers are the **gradient**:
# one slope for each input, the others held fixed.
#
# **Exercise 3.** What is the gradient of $x^2 y$ at $(3, 2)$? Two numbers; by hand first, then try
# with small steps.

# %%
gradient = ...

check.gradient(gradient)

# %% [markdown]
# Finite differences get a gradient one entry at a time: two evaluations for each. A small network
# has a hundred thousand entries, and would have to run two hundred thousand times for one step of
# learning. They are for testing.
#
# **What you have now:** a test that finds a derivative that is wrong by a percent, and no method
# yet to get the right ones quickly. The next lesson gets all of them in one backward walk.
