"""From the operations of the engine to the steps of a plan: a rule for each kind of operation."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quatgrad.arrays import Array, to_numpy
from quatgrad.autograd import Function, Tensor
from quatgrad.errors import OptionError
from quatgrad.nn import Module
from quatgrad.ops import activation, arithmetic, conv, norm, pool, reduce, sequence
from quatgrad.ops import shape as moves
from quatgrad.ops.hamilton import HamiltonConv, HamiltonConvTranspose, HamiltonLinear
from quatgrad.ops.quaternion_norm import Whiten
from quatgrad.sparse.builder import NOTHING, Builder, Value
from quatgrad.sparse.steps import MaxPool, Pointwise, Product, Steps
from quatgrad.sparse.trace import Trace, trace

#: (rules, node, values of its inputs) -> the value of its output; a constant is an array.
Rule = Callable[["Follower", Any, list[Any]], Value]
RULES: dict[type[Function], Rule] = {}
#: Operations with a weight, their second input.
LAYERS = (
    arithmetic.MatMul,
    conv.Conv,
    conv.ConvTranspose,
    HamiltonLinear,
    HamiltonConv,
    HamiltonConvTranspose,
)


def rule(*kinds: type[Function]) -> Callable[[Rule], Rule]:
    """Decorator: the rule for these operations."""

    def register(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, f))
        return f

    return register


class Follower:
    """Follows a trace: constants are computed at once, all else becomes steps."""

    def __init__(self, seen: Trace, names: dict[int, str], masks: Mapping[str, Array], shape: Any):
        self.seen, self.names = seen, names
        self.masks = {name: to_numpy(mask).astype(bool, copy=False) for name, mask in masks.items()}
        self.build = Builder(shape)
        image = self.build.input
        image = Value(image.at.reshape(seen.image.shape), image.single, image.after)
        self.values: dict[int, Any] = {id(seen.image): image}

    def value(self, x: Function | Tensor) -> Any:
        """What an operation gave, or the array of a leaf, without what its mask prunes."""
        if isinstance(x, Tensor) and id(x) not in self.values:
            v = to_numpy(x.data)
            mask = self.mask(self.names.get(id(x), ""), v)
            if mask is not None and ((v != 0) > mask).any():  # it was not applied yet
                v = np.where(mask, v, v.dtype.type(0))
            self.values[id(x)] = v
        v = self.values[id(x)]
        shared = isinstance(v, Value) and self.seen.uses[id(x)] > 1
        return Value(v.at, False, v.after) if shared else v

    def follow(self, node: Function) -> None:
        """The value of the next operation."""
        inputs = self.seen.inputs[id(node)]
        values = [self.value(x) for x in inputs]
        if any(isinstance(v, Value) for v in values):
            f = RULES.get(type(node))
            self.values[id(node)] = f(self, node, values) if f else refuse(node, values)
            return
        self.values[id(node)] = np.asarray(to_numpy(node.forward(*values)))
        named = (f"{self.names[id(x)]}'" for x in inputs if id(x) in self.names)
        self.names[id(node)] = next(named, str(node))  # w' is not w: no mask of w fits it

    def weight(self, node: Function, w: Array) -> tuple[str, Array]:
        """The name of the weight of a layer, and what of it lives: its mask, or what is not 0."""
        name = self.names.get(id(self.seen.inputs[id(node)][1]), str(node))
        mask = self.mask(name, w)
        return name, w != 0 if mask is None else mask

    def mask(self, name: str, w: Array) -> Array | None:
        """The mask of a weight, if there is one that fits."""
        mask = self.masks.get(name)
        return None if mask is None or mask.shape != w.shape else mask


def follow(
    model: Module, input_shape: tuple[int, ...], masks: Mapping[str, Array] | None = None
) -> Steps:
    """The steps of a model for one image; `OptionError` names an operation that has no rule."""
    return follow_trace(trace(model, input_shape), model, input_shape, masks)


def follow_trace(
    seen: Trace,
    model: Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Array] | None = None,
) -> Steps:
    """The same of a trace."""
    names = {id(t): name for name, t in model.named_state()}
    follower = Follower(seen, names, masks or {}, _three(input_shape))
    for node in seen.nodes:
        follower.follow(node)
    return follower.build.finish(follower.values[id(seen.nodes[-1])])


def refuse(node: Function, inputs: list[Any], why: str = "a plan has no step for it") -> Any:
    """Raise the error that names an operation, and the layer before it."""
    after = next((v.after for v in inputs if isinstance(v, Value)), "the image")
    raise OptionError(f"prepare: {node}, on what comes from {after}: {why}; run the model itself")


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, int(np.prod(shape)))


# -------------------------------------------------------------------------- layers with weights


@rule(arithmetic.MatMul, HamiltonLinear)
def _linear(f: Follower, node: Any, inputs: list[Any]) -> Value:
    x, w = inputs
    if not isinstance(x, Value) or not isinstance(w, np.ndarray) or w.ndim != 2 + _is_q(node):
        refuse(node, inputs, "one factor must be a weight (P, Q), the right one")
    name, alive = f.weight(node, w)
    if not _is_q(node):
        w, alive = w[None], alive[None]
    rows = x.at.reshape(-1, x.at.shape[-1])  # (R, A P)
    if len(rows) == 1 and (window := _as_window(f.build, rows[0], w, alive)):
        y = f.build.layer(name, *window)
    else:
        m = f.build.map_at(x.at)  # its pixels are rows, in whatever shape they come
        m = m if m is not None and f.build.made.shapes[m][2] == rows.shape[1] else f.build.as_map(x)
        y = f.build.layer(name, m, w[:, None, None], alive[:, None, None])
    return Value(y.at.reshape(*x.at.shape[:-1], -1), True, name)


def _as_window(build: Builder, at: Array, w: Array, alive: Array) -> Any:
    """(map, weight, alive) of a linear layer as a window of the whole map that holds its inputs.

    None where they are from several maps, or quaternions whose components are not in blocks.
    """
    m = build.only_source(at)
    if m is None:
        return None
    H, W, C = build.made.shapes[m]
    A, P, Q = w.shape
    if A > 1 and C % A:
        return None
    blocks = at.reshape(A, P)
    place = blocks[0] - build.first[m]
    if A > 1:
        together = (blocks == blocks[0] + np.arange(A)[:, None] * (C // A)).all()
        if not together or (place % C >= C // A).any():
            return None
    here = blocks[0] != NOTHING
    if len(np.unique(place[here])) != here.sum():
        return None  # an entry that is read twice
    pixel, channel = place[here] // C, place[here] % C
    window, lives = np.zeros((A, H * W, C // A, Q), w.dtype), np.zeros((A, H * W, C // A, Q), bool)
    window[:, pixel, channel], lives[:, pixel, channel] = w[:, here], alive[:, here]
    return m, window.reshape(A, H, W, C // A, Q), lives.reshape(A, H, W, C // A, Q)


@rule(conv.Conv, HamiltonConv, conv.ConvTranspose, HamiltonConvTranspose)
def _conv(f: Follower, node: Any, inputs: list[Any]) -> Value:
    x, w = inputs
    if not isinstance(x, Value) or not isinstance(w, np.ndarray):
        refuse(node, inputs, "its weight must not depend on the image")
    name, alive = f.weight(node, w)
    if node.components == 1:
        w, alive = w[None], alive[None]
    w, alive = (_without_groups(a, node.groups) for a in (w, alive))  # (A, U, V, P, Q)
    (stride, padding), at = node.moves, x.at
    if isinstance(node, conv.ConvTranspose):
        at = _spread_out(at, node.window, node.shapes[0])
        w, alive = w[:, ::-1, ::-1], alive[:, ::-1, ::-1]
        stride, padding = (1, 1), (0, 0)
    maps = [f.build.as_map(Value(at[n : n + 1], x.single, x.after)) for n in range(len(at))]
    # several maps: the phases of a dilated convolution
    ys = [f.build.layer(name, m, w, alive, stride, padding) for m in maps]
    return ys[0] if len(ys) == 1 else Value(np.concatenate([y.at for y in ys]), True, name)


def _spread_out(at: Array, window: Any, shape: tuple[int, ...]) -> Array:
    """The map on which a convolution with the weight turned does what a transposed one does."""
    (H, W), (U, V) = window.transposed_size(shape), window.size
    N, I, J, C = at.shape
    rows = window.stride[0] * np.arange(I) + U - 1 - window.padding[0]
    columns = window.stride[1] * np.arange(J) + V - 1 - window.padding[1]
    i, j = ((rows >= 0) & (rows < H + U - 1)), ((columns >= 0) & (columns < W + V - 1))
    wide = np.full((N, H + U - 1, W + V - 1, C), NOTHING)
    wide[np.ix_(range(N), rows[i], columns[j])] = at[:, i][:, :, j]
    return wide


def _without_groups(w: Array, groups: int) -> Array:
    """A weight (A, U, V, P / groups, Q) with its zeros between the groups."""
    if groups == 1:
        return w
    *lead, P, Q = w.shape
    W = np.zeros((*lead, groups, P, Q), w.dtype)
    for g in range(groups):
        part = slice(g * Q // groups, (g + 1) * Q // groups)
        W[..., g, :, part] = w[..., part]
    return W.reshape(*lead, groups * P, Q)


def _is_q(node: Function) -> bool:
    return isinstance(node, HamiltonLinear)


# ------------------------------------------------------------------------ norms and arithmetic


@rule(norm.BatchNormEval)
def _batch_norm(f: Follower, node: Any, inputs: list[Any]) -> Value:
    x, scale, shift = inputs
    factor = scale / np.sqrt(to_numpy(node.var).astype(np.float64) + node.eps)
    return f.build.affine("batch_norm", x, factor, shift - to_numpy(node.mean) * factor)


@rule(Whiten)
def _whiten(f: Follower, node: Any, inputs: list[Any]) -> Value:
    """A linear map of each quaternion: a 1x1 layer with four weights for each output."""
    x, gamma, shift = inputs
    values, basis = np.linalg.eigh(to_numpy(node.cov))
    S = (basis / np.sqrt(np.maximum(values, 0) + node.eps)[:, None, :]) @ basis.swapaxes(1, 2)
    A = np.einsum("bdq,qdc->cbq", gamma, S)  # y_b = sum_c A[c, b] (x - mean)_c
    Q = A.shape[-1]
    w = np.zeros((4, Q, 4, Q))
    w[:, range(Q), :, range(Q)] = A.transpose(2, 0, 1)
    w = w.reshape(1, 1, 1, 4 * Q, 4 * Q)
    y = f.build.layer("whitening_norm", f.build.as_map(x), w, w != 0)
    shift = shift - to_numpy(node.mean).reshape(-1) @ w[0, 0, 0]
    return f.build.affine("", Value(y.at.reshape(x.at.shape), True, x.after), np.ones(1), shift)


@rule(arithmetic.Add, arithmetic.Sub)
def _add(f: Follower, node: Any, inputs: list[Any]) -> Value:
    a, b = inputs
    sign = -1.0 if isinstance(node, arithmetic.Sub) else 1.0
    if isinstance(b, np.ndarray) and _is_for_channels(b, a):
        return f.build.affine(str(node), a, np.ones(1), sign * b.reshape(-1))
    if isinstance(a, np.ndarray) and _is_for_channels(a, b):
        return f.build.affine(str(node), b, np.full(1, sign), a.reshape(-1))
    a, b = _broadcast(f, inputs)
    if sign < 0:
        b = f.build.affine("neg", b, np.full(1, sign), np.zeros(1))
    return f.build.sum(a, b)


@rule(arithmetic.Mul)
def _multiply(f: Follower, node: Any, inputs: list[Any]) -> Value:
    for x, c in (inputs, inputs[::-1]):
        if isinstance(c, np.ndarray) and _is_for_channels(c, x):
            return f.build.affine(str(node), x, c.reshape(-1).astype(np.float64), np.zeros(1))
    a, b = _broadcast(f, inputs)
    return _product(f, a, b)


@rule(arithmetic.Div)
def _divide(f: Follower, node: Any, inputs: list[Any]) -> Value:
    a, b = inputs
    if isinstance(b, np.ndarray):
        return _multiply(f, node, [a, np.asarray(1 / b.astype(np.float64))])
    return _multiply(f, node, [a, _function(f, "reciprocal", b)])


@rule(arithmetic.Neg)
def _negate(f: Follower, node: Any, inputs: list[Any]) -> Value:
    return f.build.affine("neg", inputs[0], np.full(1, -1.0), np.zeros(1))


@rule(arithmetic.Pow)
def _power(f: Follower, node: Any, inputs: list[Any]) -> Value:
    x, n = inputs
    n = float(n.reshape(-1)[0]) if isinstance(n, np.ndarray) and n.size == 1 else None
    if isinstance(x, Value) and n == 2:
        return _product(f, x, x)
    if isinstance(x, Value) and n in (0.5, -1.0):
        return _function(f, "sqrt" if n == 0.5 else "reciprocal", x)
    return refuse(node, inputs, "only the powers 2, 1/2 and -1 have a step")


def _product(f: Follower, a: Value, b: Value) -> Value:
    x, other = f.build.as_map(a), f.build.as_map(b)
    y = f.build.add_map(f.build.made.shapes[x])
    return f.build.result(Product("mul", x, y, other), like=a)


def _is_for_channels(c: Array, x: Any) -> bool:
    """Is it a constant for each channel of x (1, ..., C), or one for all?"""
    return isinstance(x, Value) and (
        c.size == 1 or (c.size == x.at.shape[-1] == c.shape[-1] and c.ndim <= x.at.ndim)
    )


def _broadcast(f: Follower, inputs: list[Any]) -> tuple[Value, Value]:
    """Two values of one shape; a constant becomes a map."""
    a, b = (f.build.constant(v) if isinstance(v, np.ndarray) else v.at for v in inputs)
    shape = np.broadcast_shapes(a.shape, b.shape)
    after = next(v.after for v in inputs if isinstance(v, Value))
    single = [not isinstance(v, np.ndarray) and v.single and v.at.shape == shape for v in inputs]
    x, y = (np.broadcast_to(v, shape) for v in (a, b))
    return Value(x, single[0], after), Value(y, single[1], after)


# ----------------------------------------------------------------------------------- functions


@rule(activation.ReLU)
def _relu(f: Follower, node: Any, inputs: list[Any]) -> Value:
    return f.build.relu(inputs[0])


def _function(f: Follower, name: str, x: Value, *numbers: Any) -> Value:
    m = f.build.as_map(x)
    y = f.build.add_map(f.build.made.shapes[m])
    constants = np.array(numbers, np.float32).reshape(-1)
    return f.build.result(Pointwise(name, m, y, name, constants), like=x)


@rule(activation.LeakyReLU)
def _leaky_relu(f: Follower, node: Any, inputs: list[Any]) -> Value:
    return _function(f, "leaky_relu", inputs[0], node.slope)


@rule(arithmetic.Clip)
def _clip(f: Follower, node: Any, inputs: list[Any]) -> Value:
    low = -np.inf if node.low is None else node.low
    return _function(f, "clip", inputs[0], low, np.inf if node.high is None else node.high)


@rule(activation.ModReLU)
def _modrelu(f: Follower, node: Any, inputs: list[Any]) -> Value:
    return _function(f, "modrelu", *inputs)


@rule(
    activation.GELU,
    activation.Sigmoid,
    activation.Tanh,
    arithmetic.Abs,
    arithmetic.Exp,
    arithmetic.Log,
    arithmetic.Sqrt,
)
def _plain_function(f: Follower, node: Any, inputs: list[Any]) -> Value:
    return _function(f, type(node).__name__.lower(), inputs[0])


# ------------------------------------------------------------------------------------- pooling


@rule(pool.MaxPool, pool.QuaternionMaxPool)
def _max_pool(f: Follower, node: Any, inputs: list[Any]) -> Value:
    (x,), ((U, V), stride, padding) = inputs, node.how
    whole = isinstance(node, pool.QuaternionMaxPool)
    # A quaternion 0 around the map wins over no other; of numbers only -inf does not.
    outside = NOTHING if whole or padding == (0, 0) else f.build.constant(np.full(1, -np.inf))[0]
    widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
    at = np.pad(x.at, widths, constant_values=outside)
    m = f.build.as_map(Value(at, x.single, x.after))
    H, W, C = f.build.made.shapes[m]
    shape = (H - U) // stride[0] + 1, (W - V) // stride[1] + 1, C
    step = MaxPool("max_pool", m, f.build.add_map(shape), (U, V), stride, whole)
    return f.build.result(step, after=x.after)


@rule(pool.AvgPool)
def _avg_pool(f: Follower, node: Any, inputs: list[Any]) -> Value:
    (x,), (size, stride, padding) = inputs, node.how
    m = f.build.as_map(x)
    w = np.full((*size, f.build.made.shapes[m][-1]), 1 / (size[0] * size[1]))
    return f.build.result(f.build.channelwise("avg_pool", m, w, stride, padding), after=x.after)


@rule(sequence.MeanOverTime)
def _mean_over_time(f: Follower, node: Any, inputs: list[Any]) -> Value:
    (x,) = inputs
    m = f.build.as_map(Value(x.at[:, None], False, x.after))  # (1, 1, T, C)
    _, T, C = f.build.made.shapes[m]
    length = int(to_numpy(node.lengths)[0])
    w = np.broadcast_to((np.arange(T) < length)[None, :, None] / length, (1, T, C))
    y = f.build.result(f.build.channelwise("mean_over_time", m, w), after=x.after)
    return Value(y.at.reshape(1, C), True, x.after)


@rule(reduce.Mean, reduce.Sum, reduce.Max)
def _reduce(f: Follower, node: Any, inputs: list[Any]) -> Value:
    """The reduced axes become the pixels of a map, and all others its channels."""
    (x,) = inputs
    axes = range(x.at.ndim) if node.axis is None else np.atleast_1d(node.axis) % x.at.ndim
    if 0 in axes:
        refuse(node, inputs, "it goes over the images of a batch")
    inner = [d for d in range(1, x.at.ndim) if d not in axes]
    is_map = x.at.ndim == 4 and inner == [3]
    pixels = x.at.transpose(0, *axes, *inner)
    channels = int(np.prod([x.at.shape[d] for d in inner], dtype=int))
    m = f.build.as_map(
        Value(pixels if is_map else pixels.reshape(1, 1, -1, channels), False, x.after)
    )
    H, W, C = f.build.made.shapes[m]
    if isinstance(node, reduce.Max):
        step: Any = MaxPool("max", m, f.build.add_map((1, 1, C)), (H, W), (1, 1))
    else:
        share = 1 / (H * W) if isinstance(node, reduce.Mean) else 1.0
        step = f.build.channelwise(type(node).__name__.lower(), m, np.full((H, W, C), share))
    y = f.build.result(step, after=x.after)
    shape = [1 if d in axes else n for d, n in enumerate(x.at.shape)]
    shape = shape if node.keepdims else [x.at.shape[d] for d in (0, *inner)]
    return Value(y.at.reshape(shape), True, x.after)


# ------------------------------------------------------------------------- entries that move


@rule(
    moves.Reshape,
    moves.Transpose,
    moves.Vectors,
    moves.BroadcastTo,
    moves.PadMode,
    moves.GetItem,
    moves.Concatenate,
)
def _move(f: Follower, node: Any, inputs: list[Any]) -> Value:
    at = [f.build.constant(v) if isinstance(v, np.ndarray) else v.at for v in inputs]
    values = [v for v in inputs if isinstance(v, Value)]
    return Value(node.forward(*at), all(v.single for v in values), values[0].after)


@rule(moves.Pad)
def _pad(f: Follower, node: Any, inputs: list[Any]) -> Value:
    (x,) = inputs
    outside = f.build.constant(np.full(1, node.value))[0] if node.value else NOTHING
    return Value(np.pad(x.at, node.widths, constant_values=outside), x.single, x.after)
