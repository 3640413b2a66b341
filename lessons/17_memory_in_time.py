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
# # 17. A memory in time
#
# **How long can a network remember, if it reads one thing after the other?**
#
# The reader of the last lesson sees all letters at once. A *recurrent* network sees one at a time,
# and keeps a few numbers, its **state**, from step to step. So it can go on for ever, with little
# memory. But can it learn that step 1 matters at step 50? The gradient has to find the way back
# through fifty steps. In this lesson we follow it, see it die, and build the gate that saves it.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson17 as check
from pictures import curves, panels
from quatgrad import Tensor, nn, ops, optim, set_backend
from quatgrad.kernels import gemm, reference

plt.style.use("quatgrad.style")
set_backend("numpy")  # for arrays as small as these, compiling gains nothing

# %% [markdown]
# ## One number that is carried on
#
# The smallest recurrent network has one number as its state: $h_t = \tanh(w h_{t-1} + x_t)$. The
# old state times a weight, plus what is new. Give it a 1 at the first step, and nothing after that:


# %%
def states(w, x, h=0.0):
    """h_1 ... h_T of h_t = tanh(w h_{t-1} + x_t)."""
    found = []
    for now in x:
        h = np.tanh(w * h + now)
        found.append(h)
    return np.array(found)


for w in (0.5, 0.9, 1.5):
    print(f"w = {w}:", states(w, [1.0, 0, 0, 0, 0, 0, 0, 0]).round(2))

# %% [markdown]
# With $w = 0.5$ the 1 is forgotten. With 1.5 something stays, but whether the input was 1 or 2 is
# soon forgotten too: both end at the same number. To *learn* from the first step, its slope is what
# counts: how much does the last state move, if the first one moves a little?
#
# It is a path with one edge a step, and slopes along a path multiply (lesson 1). The slope of tanh
# is $1 - h^2$, where h is its result. So a step has the slope $w\,(1 - h_t^2)$.
#
# **Exercise 1.** Write the slope of the last state along the state before the first step.


# %%
def through(w, h):
    """dh_T/dh_0, for the states h = [h_1, ..., h_T] of h_t = tanh(w h_{t-1} + x_t)."""
    ...


check.through(through)

# %% [markdown]
# ## A gate, by hand
#
# A product of fifty numbers is 0 or infinite, unless each is nearly 1. Why should it be? Because we
# can build it so. Do not compute the state anew; **keep it**, and let a number between 0 and 1 say
# how much of it:
#
# $$h' = (1 - z)\, n + z h, \qquad \text{with the new content} \quad n = \tanh(w h + x).$$
#
# $z$ is called a **gate**. With $z = 1$ the state stays as it is, and the slope of $h'$ along $h$
# is exactly 1. With $z = 0$ it is the old cell. And the network decides itself, at each step, from
# what it sees: $z = \sigma(a h + b)$, where $\sigma(s) = 1 / (1 + e^{-s})$ goes from 0 to 1.
#
# **Exercise 2.** Write the slope of $h'$ along $h$. Three ways lead from $h$ to $h'$: directly,
# through $n$, and through $z$. The slope of $\sigma$ is $z\,(1 - z)$.


# %%
def gate_slope(h, x, w, a, b):
    """dh'/dh of h' = (1 - z) n + z h, with n = tanh(w h + x) and z = σ(a h + b)."""
    ...


check.gate_slope(gate_slope)

# %% [markdown]
# Here are both through 50 steps of random inputs. On the left the plain cell, on the right the gate
# with `a = 0`, so that `b` alone says how far it is open. All slopes are by formula, multiplied.

# %%
rng = np.random.default_rng(17)
STEPS = 50
x = 0.5 * rng.standard_normal(STEPS)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def plain(w):
    return w * (1 - states(w, x) ** 2)


def gated(b, w=0.9):
    """The slopes of the steps of a gated cell."""
    h, z, slopes = 0.0, sigmoid(b), []
    for now in x:
        n = np.tanh(w * h + now)
        h = (1 - z) * n + z * h
        slopes.append((1 - z) * w * (1 - n * n) + z)
    return np.array(slopes)


