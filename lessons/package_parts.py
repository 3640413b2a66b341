"""The package's own for each answer that lesson 13 builds on: the same names and arguments."""

from __future__ import annotations

import numpy as np

from quatgrad import Parameter, optim
from quatgrad.kernels import reference
from quatgrad.lth import Rule
from quatgrad.lth.prune.rule import prune
from quatgrad.lth.ticket.mask_constraint import set_mask
from quatgrad.ops.arithmetic import unbroadcast

#: name -> the lesson that asks for it.
LESSON = {
    "bias_gradient": 3,
    "layer_dx": 5,
    "layer_dw": 5,
    "warm_cosine": 9,
    "largest_of_all": 12,
    "step": 12,
}


def bias_gradient(g):
    """dL/db, of shape (Q,), from g = dL/dy of shape (N, Q)."""
    return unbroadcast(g, g.shape[1:])


def layer_dx(g, w):
    """dL/dx (N, 4, P), from g (N, 4, Q) and w (4, P, Q)."""
    N, _, Q = g.shape
    return reference.hamilton_linear_dx(g.reshape(N, 4 * Q), w).reshape(N, 4, -1)


def layer_dw(x, g):
    """dL/dw (4, P, Q), from x (N, 4, P) and g (N, 4, Q)."""
    return reference.hamilton_linear_dw(x.reshape(len(x), -1), g.reshape(len(g), -1))


def warm_cosine(step, lr, steps, warmup):
    """The rate at this step, the first being step 0."""
    return optim.cosine(lr, steps, warmup)(step)


def largest_of_all(tensors, masks, keep):
    """New masks (a list of arrays, as `masks`) for a list of arrays `tensors`."""
    names = [str(i) for i in range(len(tensors))]
    weights = dict(zip(names, map(Parameter, tensors), strict=True))
    new = prune(weights, dict(zip(names, masks, strict=True)), Rule(keep, scope="global"))
    return [np.asarray(new[name]) for name in names]


def step(w, v, g, alive, lr, momentum):
    """The new (w, v); `alive` is the mask."""
    parameter = Parameter(w)
    set_mask(parameter, alive)
    optimizer = optim.SGD([parameter], momentum=momentum)
    optimizer.load_state_dict({"0/velocity": np.where(alive, v, 0).astype(w.dtype)})
    parameter.grad = np.where(alive, g, 0).astype(w.dtype)
    optimizer.step(lr)
    return parameter.numpy(), optimizer.state[0]["velocity"]
