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
# # 16. Attention from nothing
#
# **How can one letter of a text ask the others for what it needs?**
#
# So far each pixel had its place, and a weight of its own or a window around it. In a text, what
# matters may stand anywhere: the word that "it" means, or the place where this name came before.
# So a letter has to *look* for it. In this lesson we build the looking, by hand at first. It is a
# mean. Then we give it several heads, and heads of quaternions, and let it read Shakespeare.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson16 as check
from pictures import curves
from pictures import lesson16 as show
from quatgrad import Tensor, nn, ops, optim, quaternion, set_backend
from quatgrad.data.text import load
from quatgrad.kernels import reference
from quatgrad.ops import cross_entropy

plt.style.use("quatgrad.style")
set_backend("numpy")  # for arrays as small as these, compiling gains nothing

# %% [markdown]
# ## Ask, match, take
#
# Three letters: S, e, a. Each has a **key**, which says what it is: (is it a vowel?, is it a
# capital?). Each has a **value**, which is what it gives; here just one number. Now somebody comes
# with a **query**: "a vowel, please", as `(2, 0)`. How well does each key match? Multiply and add:

# %%
keys = np.array([[0, 1.0], [1, 0], [1, 0]])  # S, e, a
values = np.array([10.0, 20.0, 30.0])
query = np.array([2.0, 0.0])
print("matches:", keys @ query)

# %% [markdown]
# The answer should come from `e` and `a`, half and half. So we need weights that are positive, add
# up to 1, and are large where the match is large. You know such a function: the **softmax**,
# $\exp(s_j) / \sum_k \exp(s_k)$, which made probabilities out of logits (lesson 9). What comes back
# is the **mean of the values** with these weights.
#
# One more thing. Say that the D numbers of a query and of a key are random, of size 1. Their
# product is a sum of D terms, and it grows like $\sqrt D$. Large matches make the softmax choose
# one letter and forget the others:

# %%
rng = np.random.default_rng(16)
for D in (4, 64, 1024):
    matches = rng.standard_normal((8, D)) @ rng.standard_normal(D)
    plain, scaled = (ops.softmax(Tensor(m)).numpy().max() for m in (matches, matches / np.sqrt(D)))
    print(f"D = {D:4}: largest of eight weights {plain:.2f}, after division by √D {scaled:.2f}")

# %% [markdown]
# **Exercise 1.** Write the weights of one query: the softmax of its matches, divided by $\sqrt D$.


# %%
def weights(q, K):
    """a (T,), positive with sum 1, for a query q (D,) and T keys K (T, D)."""
    ...


check.weights(weights)

# %% [markdown]
# ## No letter may see what comes after it
#
# In a text every letter asks, so there are T queries and T keys, and a square of matches. The
# network will have to say *what comes next*. If letter 5 could ask letter 6, it would simply copy
# the answer, learn nothing, and look perfect. So matches with later letters are set to $-\infty$,
# and $\exp(-\infty) = 0$. This is called a **causal mask**. The whole of it, for one head:


# %%
def head(q, k, v):
    """y_i = Σ_j a_ij v_j over j <= i; q, k (T, D), v (T, any) -> y, and the weights a (T, T)."""
    T, D = q.shape
    matches = np.where(np.tri(T, dtype=bool), q @ k.T / np.sqrt(D), -np.inf)
    a = ops.softmax(Tensor(matches)).numpy()
    return a @ v, a


q, k, v = rng.standard_normal((3, 6, 4))
y, a = head(q, k, v)
print(a.round(2))
theirs = ops.attention(*(Tensor(x[None]) for x in (q, k, v)), heads=1, causal=True)
assert np.allclose(theirs.numpy()[0], y)

# %% [markdown]
# Row i are the weights of letter i. The first letter can only look at itself. The package's own is
# the same formula for a batch, with texts of different lengths, and with heads, to which we come:

# %%
print(inspect.getsource(reference.attention))

# %% [markdown]
# ## A test for leaks
#
# A mask that is off by one still runs, and the network trains better than any other: it cheats.
# Here is a test that needs no theory. **Change one letter. No output before it may move.**
#
# **Exercise 2.** Write it. Try each step t: change `x[t]`, and compare the outputs before t.


