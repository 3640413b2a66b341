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
# # 5. One einsum, three free indices
#
# **What is the derivative of a product whose order matters?**
#
# For numbers, $y = p q$ has the slopes $dy/dp = q$ and $dy/dq = p$. For quaternions $p q$ is not
# $q p$. So where does the $q$ go, to the left or to the right? And is it $q$ at all? In this lesson
# the answer falls out of one line of indices, and the same line then gives a whole layer and its
# gradients.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson05 as check
from pictures import lesson05 as show
from quatgrad import Tensor, ops
from quatgrad.kernels import reference
from quatgrad.kernels.reference import HAMILTON
from quatgrad.ops.hamilton import Hamilton
from quatgrad.quaternion import conjugate, multiply
from quatgrad.testing import check_gradients

plt.style.use("quatgrad.style")

# %% [markdown]
# ## Reading an einsum
#
# `np.einsum` is a sum written by its indices. `"np,pq->nq"` says: for every `n` and `q`, multiply
# entry `n, p` of the first by entry `p, q` of the second, and add over `p`, the index that is
# missing on the right. So it is the matrix product.

# %%
x, w = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 10.0], [100.0, 1000.0]])
print(np.einsum("np,pq->nq", x, w))
assert np.array_equal(np.einsum("np,pq->nq", x, w), x @ w)

# %% [markdown]
# Indices that stand on the right are *free*: they are the axes of the result. All others are
# summed.
#
# The Hamilton product has three indices: component `a` of `p`, times component `b` of `q`, goes to
# component `c` of `y`, with the sign in the table `HAMILTON[a, b, c]`:

# %%
p, q = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, -1.0, 0.0, 2.0])
y = np.einsum("abc,a,b->c", HAMILTON, p, q)
print("p q =", y)
assert np.array_equal(y, multiply(p, q))

# %% [markdown]
# ## The gradient, by hand
#
# Let $g = dL/dy$ be given, four numbers. Move one component $p_a$ by a little. Then $y_c$ moves by
# $\sum_b H_{abc}\, q_b$, and $L$ moves by $g_c$ times that, added over $c$:
#
# $$\frac{dL}{dp_a} = \sum_{b, c} H_{abc}\, q_b\, g_c$$
#
# It is the same table, with $q$ and $g$ put in, and **$a$ left free**. So one einsum again:

# %%
g = np.array([0.1, -0.2, 0.3, 0.7])
dp = np.einsum("abc,b,c->a", HAMILTON, q, g)
print("dL/dp =", dp)
h = 1e-6  # the test of lesson 0
steps = [(multiply(p + h * e, q) - multiply(p - h * e, q)) @ g / (2 * h) for e in np.eye(4)]
print("steps =", np.round(steps, 6))

# %% [markdown]
# The picture to keep: the table is a node with three legs. Plug two arrays in, and the answer
# comes out of the leg that is free.

# %%
show.free_leg({"c": "y", "a": "dL/dp", "b": "dL/dq"})

# %% [markdown]
# ## It is a product again
#
# Look at the signs. With `a` free, is the sum a Hamilton product of `g` and `q`, in some order?
# Almost. Both orders and both conjugates, against the right answer:

# %%
print("dL/dp    ", dp)
for name, value in {"g q": multiply(g, q), "q g": multiply(q, g),
                    "g conj(q)": multiply(g, conjugate(q)),
                    "conj(q) g": multiply(conjugate(q), g)}.items():  # fmt: skip
    print(f"{name:9}", value, "<- this one" if np.allclose(value, dp) else "")

# %% [markdown]
# $dL/dp = g \bar q$. The $q$ stays on its side, on the right, and becomes its conjugate. Why the
# conjugate? Multiplying by a unit quaternion is a turn (of all four components). The way back
# through a turn is the turn backwards, and that is the conjugate. (For matrices the same thing is
# called the transpose; lesson 3 called it the shadow.)
#
# **Exercise 1.** And `dL/dq`, for `y = p q`? Use `multiply` and `conjugate`, and mind the order.