slopes = {
    "plain: it vanishes": {f"w = {w}": np.cumprod(plain(w)) for w in (0.5, 0.9, 1.0, 1.3)},
    "with a gate: it need not": {
        f"b = {b}: z = {sigmoid(b):.2f}": np.cumprod(gated(b)) for b in (0, 2, 4)
    },
}
panels(slopes, "slope", yscale="log", ylim=(1e-16, 10), xlabel="steps")

# %% [markdown]
# A slope of 10⁻¹⁰ means: to whatever the network should have learned at step 1, one step of
# learning adds nothing. It is not that it *cannot* hold the number. It never finds out that it
# should. This is the **vanishing gradient** (Hochreiter, 1991). Larger weights do not help for
# long, since then tanh saturates; without tanh the product explodes instead.
#
# **Exercise 3.** How large should `b` be at the start, so that of a state the share `share` is
# left after `steps` steps? (Take `a = 0`, and count only what is kept: `z` of it at each step.)


# %%
def open_gate(share, steps):
    """b, such that σ(b)^steps = share."""
    ...


check.open_gate(open_gate)

# %% [markdown]
# ## A GRU, built
#
# The *gated recurrent unit* has H states, a gate for each, and one more idea: a second gate `r`
# that says how much of the state may enter the new content. The two gates and the content each read
# input and state by a matrix; the three stand side by side.


# %%
def gru(x, W, U, b, c):
    """All h (T, H): x (T, P), W (P, 3H), U (H, 3H), b (3H,), c (H,); gates in the order r, z, n."""
    H, found = len(U), []
    h = np.zeros(H)
    for now in x:
        from_x, from_h = now @ W + b, h @ U
        r, z = np.split(sigmoid(from_x[: 2 * H] + from_h[: 2 * H]), 2)
        n = np.tanh(from_x[2 * H :] + r * (from_h[2 * H :] + c))
        h = (1 - z) * n + z * h
        found.append(h)
    return np.array(found)


layer = nn.GRU(8, 12, rng=rng)
sequence = rng.standard_normal((STEPS, 8), dtype=np.float32)
parameters = layer.weight_x, layer.weight_h, layer.bias, layer.state_bias
ours = gru(sequence, *(p.numpy() for p in parameters))
theirs = layer(Tensor(sequence[None])).numpy()[0]
assert np.allclose(ours, theirs, atol=1e-5)

# %% [markdown]
# In the package all steps are *one* operation, and so is the way back. Fifty steps of single
# operations would be a graph of a thousand nodes, and most of the time would go into walking it.
# The gradient is exercise 2 with letters for vectors: `e` is the slope that arrives at a state.

# %%
print(inspect.getsource(reference.gru_dx))

# %% [markdown]
# ## A GRU of quaternions
#
# Here each of the three matrices is a quaternion layer (lesson 6), with a quarter of the weights.
# The gates act on each component by itself. So a `QGRU` is a `GRU` whose matrices have sixteen
# blocks each:

# %%
quaternion = nn.QGRU(8, 12, rng=rng)
w_x, w_h, b, c = (
    p.numpy()
    for p in (quaternion.weight_x, quaternion.weight_h, quaternion.bias, quaternion.state_bias)
)
W, U = (np.hstack([gemm.expand(gate) for gate in np.split(w, 3, axis=2)]) for w in (w_x, w_h))
theirs = quaternion(Tensor(sequence[None])).numpy()[0]
assert np.allclose(gru(sequence, W, U, b, c), theirs, atol=1e-5)
print("real", nn.GRU(8, 12, rng=0).num_parameters(), "numbers, quaternion",
      quaternion.num_parameters())  # fmt: skip

# %% [markdown]
# One trap waits here, and **published code has fallen into it**. One product may give all gates at
# once, in blocks of components: all real parts, then all i parts. Cut that into three from left to
# right, and look at what each gate gets:

