"""What a network costs: weights, multiply-adds, memory, bytes; and a table of its layers."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quatgrad.arrays import to_numpy
from quatgrad.autograd import Function, Parameter, Tensor
from quatgrad.errors import GraphError, OptionError, meant
from quatgrad.nn import Module
from quatgrad.nn.module import evaluation_mode
from quatgrad.ops.arithmetic import MatMul
from quatgrad.ops.conv import Conv, ConvTranspose
from quatgrad.ops.hamilton import HamiltonLinear
from quatgrad.ops.recurrent import GateWeight, Recurrence
from quatgrad.ops.table_weight import TableWeight


@dataclass(frozen=True)
class Costs:
    """The costs of a network for one image, with n_w weights alive in each weight tensor w.

    weights           sum_w n_w
    parameters        those, and all that is never pruned: biases, batch norm
    multiply_adds     sum_w n_w uses_w, with uses_w = how often each weight of w is multiplied:
                      in every output pixel, or once in a linear layer; four times as often if it
                      is a component of a quaternion, which meets all four of its input. A dilated
                      convolution with a stride computes all pixels, and keeps some
    activation_bytes  what the forward pass keeps for backward: maps, the image, winners of pools
    bytes             of the network stored: for each w, 4 n_w and one bit for each entry, or the
                      dense w where that is less; all else, with running statistics, as it is
    uses              uses_w by the name of w
    """

    weights: int
    parameters: int
    multiply_adds: int
    activation_bytes: int
    bytes: int
    uses: Mapping[str, int]


def costs(
    model: Module,
    input_shape: tuple[int, ...] | Callable[[Module], Tensor],
    masks: Mapping[str, np.ndarray] | None = None,
) -> Costs:
    """`Costs` of the model on an image of `input_shape` (H, W, C), of weights alive in `masks`.

    For what is no image, a function that calls the model takes the place of the shape. Without
    masks all weights count, zeros too. One image goes through the model in evaluation mode, and
    the graph that it leaves is read; the model is as before. Multiply-adds count linear layers,
    convolutions and recurrent layers, with the zeros of their padding.
    Errors: `GraphError` inside `no_grad()`; `OptionError` for layers that cannot be counted, and
    masks that fit no weight.
    """
    return _count(model, list(_graph(_evaluate(model, input_shape))), masks)


def check_model(who: str, model: object) -> None:
    """`OptionError` for what is no model."""
    if not isinstance(model, Module):
        raise OptionError(
            f"{who}: a model is a Module, as network.model of a Network; got {type(model).__name__}"
        )


def check_shape(who: str, shape: object) -> None:
    """`OptionError` for what is no shape of an image."""
    if not (isinstance(shape, tuple | list) and all(map(_is_size, shape))):
        raise OptionError(f"{who}: an input shape is (H, W, C), from 1 on; got {shape!r}")


def _is_size(n: object) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and int(n) > 0


def check_masks(who: str, model: Module, masks: Mapping[str, Any] | None) -> None:
    """`OptionError` for a mask that fits no weight of the model."""
    masks = {} if masks is None else masks
    if not isinstance(masks, Mapping):
        raise OptionError(
            f"{who}: masks are a dict, the name of a weight -> its mask; got {type(masks).__name__}"
        )
    weights = dict(model.weight_parameters())
    for name, mask in masks.items():
        if name not in weights or np.shape(mask) != weights[name].shape:
            known = [] if name in weights else weights
            raise OptionError(
                f"{who}: the mask {str(name)[:80]} of shape {np.shape(mask)} fits no weight of "
                f"this model: {meant(str(name), known)}give the masks of its own ticket"
            )


def _count(
    model: Module,
    nodes: list[tuple[Function, tuple[int, ...]]],
    masks: Mapping[str, np.ndarray] | None,
) -> Costs:
    """The costs of a model by the nodes of its graph."""
    check_masks("costs", model, masks)
    weights = dict(model.weight_parameters())
    uses = _uses(weights, nodes)
    alive = {name: _alive(w, name, masks) for name, w in weights.items()}
    state = dict(model.named_state())
    return Costs(
        weights=sum(alive.values()),
        parameters=model.num_parameters() - sum(weights[n].size - alive[n] for n in weights),
        multiply_adds=sum(alive[name] * uses[name] for name in weights),
        activation_bytes=activation_bytes(state, nodes),
        bytes=sum(
            _stored(t, alive[name]) if name in weights else t.data.nbytes
            for name, t in state.items()
        ),
        uses=uses,
    )


def _alive(w: Tensor, name: str, masks: Mapping[str, np.ndarray] | None) -> int:
    """How many entries of a weight live; all without a mask."""
    mask = (masks or {}).get(name)
    return w.size if mask is None else int(np.count_nonzero(mask))


def summary(
    model: Module, input_shape: tuple[int, ...], masks: Mapping[str, np.ndarray] | None = None
) -> str:
    """A table of the layers that own parameters, for one image of `input_shape` (H, W, C).

    Output shape, weights alive in `masks` (all without), other parameters, and multiply-adds.
    Errors as of `costs`.
    """
    y = _evaluate(model, input_shape)
    nodes = list(_graph(y))
    c, shapes = _count(model, nodes, masks), _output_shapes(nodes)
    told: set[int] = set()
    rows: list[tuple[str, ...]]
    rows = [("layer", "kind", "output", "weights", "others", "multiply-adds")]
    for path, layer in model.named_modules():
        own = {f"{path}.{name}" if path else name: t for name, t in layer.members()
               if isinstance(t, Parameter)}  # fmt: skip
        own = {name: p for name, p in own.items() if id(p) not in told}  # of one in two places
        told |= {id(p) for p in own.values()}
        alive = {name: _alive(w, name, masks) for name, w in own.items() if name in c.uses}
        if own:
            others = sum(p.size for p in own.values()) - sum(own[name].size for name in alive)
            products = sum(n * c.uses[name] for name, n in alive.items())
            shape = shapes.get(id(next(iter(own.values()))), ())
            rows.append((path, *_cells(layer, shape, sum(alive.values()), others, products)))
    totals = c.weights, c.parameters - c.weights, c.multiply_adds
    rows.append(("", *_cells(model, y.shape[1:], *totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [width + 2 for width in widths[3:]]
    return "\n".join(
        "  ".join(map(str.ljust, row[:3], widths)) + "".join(map(str.rjust, row[3:], right))
        for row in rows
    )


def _cells(module: Module, shape: tuple[int, ...], *numbers: int) -> tuple[str, ...]:
    return type(module).__name__, " x ".join(map(str, shape)), *map("{:,}".format, numbers)


def _output_shapes(nodes: list[tuple[Function, tuple[int, ...]]]) -> dict[int, tuple[int, ...]]:
    """id of a parameter -> the shape, without N, of what the operation gives that reads it."""
    return {id(parent): shape[1:] for node, shape in nodes for parent in node.parents or ()}


def _stored(w: Tensor, alive: int) -> int:
    """Bytes of a tensor of which so many entries are not 0."""
    return min(alive * w.dtype.itemsize + math.ceil(w.size / 8), w.data.nbytes)


def _evaluate(model: Module, example: tuple[int, ...] | Callable[[Module], Tensor]) -> Tensor:
    """The output for a black image, or of a call, in evaluation mode, with its graph."""
    check_model("costs", model)
    if not callable(example):
        check_shape("costs", example)
    if not model.parameters():
        raise OptionError(f"costs: {type(model).__name__} has no parameters: nothing to count")
    frozen = [p for p in model.parameters() if not p.requires_grad]  # they leave no graph
    with evaluation_mode(model):
        try:
            for p in frozen:
                p.requires_grad = True
            if callable(example):
                y = example(model)
            else:
                y = model(Tensor(np.zeros((1, *example), model.parameters()[0].dtype)))
        finally:
            for p in frozen:
                p.requires_grad = False
    if not isinstance(y, Tensor):
        raise OptionError(
            f"costs: forward of {type(model).__name__} gives a {type(y).__name__}; costs are of "
            "one Tensor, the logits"
        )
    if not y.requires_grad:
        raise GraphError("costs() reads the graph of a forward pass: call it outside no_grad()")
    return y


def _graph(y: Tensor) -> Iterator[tuple[Function, tuple[int, ...]]]:
    """Every node from which y comes, and the shape of its output: each once."""
    todo: list[tuple[Function | Tensor | None, tuple[int, ...]]] = [(y._node, y.shape)]
    seen = set()
    while todo:
        node, shape = todo.pop()
        if isinstance(node, Function) and id(node) not in seen:
            seen.add(id(node))
            yield node, shape
            todo += zip(node.parents or (), node.shapes, strict=True)


def _uses(
    weights: Mapping[str, Parameter], nodes: list[tuple[Function, tuple[int, ...]]]
) -> dict[str, int]:
    """How often each entry of each weight is multiplied; a shared weight, wherever it stands."""
    names = {id(w): name for name, w in weights.items()}
    uses, factor = dict.fromkeys(weights, 0), {n: w.components for n, w in weights.items()}
    for node, _ in nodes:  # a weight that is expanded first: its products are those of its table
        if isinstance(node, GateWeight) and node.parents and id(node.parents[0]) in names:
            names[id(node)] = names[id(node.parents[0])]
        if isinstance(node, TableWeight) and node.parents and id(node.parents[0]) in names:
            name = names[id(node)] = names[id(node.parents[0])]
            factor[name] = min(4, int(np.count_nonzero(to_numpy(node.saved[1]))) // 4)
    for node, shape in nodes:
        for parent in node.parents or ():
            if id(parent) not in names or isinstance(node, GateWeight | TableWeight):
                continue
            name = names[id(parent)]
            if isinstance(node, ConvTranspose):
                rows = math.prod(node.shapes[0][:-1])  # each input pixel meets each weight
            elif isinstance(node, Conv | HamiltonLinear | MatMul | Recurrence):
                rows = math.prod(shape[:-1])
            else:
                raise OptionError(
                    f"costs: {name} goes into {node}, whose multiplications are not counted; "
                    "only plain linear layers, convolutions and recurrent layers are"
                )
            uses[name] += factor[name] * rows
    return uses


def activation_bytes(
    state: Mapping[str, Tensor], nodes: list[tuple[Function, tuple[int, ...]]]
) -> int:
    """Bytes of what nodes saved, each piece of memory once, without the parameters."""
    own = {id(_owner(t.data)) for t in state.values()}
    held: dict[int, int] = {}
    for node, _ in nodes:
        for v in node.saved:
            owner = _owner(v)
            if owner is not None and id(owner) not in own:  # a buffer may be longer, to be aligned
                held[id(owner)] = max(held.get(id(owner), 0), min(v.nbytes, owner.nbytes))
    return sum(held.values())


def _owner(a: Any) -> Any:
    """The array whose memory `a` looks at; None for what is not an array."""
    while getattr(a, "base", None) is not None:
        a = a.base
    return a if hasattr(a, "nbytes") else None
