"""A network over the other algebra, weights and all; the network that is given stays as it is.

Everything else is copied as it stands: biases, batch norm with its statistics, modes. Masks of
weights that are converted are not: their zeros are, where the algebra allows.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Parameter, no_grad
from quatgrad.kernels.registry import kernel
from quatgrad.nn import conv
from quatgrad.nn.conv1d import Conv1d, QConv1d
from quatgrad.nn.linear import Linear, QLinear, RotationLinear
from quatgrad.nn.module import Module
from quatgrad.ops.rotation import rotation_weight

#: Real layer -> its quaternion twin, and the way back.
TO_QUATERNION: dict[type, type] = {
    Linear: QLinear,
    conv.Conv2d: conv.QConv2d,
    Conv1d: QConv1d,
    conv.ConvTranspose2d: conv.QConvTranspose2d,
}
TO_REAL: dict[type, type] = {q: r for r, q in TO_QUATERNION.items()}
TO_REAL |= {RotationLinear: Linear, conv.RotationConv2d: conv.Conv2d}


def to_quaternion(model: Module) -> Module:
    """The network with every real layer replaced by the nearest quaternion one.

    Its weight is the orthogonal projection of the real one: the average, with signs, of the four
    blocks in which a component stands. Nothing is lost where the real weight is that of a
    quaternion layer, as in what `to_real` gives. Layers whose features do not divide by 4, and
    those with groups, which would cut through the component blocks, stay real.
    """

    def convert(layer: Any) -> Module | None:
        if type(layer) not in TO_QUATERNION or groups_of(layer) != 1:
            return None
        W = layer.weight.data
        if W.shape[-2] % 4 or W.shape[-1] % 4:
            return None
        w = kernel("fold")(W) / 4  # (..., 4P, 4Q) -> (4, ..., P, Q)
        return twin_of(layer, TO_QUATERNION[type(layer)], w)

    return rebuild(model, convert)


def to_real(model: Module) -> Module:
    """The network with every quaternion layer replaced by the real one that computes the same.

    A layer gets four times the weights, its expanded weight: `kernels.reference.expand`. Groups
    become the zeros of a block-diagonal weight, rotations their matrices. Recurrent layers and
    those of sham algebras stay as they are.
    """

    def convert(layer: Any) -> Module | None:
        if type(layer) not in TO_REAL:
            return None
        if isinstance(layer, RotationLinear | conv.RotationConv2d):
            with no_grad():
                W = rotation_weight(layer.weight, layer.scale).data
        else:
            w = _dense(layer.weight.data, groups_of(layer))
            W = kernel("expand")(w)  # (4, ..., P, Q) -> (..., 4P, 4Q)
        return twin_of(layer, TO_REAL[type(layer)], W)

    return rebuild(model, convert)


def rebuild(model: Module, convert: Callable[[Module], Module | None]) -> Module:
    """A deep copy of the model in which converted layers stand where the old ones stood.

    `deepcopy` asks its memo for what it has copied before, by id: there the new layers wait. So
    they are found wherever a model may hold a layer, and a shared layer stays shared.
    """
    memo: dict[int, object] = {}
    for _, layer in model.named_modules():
        new = convert(layer)
        if new is not None:
            memo[id(layer)] = new
    is_another = bool(memo) and model.architecture is not None
    rebuilt = deepcopy(model, memo)
    if is_another:
        rebuilt.architecture = None  # `models.create` was asked for another network
    return rebuilt


def twin_of(layer: Module, kind: Any, weight: Array) -> Module:
    """A layer of another kind with the options and the bias of this one."""
    twin = kind.__new__(kind)
    for name, value in vars(layer).items():  # the order of the parameters stays
        if name == "weight":
            twin.weight = Parameter(weight, components=4 if kind in TO_REAL else 1)
            twin.weight.requires_grad = value.requires_grad
        elif name != "scale":  # a rotation's is in the weight
            setattr(twin, name, deepcopy(value))
    if hasattr(twin, "window"):
        twin.window = replace(twin.window, op=kind.__name__, groups=1)
    return twin


def groups_of(layer: Any) -> int:
    """The groups of a convolution; 1 for other layers."""
    return layer.window.groups if isinstance(layer, conv.Convolution) else 1


def _dense(w: Array, groups: int) -> Array:
    """The weight (..., P, Q) without groups: (..., groups P, Q), zero between the groups."""
    *lead, P, Q = w.shape
    W = array_module(w).zeros((*lead, groups * P, Q), w.dtype)  # (..., P, Q) -> (..., groups P, Q)
    for g in range(groups):
        columns = slice(g * Q // groups, (g + 1) * Q // groups)
        W[..., g * P : (g + 1) * P, columns] = w[..., columns]
    return W
