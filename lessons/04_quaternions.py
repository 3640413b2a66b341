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
# **How can four numbers be multiplied so that nothing but rotating and stretching happens?**
#
# A complex number turns the plane. Hamilton looked for numbers that turn space, and in 1843
# found that three components are too few and four are enough: `w + x i + y j + z k`, with the
# one line of rules in the title. In this lesson we make the whole product out of that line,
# turn a point with it, and see why a quaternion layer needs a quarter of the weights.

# %%
import matplotlib.pyplot as plt
import numpy as np

from quatgrad import Tensor, quaternion
from quatgrad.kernels.reference import HAMILTON, expand
from quatgrad.ops import hamilton

# %% [markdown]
# ## The sign table
#
# From `ijk = −1` and the squares everything follows: multiply by `k` on the right and
# `ij = k`; swap the two and the sign swaps too. The package keeps all of it in one constant,
# `HAMILTON[a, b, c]`: how much of unit `c` is in unit `a` times unit `b`.

# %%
units = "1ijk"
fig, ax = plt.subplots(figsize=(3.6, 3.6))
colours = ["#dddddd", "#0072B2", "#D55E00", "#009E73"]
for a in range(4):
    for b in range(4):
        c = int(np.flatnonzero(HAMILTON[a, b])[0])
        sign = "−" if HAMILTON[a, b, c] < 0 else ""
        ax.add_patch(plt.Rectangle((b, a), 1, 1, facecolor=colours[c], edgecolor="white"))
        ink = "black" if c == 0 else "white"
        ax.text(b + 0.5, a + 0.5, sign + units[c], ha="center", va="center", color=ink, fontsize=15)
ax.set(xlim=(0, 4), ylim=(4, 0), xlabel="right factor", ylabel="left factor", aspect="equal")
ax.set_xticks(np.arange(4) + 0.5, units)
ax.set_yticks(np.arange(4) + 0.5, units)
ax.set_title("left × right")
plt.show()

# %% [markdown]
# Each colour stands once in every row and every column: multiplying by a unit moves the
# components around and changes signs, and loses nothing. The signs are not symmetric:
# `ij = k`, but `ji = −k`.

# %% [markdown]
# ## The product, built
#
# A product of sums is the sum of all products, so sixteen products and the table are enough.


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
print(product(p, q))
print(product(q, p), "<- another order, another product")
assert np.array_equal(product(p, q), quaternion.multiply(p, q))

# %% [markdown]
# The package's own is the same three loops, written as one `einsum`:

# %%
import inspect

from quatgrad.kernels import reference

print(inspect.getsource(reference.hamilton))

# %% [markdown]
# ## It turns space
#
# Write a point as `x i + y j + z k`, take a unit quaternion `q = cos(t/2) + sin(t/2) u`, and
# `q v q̄` is the point turned by the angle `t` around the axis `u`. Half the angle, because `q`
# acts twice.

# %%
axis = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
point = np.array([0, 1.0, 0.2, 0])
ax = plt.figure(figsize=(4.5, 4.5)).add_subplot(projection="3d")
for t in np.linspace(0, 2 * np.pi, 25):
    turn = np.append(np.cos(t / 2), np.sin(t / 2) * axis)
    turned = quaternion.multiply(quaternion.multiply(turn, point), quaternion.conjugate(turn))
    assert abs(turned[0]) < 1e-15  # it stays in space
    ax.scatter(*turned[1:], color=plt.cm.viridis(t / 7), s=25)
ax.plot(*np.outer(axis, [-0.6, 1.4]), color="0.4")
ax.set(xlim=(-1, 1.2), ylim=(-1, 1.2), zlim=(-1, 1.2), title="a point turned around (1, 1, 1)")
plt.show()

# %% [markdown]
# ## Why a quarter of the weights
#
# Multiplying by a fixed `w` is linear, so it is a 4 × 4 matrix. But its sixteen entries are only
# four numbers, each standing in four places:

# %%
w = np.array([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1)  # one input and one output quaternion
print(expand(w).T)

# %% [markdown]
# A quaternion layer is this picture with matrices instead of numbers: it connects everything
# with everything, like a real layer, but learns four blocks instead of sixteen.
#
# ## And its gradient
#
# The rule for `d(p q)` is the familiar one, if the order is kept; and the transpose of
# "multiply by q" is "multiply by its conjugate". So `dL/dp = g q̄` and `dL/dq = p̄ g`:

# %%
P, Q = Tensor(p, requires_grad=True), Tensor(q, requires_grad=True)
g = np.array([0.1, -0.2, 0.3, 0.7])
hamilton(P, Q).backward(g)
assert np.allclose(P.grad, quaternion.multiply(g, quaternion.conjugate(q)))
assert np.allclose(Q.grad, quaternion.multiply(quaternion.conjugate(p), g))
print("dL/dp =", P.grad)
