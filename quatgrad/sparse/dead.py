"""Weights that compute nothing: into channels that nobody reads, and from channels that are 0.

A plan leaves out what `compact` finds. A network and its ticket keep their shapes, and leave out
these weights: each output is the sum of the same numbers without zeros.
"""

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.errors import OptionError
from quatgrad.network import Network
from quatgrad.nn import Module
from quatgrad.sparse.compact import fold_constants, read_channels
from quatgrad.sparse.predict import image_shape
from quatgrad.sparse.rules import LAYERS, follow_trace
from quatgrad.sparse.steps import Layer, Steps
from quatgrad.sparse.trace import Trace, trace


def without_dead(network: Network) -> Network:
    """The same network with masks that leave out its dead weights, which are 0 in its model.

    A network that no plan can have, or without dead weights, is given back as it is.
    """
    try:
        shape = image_shape(network)
        seen = trace(network.model, shape)
        steps = follow_trace(seen, network.model, shape, network.masks)
    except OptionError:
        return network
    only_layers = _only_in_layers(seen, network.model)
    masks = living(steps, {n: m for n, m in network.masks.items() if n in only_layers})
    dead = {n: network.masks[n] & ~mask for n, mask in masks.items()}
    if not any(mask.any() for mask in dead.values()):
        return network
    model = deepcopy(network.model)
    for name, w in model.weight_parameters():
        if name in dead:
            w.data = array_module(w.data).where(asarray(dead[name]), w.dtype.type(0), w.data)
    return replace(network, model=model, masks={**network.masks, **masks})


def _only_in_layers(seen: Trace, model: Module) -> set[str]:
    """The weights that stand nowhere but in layers of the image.

    None that is also transposed, as tied ones, or also multiplies what is the same for all images.
    """
    found = {id(w): name for name, w in model.weight_parameters()}
    depends = {id(seen.image)}
    for node in seen.nodes:
        inputs = seen.inputs[id(node)]
        if any(id(x) in depends for x in inputs):
            depends.add(id(node))
        is_layer = isinstance(node, LAYERS) and id(inputs[0]) in depends
        for k, x in enumerate(inputs):
            if k != 1 or not is_layer:
                found.pop(id(x), None)
    return {*found.values()}


def living(steps: Steps, masks: Mapping[str, Array]) -> dict[str, Array]:
    """The masks, without inputs that are 0 and outputs that nobody reads.

    steps: of `follow` with these masks. Both are rows and columns of a weight (..., P, Q). Rows of
    linear layers stay, whose inputs may come in any order, and of grouped convolutions: who keeps
    its row of a 0 reads it, for whoever makes the 0 would make its bias without weights.
    """
    feeds = _feeds(steps, masks)
    outputs = defaultdict[str, Any](bool)
    done = [
        replace(step, alive=step.alive & feeds[step.name][:, None])
        if isinstance(step, Layer) and step.name in feeds
        else step
        for step in steps.steps
    ]
    read = read_channels(Steps(steps.shapes, done, steps.constants, steps.output))
    for step in (step for step in steps.layers() if step.name in masks):
        A, *_, Q = step.weight.shape
        outputs[step.name] = outputs[step.name] | read[step.y].reshape(A, Q).any(axis=0)
    found = {}
    for name, mask in masks.items():
        found[name] = mask
        if name in outputs and outputs[name].size == mask.shape[-1]:
            found[name] = mask & outputs[name] & (feeds[name][:, None] if name in feeds else True)
    return found


def _feeds(steps: Steps, masks: Mapping[str, Array]) -> dict[str, Array]:
    """Of masks whose rows can go: which inputs (P,) are not 0, wherever the weight stands."""
    _, values = fold_constants(steps)
    found = defaultdict[str, Any](bool)
    for step in steps.layers():
        if step.name in masks and masks[step.name].ndim > 3:
            A, *_, P, _Q = step.weight.shape
            feeds = (values[step.x].reshape(A, P) != 0).any(axis=0)  # NaN is not 0
            found[step.name] = found[step.name] | feeds
    return {n: feeds for n, feeds in found.items() if feeds.size == masks[n].shape[-2]}  # no groups
