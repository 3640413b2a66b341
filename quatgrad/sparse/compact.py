"""A plan made smaller, and exactly the same: channels that nobody reads go, constant ones fold.

A channel is constant where none of its weights lives: relu(shift) at every pixel. Who reads it adds
w c to each sum: that is a part of its shift. Around a map lie zeros, though, and there the sum has
fewer parts. So in a layer with padding only a channel that is 0 folds; of others the weights are
put together on one of them, which stays a map:

    w_p c_p + w_r c_r = (w_p c_p / c_r + w_r) c_r

Then whoever reads a channel is followed from the output back; what is left of a layer whose filters
were pruned is a smaller dense layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.kernels.reference.quaternion import expand
from quatgrad.sparse.reference import FUNCTIONS
from quatgrad.sparse.steps import (
    INPUT,
    Channelwise,
    Layer,
    MaxPool,
    Move,
    Pointwise,
    Product,
    Shape,
    Step,
    Steps,
    Taps,
)

#: Map -> of each of its channels the value, the same at every pixel; NaN where it has none.
Values = dict[int, Array]
#: Map -> bool for each of its channels.
Channels = dict[int, Array]


def compact(steps: Steps) -> Steps:
    """The same logits from fewer channels; the steps that are given stay as they are."""
    folded, _ = fold_constants(steps)
    folded = folded.without_unused()
    return _cut(folded, _kept(folded, read_channels(folded)))


# ---------------------------------------------------------------------------------- constants


def fold_constants(steps: Steps) -> tuple[Steps, Values]:
    """The steps, each without what its constant inputs make of it; and what is constant."""
    values: Values = {m: np.full(shape[2], np.nan) for m, shape in enumerate(steps.shapes)}
    values |= {m: c.ravel().astype(np.float64) for m, c in steps.constants.items()}
    done = []
    for step in steps.steps:
        step, value = FOLD[type(step)](step, values, steps.shapes)
        values[step.y] = np.where(np.isfinite(value), value, np.nan)
        done.append(step)
    return Steps(steps.shapes, done, steps.constants, steps.output), values


def _fold_layer(step: Layer, values: Values, shapes: list[Shape]) -> tuple[Layer, Array]:
    A, *_, P, _Q = step.weight.shape
    c = values[step.x].reshape(A, P)
    constant = ~np.isnan(c).any(axis=0)  # (P,)
    folds = constant & ((step.padding == (0, 0)) | (c == 0).all(axis=0))
    if folds.any():
        w = np.where(step.alive, step.weight, 0)[:, :, :, folds].sum(axis=(1, 2), dtype=np.float64)
        sums = c[:, folds].ravel() @ (expand(w) if A == 4 else w[0])  # (A Q,)
        alive = step.alive & ~folds[:, None]
        step = replace(step, alive=alive, shift=_shifted(step, sums))
    if A == 1:
        step = _together(step, np.flatnonzero(constant & ~folds), c)
    is_empty = np.tile(~step.alive.any(axis=(0, 1, 2, 3)), A)  # (A Q,)
    return _stored(step, np.where(is_empty, step.shift, np.nan), values)


def _shifted(step: Taps, sums: Array) -> Array:
    scale = 1 if step.scale is None else step.scale.astype(np.float64)
    return (step.shift + scale * sums).astype(np.float32)


def _together(step: Layer, constant: Array, c: Array) -> Layer:
    """The weights of constant channels, none of them 0, on the largest of these."""
    if len(constant) < 2:
        return step
    r = constant[np.argmax(abs(c[0, constant]))]
    share = c[:, constant] / c[:, r]
    weight, alive = step.weight.copy(), step.alive.copy()
    w = np.where(alive, weight, 0)[:, :, :, constant].astype(np.float64)
    weight[:, :, :, r] = np.einsum("auvpq,ap->auvq", w, share)
    lives = alive[:, :, :, constant].any(axis=3)
    alive[:, :, :, constant] = False
    alive[:, :, :, r] = lives
    return replace(step, weight=weight, alive=alive)


def _stored(step: Any, value: Array, values: Values) -> tuple[Any, Array]:
    """The step, and the values of the channels that it stores: of `value` before the residual."""
    if step.residual is not None:
        other = values[step.residual]
        value = value + other
        if not np.isnan(other).any():
            step = replace(step, shift=(step.shift + other).astype(np.float32), residual=None)
    return step, np.maximum(value, 0) if step.relu else value


def _fold_channelwise(step: Channelwise, values: Values, shapes: list[Shape]) -> Any:
    c = values[step.x]
    c = c if step.padding == (0, 0) else np.where(c == 0, 0, np.nan)
    value = _shifted(
        replace(step, shift=step.shift.astype(np.float64)), c * step.weight.sum((0, 1))
    )
    return _stored(step, value, values)


def _fold_max_pool(step: MaxPool, values: Values, shapes: list[Shape]) -> tuple[Step, Array]:
    return step, values[step.x]


def _fold_move(step: Move, values: Values, shapes: list[Shape]) -> tuple[Step, Array]:
    parts = [np.tile(values[m], shapes[m][0] * shapes[m][1]) for m in step.sources]
    all_entries = np.concatenate([*parts, np.zeros(1)])  # the last one: of what is NOTHING
    y = all_entries[step.index].reshape(-1, shapes[step.y][2])
    return step, np.where((y == y[0]).all(axis=0), y[0], np.nan)


def _fold_pointwise(step: Pointwise, values: Values, shapes: list[Shape]) -> tuple[Step, Array]:
    with np.errstate(all="ignore"):
        return step, FUNCTIONS[step.function](values[step.x][None], *step.numbers)[0]


def _fold_product(step: Product, values: Values, shapes: list[Shape]) -> tuple[Step, Array]:
    return step, values[step.x] * values[step.other]


FOLD: dict[type[Step], Callable[..., tuple[Any, Array]]] = {
    Layer: _fold_layer,
    Channelwise: _fold_channelwise,
    MaxPool: _fold_max_pool,
    Move: _fold_move,
    Pointwise: _fold_pointwise,
    Product: _fold_product,
}


# --------------------------------------------------------------------------- who reads what


def read_channels(steps: Steps) -> Channels:
    """From the output back: the channels on which it depends."""
    read = {m: np.zeros(shape[2], bool) for m, shape in enumerate(steps.shapes)}
    read[steps.output][:] = True
    for step in reversed(steps.steps):
        wanted = read[step.y]
        if _has_quaternions(step):
            wanted = _whole(wanted)
        if isinstance(step, Layer):
            A, *_, Q = step.weight.shape
            outputs = wanted.reshape(A, Q).any(axis=0)
            read[step.x] |= np.tile(step.alive[..., outputs].any(axis=(0, 1, 2, 4)), A)
        elif isinstance(step, Move):
            _read_entries(step, wanted, steps, read)
        for m in _side_by_side(step):
            read[m] |= wanted
    return read


def _read_entries(step: Move, wanted: Array, steps: Steps, read: Channels) -> None:
    index = step.index.reshape(-1, len(wanted))[:, wanted].ravel()
    first = 0
    for m in step.sources:
        size = int(np.prod(steps.shapes[m]))
        inside = index[(index >= first) & (index < first + size)] - first
        read[m][inside % steps.shapes[m][2]] = True
        first += size


def _side_by_side(step: Step) -> tuple[int, ...]:
    """The maps that a step reads channel by channel: a channel of y needs the same of these."""
    if isinstance(step, Layer):
        return step.reads[1:]
    return () if isinstance(step, Move) else step.reads


def _has_quaternions(step: Step) -> bool:
    layer = isinstance(step, Layer) and step.components == 4
    pool = isinstance(step, MaxPool) and step.quaternions
    return layer or pool or (isinstance(step, Pointwise) and step.function == "modrelu")


def _whole(channels: Array) -> Array:
    """All components of the quaternions of which there is any."""
    return np.tile(channels.reshape(4, -1).any(axis=0), 4)


def _kept(steps: Steps, read: Channels) -> Channels:
    """What stays: the same of maps that are read side by side; whole quaternions; all of the ends.

    At least one channel of each map stays.
    """
    group = list(range(len(steps.shapes)))
    for step in steps.steps:
        for m in _side_by_side(step):
            a, b = group[m], group[step.y]
            group = [b if g == a else g for g in group]
    quaternions = {group[m] for s in steps.steps if _has_quaternions(s) for m in (s.x, s.y)}
    kept: Channels = {}
    for g in set(group):
        members = [m for m in range(len(group)) if group[m] == g]
        channels = np.any([read[m] for m in members], axis=0)
        if {INPUT, steps.output} & {*members}:
            channels[:] = True
        if not channels.any():
            channels[:1] = True
        kept |= dict.fromkeys(members, _whole(channels) if g in quaternions else channels)
    return kept


# ------------------------------------------------------------------------------------ cutting


def _cut(steps: Steps, kept: Channels) -> Steps:
    """The steps with these channels alone."""
    if all(k.all() for k in kept.values()):
        return steps
    shapes = [(H, W, int(kept[m].sum())) for m, (H, W, _) in enumerate(steps.shapes)]
    constants = {m: c[:, :, kept[m]] for m, c in steps.constants.items()}
    done = [CUT.get(type(step), _same)(step, kept, steps.shapes) for step in steps.steps]
    return Steps(shapes, done, constants, steps.output)


def _cut_taps(step: Any, kept: Channels, shapes: list[Shape]) -> Taps:
    y = kept[step.y]
    scale = None if step.scale is None else step.scale[y]
    step = replace(step, shift=step.shift[y], scale=scale)
    if isinstance(step, Channelwise):
        return replace(step, weight=np.ascontiguousarray(step.weight[:, :, y]))
    *_, P, Q = step.weight.shape
    p, q = np.flatnonzero(kept[step.x][:P]), np.flatnonzero(y[:Q])
    weight, alive = (a.take(p, axis=3).take(q, axis=4) for a in (step.weight, step.alive))
    return replace(step, weight=weight, alive=alive)


def _cut_move(step: Move, kept: Channels, shapes: list[Shape]) -> Move:
    parts, end = [], 0  # where each entry of a source is now
    for m in step.sources:
        stays = np.tile(kept[m], shapes[m][0] * shapes[m][1])
        parts.append(np.where(stays, end + np.cumsum(stays) - 1, -1))
        end += int(stays.sum())
    place = np.concatenate([*parts, np.full(1, -1)])
    index = step.index.reshape(-1, shapes[step.y][2])[:, kept[step.y]].ravel()
    return replace(step, index=place[index])


def _cut_pointwise(step: Pointwise, kept: Channels, shapes: list[Shape]) -> Pointwise:
    Q = shapes[step.y][2] // 4
    if step.function != "modrelu" or len(step.numbers) != Q:
        return step
    return replace(step, numbers=step.numbers[kept[step.y][:Q]])


def _same(step: Step, kept: Channels, shapes: list[Shape]) -> Step:
    return step


CUT: dict[type[Step], Callable[..., Step]] = {
    Layer: _cut_taps,
    Channelwise: _cut_taps,
    Move: _cut_move,
    Pointwise: _cut_pointwise,
}