# %%
def leaks(layer, x):
    """True if some step of layer(x) depends on a later one; x (T, C) -> layer(x) (T, any)."""
    ...


check.leaks(leaks)

# %% [markdown]
# ## A head that was never trained
#
# What can one head do? Let us choose queries, keys and values by hand, and let it guess the next
# letter. The idea: look where *this* letter was written before, and say what came next there.
#
# * query: the letter itself, as a vector with a single 1;
# * key: the letter *before*, in the same way;
# * value: the letter.
#
# So a letter finds those that stand right behind another one like itself.

# %%
text = "the cat and the c"
letters = sorted(set(text))
hot = np.eye(len(letters))[[letters.index(c) for c in text]]
before = np.vstack([np.zeros(len(letters)), hot[:-1]])
guess, a = head(10 * np.sqrt(len(letters)) * hot, before, hot)
show.who_looks_where(text, a)
print("after", repr(text), "comes", repr(letters[guess[-1].argmax()]))

# %% [markdown]
# Read the last row. The last `c` looks at the `a` of `cat`, because it stands behind a `c`. Nobody
# told the network what a cat is. Letters that are new have no match, and look at everything a
# little. In trained transformers one finds heads that do just this; they are called *induction
# heads*. It needs two layers: one that brings "what stood before me" into the key, and this one.
#
# ## Several heads
#
# One head, one question. A letter may have several: who is speaking? Was there a comma? So the
# features are cut into pieces, and each piece has a softmax of its own. Four heads of 8 features
# cost as much as one of 32.
#
# With quaternions there are two ways to cut, and **published code has chosen the wrong one**. The
# features lie in blocks, `[1 | i | j | k]`. Cut four heads off from left to right, and the first
# gets all the real parts, the second all the i parts. No head has a whole quaternion.
#
# **Exercise 3.** Cut them so that head 0 has the first quaternions of all four blocks, and so on.


# %%
def heads_of(x, heads):
    """(T, 4Q) in blocks [1 | i | j | k] -> (heads, T, 4Q / heads), again in blocks."""
    ...


check.heads_of(heads_of)

# %% [markdown]
# ## What turns with it
#
# Does it matter, if the network trains anyway? Here is something that only whole quaternions have.
# Turn all inputs by one unit quaternion, `x u`. The weights stand on the left, so queries, keys and
# values turn too: $(w x)\, u = w\,(x u)$. And the match of two quaternions is
# $\text{Re}(\bar q k)$, the plain product of their four components; a turn changes no product, so
# the attention stays as it is. The result: **`layer(x u) = layer(x) u`**. Turn from the left, and
# nothing of this holds.


# %%
def turned(x, left, right):
    """left x right for every quaternion of x (..., 4Q)."""
    q = np.moveaxis(x.reshape(*x.shape[:-1], 4, -1), -2, -1)
    q = quaternion.multiply(quaternion.multiply(left, q), right)
    return np.moveaxis(q, -1, -2).reshape(x.shape)


projections = [nn.QLinear(32, 32, bias=False, rng=rng) for _ in range(4)]
layer = nn.SelfAttention(*projections, heads=4, causal=True)
cut_wrong = nn.SelfAttention(*projections, heads=4, causal=True)
cut_wrong.components = 1  # from left to right
x = rng.standard_normal((1, 10, 32), dtype=np.float32)
one, u = np.float32([1, 0, 0, 0]), np.float32([0.5, 0.5, 0.5, 0.5])
for what, f, sides in (("x u", layer, (one, u)), ("u x", layer, (u, one)),
                       ("x u, cut wrong", cut_wrong, (one, u)),
                       ("x u, layer norm", nn.LayerNorm(32), (one, u)),
                       ("x u, quaternion norm", nn.QLayerNorm(32), (one, u))):  # fmt: skip
    y = f(Tensor(x)).numpy()
    moved = f(Tensor(turned(x, *sides))).numpy()
    print(f"{what:21} differs by {np.abs(moved - turned(y, *sides)).max():.6f}")

