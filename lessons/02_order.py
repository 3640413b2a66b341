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
# # 2. Why order matters
#
# **In which order may a graph be walked backwards?**
#
# The backward walk of the last lesson follows every path from the result down to the inputs. That
# gives the right slopes. But how many paths are there? And if we walk each arrow only once
# instead, may we take the nodes in any order?

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson02 as check
from pictures import lesson02 as show
from quatgrad import Tensor, autograd

plt.style.use("quatgrad.style")

# %% [markdown]
# ## Diamonds
#
# Here is a node again, with its arrows down to what it was made of, and the walk along every path.
# This time it counts its steps.


# %%
class Node:
    def __init__(self, value, arrows=()):
        self.value, self.slope, self.arrows = value, 0.0, arrows

    def __add__(self, other):
        return Node(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Node(self.value * other.value, [(self, other.value), (other, self.value)])


def every_path(node, slope=1.0):
    """Send the slope down every path; returns the number of visits."""
    node.slope += slope
    return 1 + sum(every_path(below, slope * local) for below, local in node.arrows)


def diamonds(n, x):
    """x doubled n times: each y = y + y uses y twice."""
    for _ in range(n):
        x = x + x
    return x


for n in range(1, 6):
    x = Node(1.0)
    visits = every_path(diamonds(n, x))
    print(f"{n} diamonds: {n + 1} nodes, {visits} visits, slope {x.slope}")

# %% [markdown]
# One more diamond, twice the visits. Real networks are full of diamonds: each shortcut of a
# residual network is one.
#
# **Exercise 1.** How many *paths* lead from the top to the bottom of `n` diamonds in a row? (A
# visit is a step on some path; count only whole paths.)


# %%
def paths(n):
    """The number of paths from the top of n diamonds to the bottom."""
    ...


check.paths(paths)

# %% [markdown]
# ResNet-152 has 50 shortcuts. If every visit took a millionth of a second, the walk along its
# paths would take more than 70 years.
#
# ## Once each: but when?
#
# So collect first, and walk on later: each node should pass its slope on **once**. The first idea
# is to go through the nodes as we meet them, first come, first served. Take $y = x \cdot x$,
# $z = x \cdot y$, $L = y + z$ at $x = 2$. Then $L = x^2 + x^3$, with slope $2x + 3x^2 = 16$.


# %%
def first_come(root):
    """Each node once, in the order in which we meet them."""
    root.slope, met = 1.0, [root]
    for node in met:  # met grows while we walk
        for below, local in node.arrows:
            below.slope += local * node.slope
            if below not in met:
                met.append(below)


def example():
    x = Node(2.0)
    y = x * x
    z = x * y
    return x, y, z, y + z


x, y, z, loss = example()
first_come(loss)
print("first come, first served:", x.slope)
x, y, z, loss = example()
every_path(loss)
print("every path:              ", x.slope)

# %% [markdown]
# 8 is wrong. The picture shows what happened. `y` has two users, `L` and `z`. It was met early,
# through `L`, and passed on what it had: 1. When `z` sent the other share, 2, `y` had already gone
# by, and nobody passed it on.

# %%
show.two_orders({  # in which order they go; what L sends to y and z, z to y, y to x, z to x
    "met first, goes first: x gets 8": ("Lyzx", ["1", "1", "2, late", "4 · 1", "4"]),
    "after all of its users: x gets 16": ("Lzyx", ["1", "1", "2", "4 · (1 + 2)", "4"]),
})  # fmt: skip

# %% [markdown]
# The rule that makes it right: **a node goes on only after all of its users have sent their
# share.** An order that obeys it is called *topological*. There may be several.
#
# **Exercise 2.** $c = a \cdot b$, $d = a + c$, $e = c \cdot c$, $f = d \cdot e$, and $f$ is the
# result. Write down one order in which the six may go backwards, as a string like `"abc..."`.

# %%
order = ...

check.order(order)

# %% [markdown]
# ## The sweep, built
#
# We need not find the order in advance. It is enough to know how many shares each node still waits
# for: one for each arrow that leads to it. Count them first. Then take a node that waits for
# nothing, send its shares, and count down. Now other nodes wait for nothing, and they are next.


# %%
def count_uses(root):
    """node -> the number of arrows that lead to it."""
    uses, todo = {root: 0}, [root]
    for node in todo:  # grows: each node is put there once
        for below, _ in node.arrows:
            if below not in uses:
                todo.append(below)
            uses[below] = uses.get(below, 0) + 1
    return uses


def sweep(root):
    """Send the slope down, each node once; returns the number of visits."""
    uses, ready, visits = count_uses(root), [root], 0
    root.slope = 1.0
    while ready:
        node = ready.pop()
        visits += 1
        for below, local in node.arrows:
            below.slope += local * node.slope
            uses[below] -= 1
            if uses[below] == 0:
                ready.append(below)
    return visits


x, y, z, loss = example()
print(sweep(loss), "visits, slope", x.slope)

# %%
by_paths = [every_path(diamonds(n, Node(1.0))) for n in range(1, 15)]
show.visits(by_paths, [sweep(diamonds(n, Node(1.0))) for n in range(1, 61)])

# %% [markdown]
# The package's engine is this loop. What it adds is care with arrays: the first share to arrive may
# be borrowed, then the second makes a new array, and all further ones are added into that; and what
# has been used is freed.

# %%
print(inspect.getsource(autograd.run_backward))

# %% [markdown]
# The same random graph of 400 operations in both, of which few lead to the result, and then two
# graphs that are too much for the engine of the last lesson:

# %%
rng = np.random.default_rng(0)
nodes, tensors = [Node(1.0), Node(0.5)], [Tensor(v, requires_grad=True) for v in (1.0, 0.5)]
for i, j in rng.integers(0, np.arange(2, 202)[:, None], (200, 2)):
    nodes.append((nodes[i] + nodes[j]) * nodes[1])
    tensors.append((tensors[i] + tensors[j]) * tensors[1])
print(sweep(nodes[-1]), "visits, slopes", nodes[0].slope, nodes[1].slope)
tensors[-1].backward()
assert np.allclose([t.grad for t in tensors[:2]], [n.slope for n in nodes[:2]])

x = Tensor(1.0, requires_grad=True)
diamonds(60, x).backward()
assert x.grad == 2.0**60
y = x
for _ in range(100_000):
    y = y + 1.0
y.backward()
print("60 diamonds, and 100 000 nodes in a row: done")

# %% [markdown]
# ## The loop is more than derivatives
#
# "After all users" is the right order for many questions about a graph. How *deep* is it: how many
# arrows has the longest path from the root to a leaf? So many operations must wait for one
# another, however many processors there are.
#
# **Exercise 3.** Write it. Use `count_uses` and the same loop as in `sweep`, but send lengths in
# place of slopes. No recursion: it would walk every path again.


# %%
def depth(root):
    """The number of arrows of the longest path down from the root."""
    ...


check.depth(depth)

# %% [markdown]
# **What you have now:** the whole engine, for numbers. Each node is visited once, after all of its
# users, without recursion. Next: what changes when the numbers are arrays of different shapes.