# %%
columns = np.array([unit + gate for unit in "1ijk" for gate in "rzn"])  # component, and gate
print("one product gives ", *columns)
print("cut from the left ", *[" ".join(part) + " |" for part in np.split(columns, 3)])
print("cut by gates      ", *[" ".join(part) + " |" for part in columns.reshape(4, 3).T])

# %% [markdown]
# It trains all the same, as it always does. But its gates are no quaternions.
#
# ## Who remembers?
#
# A task that is about memory and nothing else. One of four signs is shown at the first step. Then
# come 49 steps of noise. Which sign was it? Four networks with 16 or 32 states: a plain one, a GRU
# as it comes, and two whose gates were opened at the start, by a bias of 4 for z.


# %%
class Plain(nn.Module):
    """h_t = tanh(W x_t + U h_{t-1})."""

    def __init__(self, P, H, rng):
        self.enter = nn.Linear(P, H, rng=rng)
        self.stay = nn.Linear(H, H, bias=False, rng=rng, init=nn.init.xavier)

    def forward(self, x):
        new = self.enter(x)
        all_h = [ops.tanh(new[:, 0])]
        for t in range(1, x.shape[1]):
            all_h.append(ops.tanh(new[:, t] + self.stay(all_h[-1])))
        return ops.stack(all_h, 1)


def opened(layer, b=4):
    """The layer, with gates z that start near 1."""
    H = layer.state_bias.size
    layer.bias.data = np.repeat(np.float32([0, b, 0]), H)  # of r, z, n
    return layer


def examples(rng, N=32, signs=4):
    """Series (N, 50, 8): a sign at the first step, then noise; and which sign."""
    x, sign = rng.standard_normal((N, STEPS, 8)) / 2, rng.integers(0, signs, N)
    x[:, :, :signs] = 0
    x[np.arange(N), 0, sign] = 1
    return Tensor(x.astype(np.float32)), sign


# %%
def learn(layer, features, steps=200):
    """The share of signs that it told, at each step of training."""
    rng, right = np.random.default_rng(0), []
    head = nn.Linear(features, 4, rng=rng)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = optim.Adam(parameters)
    for _ in range(steps):
        x, sign = examples(rng)
        logits = head(layer(x)[:, STEPS - 1])
        loss = ops.cross_entropy(logits, sign)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(parameters, 1.0)
        optimizer.step(0.01)
        right.append((logits.numpy().argmax(1) == sign).mean())
    return np.array(right)


networks = {
    "plain": Plain(8, 32, rng=0),
    "GRU": nn.GRU(8, 16, rng=0),
    "GRU, gates open": opened(nn.GRU(8, 16, rng=0)),
    "quaternion GRU, gates open": opened(nn.QGRU(8, 32, rng=0)),
}
shares = {}
for name, layer in networks.items():
    right = learn(layer, 16 if type(layer) is nn.GRU else 32)
    mean_of_ten = np.convolve(right, np.ones(10) / 10, "valid")
    shares[f"{name}:\n{layer.num_parameters():,} parameters"] = 100 * mean_of_ten

# %%
curves(shares, styles=("-", "--", "-", "-."), words={"chance": (150, 12)}, levels=[25],
       legend="right", xlabel="step of training", ylabel="right, %", ylim=(0, 104),
       title="which sign was shown, 49 steps ago?")  # fmt: skip

# %% [markdown]
# **The same layer, and only its first bias differs.** With its gates half open a GRU forgets half
# of its state at each step, and 2⁻⁵⁰ is nothing: it does not learn at all. Open, it makes no
# mistake after a hundred steps. The plain network gets stuck a little above chance. Where this
# matters for your data, set the bias; the package's LSTM starts with one.
#
# A recurrent network is pruned like any other: its tickets are found by `quatgrad-lth --preset
# spoken-digits`, with `--algebra all` for the real network of as many weights.
#
# **What you have now:** a memory, the formula of its gradient, a gate that keeps it alive, and the
# same with quaternions. It began with the slope of $x^2$; it ends with networks that see, read and
# remember. What would you like to take apart next?
