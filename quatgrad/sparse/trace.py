"""The operations of a network on one image, in the order in which they can be computed."""

from dataclasses import dataclass

import numpy as np

from quatgrad.autograd import Function, Tensor
from quatgrad.errors import GraphError, OptionError
from quatgrad.nn import Module
from quatgrad.nn.module import evaluation_mode
from quatgrad.recording import recording


@dataclass(frozen=True)
class Trace:
    """image -> ... -> output; `inputs` of each operation, `uses` of what it gives, by its id."""

    image: Tensor
    nodes: list[Function]
    inputs: dict[int, list[Function | Tensor]]
    uses: dict[int, int]


def trace(model: Module, input_shape: tuple[int, ...]) -> Trace:
    """Send a black image (H, W, C) through the model in evaluation mode, and read its graph.

    Errors: `GraphError` inside `no_grad()`; `OptionError` where the graph does not lead from the
    image to the output.
    """
    dtype = model.parameters()[0].dtype if model.parameters() else np.float32
    image = Tensor(np.zeros((1, *input_shape), dtype), requires_grad=True)
    with evaluation_mode(model):
        y = model(image)
    if not isinstance(y, Tensor):
        raise OptionError(
            f"prepare: forward of {type(model).__name__} gives a {type(y).__name__}; a plan is of "
            "one Tensor, the logits"
        )
    if y._node is None:
        raise (OptionError if recording.get() else GraphError)(
            f"prepare() reads the graph of a forward pass of {type(model).__name__}, and there is "
            "none: call it outside no_grad(), and compute with Tensors in forward"
        )
    nodes: list[Function] = []
    inputs: dict[int, list[Function | Tensor]] = {}
    todo: list[tuple[Function, bool]] = [(y._node, False)]
    while todo:
        node, ready = todo.pop()
        if ready:
            nodes.append(node)
        elif id(node) not in inputs:
            inputs[id(node)] = _inputs(node)
            todo.append((node, True))
            todo += [(x, False) for x in inputs[id(node)] if isinstance(x, Function)]
    uses = {id(y._node): 1}
    for x in (x for node in nodes for x in inputs[id(node)]):
        uses[id(x)] = uses.get(id(x), 0) + 1
    if id(image) not in uses:
        raise OptionError(
            f"prepare: the output of {type(model).__name__} does not depend on the image: does "
            "its forward compute with arrays instead of Tensors?"
        )
    return Trace(image, nodes, inputs, uses)


def _inputs(node: Function) -> list[Function | Tensor]:
    """What a node computed with: operations, and leaves, constant ones too."""
    leaves = (t for t, _ in node.versions)
    return [p if isinstance(p, Function) else next(leaves) for p in node.parents or ()]
