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
# # 1. One node, two arrows
#
# **How does a number remember what it was made of?**
#
# A derivative is a slope, and a network needs a million of them. Trying each input with a small
# step would mean running the network a million times. In this lesson we get all the slopes at
# once, by walking backwards through the calculation. It takes eleven lines.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson01 as check
from pictures import lesson01 as show
from quatgrad import Function, Tensor, ops
from quatgrad.testing import check_gradients
from view import view

plt.style.use("quatgrad.style")

# %% [markdown]
# ## A calculation, forwards and backwards
#
# A small one: $L = (x w + b)^2$ with $x = 2$, $w = 3$, $b = 1$. Forwards, step by step:
#
# $p = x w = 6$, then $y = p + b = 7$, then $L = y y = 49$.
#
# Now backwards. How fast does `L` change with `y`? $L = y^2$, so with slope $2 y = 14$. How fast
# does `L` change with `p`? If `p` moves by 0.01, `y` moves by 0.01 too (slope 1), and `L` by 14
# times that. **Slopes along a path multiply.** This is the chain rule, and each step needs only two
# things: the slope that arrives from above, and its own.
#
# **Exercise 1.** Go on: how fast does `L` change with `x`, with `w` and with `b`? Write `[dL/dx,
# dL/dw, dL/db]`.

# %%
slopes = ...

check.slopes(slopes)

# %% [markdown]
# ## The picture
#
# Every line of the calculation is drawn twice. The blue arrow carries a value on. The orange arrow
# carries a slope back. The slope that goes to an input is the slope that came, times the local
# one. The three question marks are exercise 1.

# %%
nodes = {  # name: where it stands, its value, its slope
    "x": (0, 2, 2, "?"), "w": (0, 0, 3, "?"), "p = x w": (2.2, 1, 6, 14), "b": (2.2, -1, 1, "?"),
    "y = p + b": (4.4, 0, 7, 14), "L = y y": (6.6, 0, 49, 1),
}  # fmt: skip
links = [("x", "p = x w", "· w"), ("w", "p = x w", "· x"), ("p = x w", "y = p + b", "· 1"),
         ("b", "y = p + b", "· 1"), ("y = p + b", "L = y y", "· 2y")]  # fmt: skip
show.two_arrows(nodes, links)

# %% [markdown]
# ## Built
#
# So a number has to remember two things about each number that it was made of: where it is, and
# the local slope. That is one arrow down for each input:


# %%
class Number:
    def __init__(self, value, arrows=()):
        self.value, self.slope, self.arrows = value, 0.0, arrows

    def __add__(self, other):
        return Number(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Number(self.value * other.value, [(self, other.value), (other, self.value)])

    def backward(self, slope=1.0):
        self.slope += slope
        for below, local in self.arrows:
            below.backward(slope * local)


# %% [markdown]
# Read `__mul__`: in `p = x w` the slope along `x` is `w`, and the slope along `w` is `x`. Each
# input's arrow carries *the other one*. Python calls `__mul__` whenever it meets a `*`, so writing
# the formula draws the graph:

# %%
x, w, b = Number(2.0), Number(3.0), Number(1.0)
y = x * w + b
loss = y * y
loss.backward()
print("L =", loss.value, " dL/dx, dL/dw, dL/db =", x.slope, w.slope, b.slope)

# %% [markdown]
# The package does the same with arrays in the place of numbers. Its numbers are called `Tensor`,
# its slopes `grad`. `view` draws the graph that an expression has left behind, with the operations
# by their names; try it with your own:

# %%
tensors = [Tensor(n.value, requires_grad=True) for n in (x, w, b)]
Y = tensors[0] * tensors[1] + tensors[2]
L = Y * Y
view(L, x=tensors[0], w=tensors[1], b=tensors[2])
L.backward()
print("the package:", *[t.grad for t in tensors])
assert [t.grad for t in tensors] == [x.slope, w.slope, b.slope]

# %% [markdown]
# ## Why `+=`
#
# Look at the last line again: `y * y` uses `y` twice, and no rule for squares was written
# anywhere. Two arrows lead from `L` down to `y`, each with the local slope 7. So `y` receives 7
# and another 7. A number that is used twice moves the result in two ways, and **the ways add**:

# %%
print("dL/dy =", y.slope)

# %% [markdown]
# With `=` in the place of `+=`, the second 7 would overwrite the first. This is the most common
# mistake of engines written by hand. It shows only where something is used twice, so small tests
# pass.
#
# ## A new operation
#
# To add an operation you need its value and its local slope, nothing else. For `tanh` the slope is
# $1 - y^2$, where $y = \tanh(x)$ is the result: no need to compute anything new.
#
# **Exercise 2.** Write `tanh` for a `Number`: it returns a `Number` with one arrow.


# %%
def tanh(x):
    """The Number tanh(x), which remembers x."""
    ...


check.tanh(lambda value: tanh(Number(value)))

# %% [markdown]
# ## As the package writes it
#
# For arrays an arrow can not carry a local slope as one number. So an operation of the package is
# a small class, a `Function`, with the two directions as two methods. `forward` computes and saves
# what backward will need. `backward` gets `g`, the slope that arrives from above (`dL/dy`), and
# returns one gradient for each input:

# %%
print(inspect.getsource(ops.arithmetic.Exp))

# %% [markdown]
# **Exercise 3.** Write `Cube`: $y = x^3$. Write the formula into the docstring too, as the package
# does.


# %%
class Cube(Function):
    """y = ..."""

    def forward(self, x): ...

    def backward(self, g): ...


check.Cube(Cube)

# %% [markdown]
# The test from the last lesson works for any such function. The package has it ready, for all
# entries, both precisions and odd memory layouts; silence means right:

# %%
check_gradients(ops.tanh, np.linspace(-1, 1, 5))
check_gradients(lambda x, w: (x * w + 1) * (x * w + 1), [2.0], [3.0])
print("right")

# %% [markdown]
# **What you have now:** a graph that draws itself while you calculate, and a backward walk that
# finds every slope. One thing is wrong with our eleven lines. They are right, but on some graphs
# they need longer than the age of the universe. That is the next lesson.
