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
# # 4. i² = j² = k² = ijk = −1
#
# **How can four numbers be multiplied so that nothing but turning and stretching happens?**
#
# Multiply $3 + 2i$ by $i$ and you get $-2 + 3i$: the same arrow, turned by 90 degrees. Complex
# numbers turn the plane. Hamilton looked for numbers that turn space. In 1843 he found that three
# components are too few and four are enough, $w + x\,i + y\,j + z\,k$, with the one line of rules
# in the title. In this lesson we make the whole product out of that line, and turn things with it.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson04 as check
from pictures import lesson04 as show
from quatgrad import quaternion
from quatgrad.kernels import reference
from quatgrad.kernels.reference import HAMILTON
from slider import slider

plt.style.use("quatgrad.style")

# %% [markdown]
# ## The sign table
#
# Take $ijk = -1$ and multiply both sides by $k$ on the right. On the left $kk$ becomes $-1$, so
# $-ij = -k$, that is $ij = k$. The other products of two units follow in the same way. The package
# keeps all of them in one constant, `HAMILTON[a, b, c]`: how much of unit `c` is in unit `a` times
# unit `b`.

# %%
show.products_of_units(HAMILTON)

# %% [markdown]
# Each colour stands once in every row and every column: multiplying by a unit moves the four
# components around and changes some signs. Nothing is lost.
#
# Now compare the two halves, above and below the diagonal. $ij = k$, but $ji = -k$. **The order of
# the factors matters.**
#
# **Exercise 1.** What is $i j i$? Write it as four numbers `[w, x, y, z]`. Do it with the table, on
# paper, before you let anything compute it.

# %%
iji = ...

check.iji(iji)

# %% [markdown]
# ## The product, built
#
# $(1 + 2i)(3 + 4j)$ is $3 + 4j + 6i + 8ij$, and the table says what $ij$ is. Any product goes like
# that: all sixteen products of two components, each put where the table says.


# %%
def product(p, q):
    """p q for two quaternions (4,): the distributive law, and the table."""
    y = np.zeros(4, p.dtype)
    for a in range(4):
        for b in range(4):
            for c in range(4):
                y[c] += HAMILTON[a, b, c] * p[a] * q[b]
    return y


p, q = np.array([1, 2, 3, 4.0]), np.array([5, 6, 7, 8.0])
print("p q =", product(p, q))
print("q p =", product(q, p), "<- another order, another product")

# %% [markdown]
# The package's own is the same three loops, written as one `einsum` (the next lesson takes it
# apart):

# %%
print(inspect.getsource(reference.hamilton))
assert np.array_equal(product(p, q), reference.hamilton(p, q))
assert np.array_equal(product(p, q), quaternion.multiply(p, q))

# %% [markdown]
# ## Dividing
#
# The **conjugate** of $q = w + x\,i + y\,j + z\,k$ is $\bar q = w - x\,i - y\,j - z\,k$. Multiply
# the two, and everything but the first component cancels:

# %%
q_bar = q * [1, -1, -1, -1]
print("q q̄  =", product(q, q_bar))
print("|q|² =", (q * q).sum())

# %% [markdown]
# So $q \bar q = |q|^2$, a plain number. That is all one needs to divide.
#
# **Exercise 2.** Write the inverse of a quaternion: the one for which `q inverse(q) = 1`.


# %%
def inverse(q):
    """q⁻¹, for a quaternion q (4,) that is not 0."""
    ...


check.inverse(inverse)

# %% [markdown]
# ## It turns space
#
# Write a point as $v = x\,i + y\,j + z\,k$, without a first component. Choose an axis $u$ of length
# 1 and an angle $t$, and let $q = \cos(t/2) + \sin(t/2)\,u$. Then $q v \bar q$ is the point, turned
# by $t$ around $u$.
#
# Why twice, and why half the angle? $q v$ alone is in general no point of space: its first
# component is not 0. The $\bar q$ on the right makes it 0 again, and turns a second time by the
# same half angle.

# %%
u, v = np.array([0.6, 0, 0.8]), np.array([0, 1.0, 2.0, 3.0])
q = np.append(np.cos(np.pi / 6), np.sin(np.pi / 6) * u)  # t = 60 degrees
print("q v    =", product(q, v).round(3), "<- no point of space")
print("q v q̄  =", product(q, product(v, quaternion.conjugate(q))).round(3))

# %% [markdown]
# **Exercise 3.** Write it for a point given by three numbers. `product` and
# `quaternion.conjugate` are there.


# %%
def turn(q, point):
    """The point (3,) turned by the unit quaternion q (4,); three numbers again."""
    ...


check.turn(turn)

# %% [markdown]
# The package does it for whole arrays of points, and it works on a letter as on one point:

# %%
F = [[0, 0], [0, 5], [3, 5], [3, 4], [1, 4], [1, 3], [2, 3], [2, 2], [1, 2], [1, 0]]
letter = np.column_stack([np.array(F) / 5, np.zeros(10)])  # lies flat, in the plane z = 0


def turned(degrees=120):
    """Pull the angle: the letter goes once around the dashed axis."""
    axis = np.ones(3)
    there = quaternion.rotate(quaternion.from_axis_angle(axis, np.radians(degrees)), letter)
    show.letters_in_space(letter, {f"{degrees}° around (1, 1, 1)": there}, axis)


slider(turned, degrees=(0, 360, 10))

# %% [markdown]
# The dotted outline is where the letter began, flat on the floor. At 120 degrees x has become y, y
# has become z, z has become x. The quaternion of this turn is $(1 + i + j + k) / 2$. (Ask
# `quaternion.from_axis_angle(np.ones(3), np.radians(120))`.)
#
# ## Why `ij` is not `ji`
#
# A quarter turn about the x axis is $(1 + i) / \sqrt 2$, about the y axis $(1 + j) / \sqrt 2$.
# Doing one after the other is multiplying, and the last one stands on the left.

# %%
x_turn, y_turn = np.array([1, 1.0, 0, 0]), np.array([1, 0, 1.0, 0])  # rotate divides by |q|
turns = {
    "the letter": np.array([1.0, 0, 0, 0]),
    "first about x, then y": product(y_turn, x_turn),
    "first about y, then x": product(x_turn, y_turn),
}
show.letters_in_space(letter, {name: quaternion.rotate(t, letter) for name, t in turns.items()})

# %% [markdown]
# Take a book and try: the two orders end differently. No numbers that describe turns in space can
# commute, and this is what the minus sign in $ji = -ij$ is about. (You have seen the picture on the
# right before: $(1 + i)(1 + j) = 1 + i + j + k$, the turn by 120 degrees.)
#
# **What you have now:** one table of signs, a product of sixteen multiplications, an inverse, and
# turns. The next lesson differentiates the product, and order will matter there too.