# %% [markdown]
# ## A reader
#
# A transformer is attention, then a small network for each letter, both *added* to what was there
# (lesson 10), and this a few times. Letters become vectors by a table that is learned. Another
# table says "I am the fifth": without it, attention would not know any order. `LayerNorm` does for
# the features of one letter what batch norm does for a channel: mean 0, deviation 1, then a scale
# and a shift.


# %%
class Block(nn.Module):
    def __init__(self, linear, width, rng):
        maps = [linear(width, width, rng=rng) for _ in range(4)]
        self.attention = nn.SelfAttention(*maps, heads=4, causal=True)
        self.up, self.down = linear(width, 4 * width, rng=rng), linear(4 * width, width, rng=rng)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(ops.relu(self.up(self.norm2(x))))


class Reader(nn.Module):
    def __init__(self, linear, width, kinds, steps, rng):
        self.letters = nn.Embedding(kinds, width, rng=rng)
        self.places = nn.Embedding(steps, width, rng=rng)
        self.blocks = [Block(linear, width, rng) for _ in range(2)]
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, kinds, rng=rng)

    def forward(self, tokens):
        x = self.letters(tokens) + self.places(np.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# %% [markdown]
# The text comes with the package: about 30,000 characters of a play. Who counts which letter
# follows which gets a loss of about 2.40 on text that was not seen. Can attention do better? Two
# readers with as many weights in their blocks: one of quaternions, and a real one of half the
# width.

# %%
play, STEPS, COUNT = load("citizens"), 32, 400
KINDS = len(play.characters)


def loss_of(net, tokens, following):
    return cross_entropy(net(tokens).reshape(-1, KINDS), following.ravel())


def train(linear, width):
    """A reader after `COUNT` batches, and its losses."""
    net, losses = Reader(linear, width, KINDS, STEPS, np.random.default_rng(0)), []
    optimizer, rate = optim.Adam(net.parameters()), optim.cosine(0.01, COUNT, warmup=20)
    for step, batch in enumerate(play.batches(12, STEPS, COUNT, rng=0)):
        loss = loss_of(net, *batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(rate(step))
        losses.append(loss.item())
    return net, losses


readers = {"quaternion": train(nn.QLinear, 64), "real": train(nn.Linear, 32)}
for name, (net, _) in readers.items():
    in_blocks = sum(w.size for key, w in net.weight_parameters() if "blocks" in key)
    unseen = loss_of(net, *play.windows(STEPS)).item()
    print(f"{name:10} {in_blocks:,} weights in its blocks, loss on unseen text {unseen:.2f}")

# %%
smooth = {name: np.convolve(losses, np.ones(10) / 10, "valid")
          for name, (_, losses) in readers.items()}  # fmt: skip
words = {"knows nothing: ln 58": (260, 3.92), "counts pairs of letters": (260, 2.45)}
curves(smooth, words=words, levels=[np.log(KINDS), 2.40], legend="upper center", xlabel="step",
       ylabel="loss, mean of ten", title="reading a play, letter by letter")  # fmt: skip

# %% [markdown]
# To let it write: take the last letters, get the logits of what comes next, draw one, go on.

# %%
net, _ = readers["quaternion"]
tokens, draw = play.encode("First Citizen:\n"), np.random.default_rng(1)
for _ in range(160):
    z = net(tokens[None, -STEPS:]).numpy()[0, -1]
    p = np.exp(z.astype(np.float64) - z.max())
    tokens = np.append(tokens, draw.choice(KINDS, p=p / p.sum()))
print(play.decode(tokens))

# %% [markdown]
# After seconds it has lines, and words of the right length, and no sense. One seed and 400 steps
# say little about which algebra is better: `quatgrad-lth --dataset citizens --algebra all`
# trains larger ones for longer, compares them at equal weights, and prunes them.
#
# **What you have now:** attention as a mean that is weighted by matches, a test that nothing leaks,
# heads that keep quaternions whole, and a network that writes. It sees all letters at once. The
# next lesson reads them one after the other, and has to remember.
