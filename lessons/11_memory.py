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
# # 11. The memory of a graph
#
# **What must be kept until backward, and for how long?**
#
# The weights of a quaternion ResNet-18 fill 11 megabytes. Train it with 128 images at a time, and
# 640 megabytes are in use. These are not the weights, and not their gradients. They are arrays that
# the forward pass keeps, because the backward pass needs them. In this lesson we count them, watch
# them come and go, and see how a mistake can keep them forever.

# %%
import gc
import inspect
import tracemalloc
import weakref
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np

from checkers import lesson11 as check
from pictures import lesson11 as show
from quatgrad import Function, Tensor, data, models, no_grad, set_backend
from quatgrad.costs import activation_bytes, costs
from quatgrad.errors import GraphError
from quatgrad.ops import cross_entropy, relu

plt.style.use("quatgrad.style")
set_backend("numpy")  # every array is then one of NumPy's, which Python can count
rng = np.random.default_rng(11)

# %% [markdown]
# ## What each operation keeps
#
# The derivative of `a * b` is `b` for `a` and `a` for `b`, so both factors are needed again. The
# derivative of `a + b` is 1: nothing is needed. An operation of the package says so with
# `save_for_backward`.

# %%
a = Tensor(rng.standard_normal((64, 100)), requires_grad=True)
b = Tensor(rng.standard_normal((64, 100)), requires_grad=True)
for formula, y in {
    "a + b": a + b,
    "a.sum()": a.sum(),
    "a * b": a * b,
    "a.exp()": a.exp(),
    "relu(a)": relu(a),
    "a.reshape(-1)": a.reshape(-1),
}.items():
    kept = [np.asarray(s).shape for s in y._node.saved]
    print(f"{formula:14} keeps {len(kept)}: {kept}")

# %% [markdown]
# `exp` is its own derivative, so it keeps its *output*. Relu does as well: where `y > 0`, `x` was.
# That is a choice, and a good one: the next layer keeps that same array as its input. One array
# that two operations keep takes its memory once.
#
# **Exercise 1.** `y = relu(x @ w + b)`, with `x` (64, 100), `w` (100, 50), `b` (50,), all float32
# (4 bytes a number). How many bytes are kept until backward? The weights `w` and `b` are there
# anyway: do not count them.

# %%
bytes_kept = ...

check.bytes_kept(bytes_kept)

# %% [markdown]
# ## Count it
#
# Walk the graph from the result, collect what the nodes have saved, and count each array once. (A
# view is a window on the array that owns the memory, its `base`.)


# %%
def owner(array):
    while array.base is not None:
        array = array.base
    return array


def kept_bytes(y, parameters):
    """Bytes that the graph below y keeps, without those of parameters."""
    own = {id(owner(p.data)) for p in parameters}
    nodes, arrays = [y._node], {}
    for node in nodes:  # grows while we walk
        arrays |= {id(owner(s)): owner(s) for s in node.saved if isinstance(s, np.ndarray)}
        nodes += [p for p in node.parents if isinstance(p, Function) and p not in nodes]
    return sum(array.nbytes for key, array in arrays.items() if key not in own)


digits = data.load("digits")
net = models.create("resnet20", image_size=(4, 4)).eval()
for n in (1, 10, 100):
    y = net(Tensor(digits.encode(digits.train.images[:n])))
    print(f"{n:3} images: {kept_bytes(y, net.parameters()):9,} bytes")

# %% [markdown]
# It grows with the batch, byte for byte. The package's own counts the same for one image:

# %%
print(inspect.getsource(activation_bytes))
one = net(Tensor(digits.encode(digits.train.images[:1])))
buffers = [tensor for _, tensor in net.named_state()]
assert kept_bytes(one, buffers) == costs(net, digits.input_shape).activation_bytes

# %% [markdown]
# ## Watch it
#
# `tracemalloc` knows how much memory Python has given out. We look at it after every operation,
# forwards and backwards, in three ways: a training step; the same with `retain_graph=True`; and a
# forward pass under `no_grad`, as in testing.


# %%
@contextmanager
def watched(log):
    """Note the memory in use after every node's forward and backward."""
    call, gradients = Function.__call__, Function.gradients

    def noting(method):
        def run(node, *args):
            result = method(node, *args)
            log.append(tracemalloc.get_traced_memory()[0] / 1e6)
            return result

        return run

    Function.__call__, Function.gradients = noting(call), noting(gradients)
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        Function.__call__, Function.gradients = call, gradients