# %%
def dq(p, q, g):
    """dL/dq for y = p q, from g = dL/dy; all are quaternions (4,)."""
    ...


check.dq(dq)

# %% [markdown]
# The package's operation, on Tensors, says it in the same words. `Binary` of lesson 3 asks it for
# `da` and `db`, the gradients of its first and its second operand. Here is `da`; `db` is yours:

# %%
left, right = Tensor(p, requires_grad=True), Tensor(q, requires_grad=True)
ops.hamilton(left, right).backward(g)
assert np.allclose(left.grad, dp)
print(inspect.getsource(Hamilton.da))

# %% [markdown]
# ## A layer
#
# From here on `p` and `q` are numbers of inputs and outputs, no longer quaternions. A quaternion
# layer takes `P` quaternions and gives `Q`: $y_q = \sum_p w_{pq}\, x_p$, weight on the left. Each
# array has an axis for the component, and a batch has one more, `n`. With `w (4, P, Q)` and
# `x (N, 4, P)` the layer is the same einsum with more letters:

# %%
rng = np.random.default_rng(5)
N, P, Q = 6, 3, 2
x, w = rng.standard_normal((N, 4, P)), rng.standard_normal((4, P, Q))


def layer(x, w):
    """y_q = sum_p w_pq x_p: x (N, 4, P), w (4, P, Q) -> y (N, 4, Q)."""
    return np.einsum("abc,apq,nbp->ncq", HAMILTON, w, x)


def by_hand(x, w, n, q):
    """The same for one example n and one output q, as a sum of quaternion products."""
    return sum(multiply(w[:, p, q], x[n, :, p]) for p in range(P))


print(layer(x, w)[4, :, 1])
print(by_hand(x, w, 4, 1))

# %% [markdown]
# The package keeps the components side by side in one axis of size `4P`, in blocks `[1 | i | j |
# k]`, so that a feature map looks like any other. A `reshape` leads there and back and moves
# nothing:

# %%
print(inspect.getsource(reference.hamilton_linear))
y = layer(x, w).reshape(N, 4 * Q)
assert np.array_equal(y, reference.hamilton_linear(x.reshape(N, 4 * P), w))

# %% [markdown]
# ## Three free indices
#
# `"abc,apq,nbp->ncq"` has three arrays beside the table: `w` with `apq`, `x` with `nbp`, and `y`
# with `ncq`. You know two of the three and want the third: leave its letters free. That is the
# whole trick, and it is exact, because `y` is linear in `w` and linear in `x`.
#
# **Exercise 2.** The gradient for the input: `dL/dx`, from `g = dL/dy (N, 4, Q)` and `w`.


# %%
def layer_dx(g, w):
    """dL/dx (N, 4, P), from g (N, 4, Q) and w (4, P, Q)."""
    ...


check.layer_dx(layer_dx)

# %% [markdown]
# **Exercise 3.** The gradient for the weight: `dL/dw`, from `x` and `g`. One thing is new: the
# same `w` was used for every example of the batch. What happens to slopes of several uses?


# %%
def layer_dw(x, g):
    """dL/dw (4, P, Q), from x (N, 4, P) and g (N, 4, Q)."""
    ...


check.layer_dw(layer_dw)

# %% [markdown]
# These three lines are the package's reference kernels: `hamilton_linear`, `hamilton_linear_dx`,
# `hamilton_linear_dw`. All faster ones (lesson 8) must agree with them. And here are all their
# entries against finite differences; silence means right:

# %%
check_gradients(ops.hamilton_linear, x.reshape(N, 4 * P), w)
print("every entry agrees within 1e-6")

# %% [markdown]
# Count what was learned here: `w` has `4 P Q` numbers. A real layer from `4P` to `4Q` features has
# `16 P Q`. The next lesson looks for the other three quarters.
#
# **What you have now:** the derivative of a product whose order matters. The other factor stays on
# its side and is conjugated. And a rule for everything linear: leave free the letters of what you
# want.