# %%
images, labels = digits.encode(digits.train.images[:128]), digits.train.labels[:128]
net.train()
logs = {"training step": [], "retain_graph=True": [], "no_grad": []}
for name, log in logs.items():
    net.zero_grad()
    with watched(log):
        if name == "no_grad":
            with no_grad():
                loss = cross_entropy(net(Tensor(images)), labels)
        else:
            loss = cross_entropy(net(Tensor(images)), labels)
            loss.backward(retain_graph=name == "retain_graph=True")
    del loss

show.memory(logs, turn=len(logs["no_grad"]))

# %% [markdown]
# **A mountain.** Forwards, each layer puts its map on the pile. Backwards, each takes its own away
# as soon as it has been used, and leaves the gradient of its weights. The most is in use soon after
# the turn, and that decides whether a network fits. What is left at the end are the gradients. With
# `retain_graph` the pile stays. Under `no_grad` there is no pile: maps come and go.
#
# Freed is freed:

# %%
x = Tensor([3.0], requires_grad=True)
y = x * x
y.backward()
try:
    y.backward()
except GraphError as error:
    print(error)

# %% [markdown]
# ## How long does a graph live?
#
# Python frees an object when nobody refers to it any more. A node refers to what it was made of, so
# a loss holds its whole graph, and dropping the loss drops it all. Unless there is a **cycle**.
# Many small engines keep the backward step as a function inside of the result:


# %%
class Value:
    def __init__(self, array, parents=()):
        self.array, self.grad, self.parents = array, 0.0, parents

    def double(self):
        out = Value(2 * self.array, (self,))

        def backward():
            self.grad = self.grad + 2 * out.grad  # refers to out ...

        out.backward = backward  # ... which refers to it: a cycle
        return out


gc.disable()
for what, make in {
    "with cycles": lambda: Value(np.ones(100)).double(),
    "the package": lambda: 2 * Tensor(np.ones(100), requires_grad=True),
}.items():
    result = make()
    watch = weakref.ref(result)
    del result
    print(f"{what}: {'still there' if watch() else 'gone'} after del", end=", ")
    gc.collect()
    print(f"{'still there' if watch() else 'gone'} after a garbage collection")
gc.enable()

# %% [markdown]
# In a cycle everybody is referred to by somebody. Only the garbage collector finds out that nobody
# outside does. It comes by when *many* objects have been made, however large they are, and a few
# hundred maps of ten megabytes are not many. So the memory fills up. In the package links go one
# way only: a tensor points at its node, and a node at those below it, never back.
#
# The other mistake is the user's: to keep what holds a graph.
#
# **Exercise 2.** Write the mean loss of a network over batches, for testing, without a gradient. It
# should hold no more than one batch in memory. (`total = total + loss` builds a graph through all
# of them. And the last batch may be smaller: the mean is over images.)


# %%
def mean_loss(net, batches):
    """A Python number; `batches` is a list of (images, labels)."""
    ...


check.mean_loss(mean_loss)

# %% [markdown]
# ## What it means for a ResNet
#
# Training with momentum needs three numbers for every parameter (itself, its gradient, its
# velocity), and the maps of every image of the batch.
#
# **Exercise 3.** How many bytes is that, in float32?


# %%
def training_bytes(parameters, activation_bytes, batch):
    """For so many parameters, bytes kept for one image, and images in a batch."""
    ...


check.training_bytes(training_bytes)

# %%
print(f"{'':24}{'parameters':>12}{'MB, three of each':>19}{'MB of maps, 128 images':>24}")
for name in ("resnet18", "resnet50"):
    for algebra in ("real", "quaternion"):
        c = costs(models.create(name, algebra, num_classes=100), (32, 32, 4))
        weights, maps = 12 * c.parameters / 1e6, 128 * c.activation_bytes / 1e6
        print(f"{name + ', ' + algebra:24}{c.parameters:12,}{weights:19,.0f}{maps:24,.0f}")

# %% [markdown]
# **The quaternion network has a quarter of the weights, and keeps the same maps.** Its maps have
# as many channels as before. In training the weights hardly count, so a quaternion network (or a
# pruned one) needs almost as much memory as the real one. The gain comes later: when it is stored,
# sent, and used.
#
# **What you have now:** the price of backward, in bytes, and where it goes. The next lessons take
# weights away; you know now what that does not save.
