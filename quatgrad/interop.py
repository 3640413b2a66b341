"""Weights of PyTorch in and out. PyTorch itself is not needed.

    from_torch(model, "weights.safetensors")      a file ...
    from_torch(model, torch_model.state_dict())   ... or what PyTorch holds
    to_torch(model)                               arrays by PyTorch's names
    save_torch(model, "weights.safetensors")

Layer by layer, ours and PyTorch's:

    Conv2d        weight (U, V, P, Q)       weight (Q, P, U, V)
    Linear        weight (P, Q)             weight (Q, P)
    BatchNorm2d   scale, shift              weight, bias
    QConv2d       weight (4, U, V, P, Q)    r_weight, i_weight, j_weight, k_weight,
    QLinear       weight (4, P, Q)          each laid out as `LIBRARIES` says

Names of layers are the same, but for ResNets: theirs are those of torchvision (layer1.0.conv1,
downsample, fc) or of pytorch-cifar (shortcut, linear). Maps turn as well: ours are (N, H, W, C).
So the inputs of a linear layer behind a `Flatten` stand in another order, and are put into theirs.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from quatgrad.errors import DataError, OptionError, ShapeError, unknown
from quatgrad.files import write_whole
from quatgrad.models.resnet import ResNet
from quatgrad.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module
from quatgrad.nn.conv import QConv2d
from quatgrad.nn.linear import QLinear
from quatgrad.tensor_file import read_safetensors

#: Library of quaternion layers -> axes of its (convolution, linear) weights as those of ours
#: (U, V, P, Q) and (P, Q), and the signs of its components: -1 where it computes conj(w) x.
LIBRARIES = {
    "orkis": ((2, 3, 1, 0), (0, 1), (1, 1, 1, 1)),  # (Q, P, U, V), (P, Q)
    "htorch": ((2, 3, 0, 1), (0, 1), (1, 1, 1, 1)),  # (P, Q, U, V), (P, Q)
    "qytorch": ((2, 3, 1, 0), (1, 0), (1, -1, -1, -1)),  # (Q, P, U, V), (Q, P)
}
#: Names of a ResNet's shortcuts and of its last layer.
RESNETS = {"torchvision": ("downsample", "fc"), "pytorch-cifar": ("shortcut", "linear")}

REAL_CONV, REAL_LINEAR = (3, 2, 0, 1), (1, 0)  # our axes as PyTorch's
NORM = {"scale": "weight", "shift": "bias"}


def from_torch(
    model: Module, source: str | Path | Mapping[str, Any], library: str = "orkis"
) -> None:
    """Write PyTorch's weights into the model, all or none.

    `source` is a .safetensors file, or a state_dict: names -> arrays or tensors. `library`, one of
    `LIBRARIES`, says how quaternion weights lie in it. Raises `ShapeError` for names or shapes
    that do not fit, `DataError` for a file that cannot be read.
    """
    state = _state(source)
    style, orders = _style(state) if isinstance(model, ResNet) else None, _orders(model)
    new, used = {}, set()
    for name, layer, member in _members(model):
        theirs = _their_names(name, layer, member, style)
        missing = [n for n in theirs if n not in state]
        if missing:
            raise ShapeError(
                f"the weights do not fit this model: there is no {missing[0]}; make the model that "
                "they were trained for"
            )
        used |= set(theirs)
        a = _turned_in(layer, member, [state[n] for n in theirs], library)
        like = getattr(layer, member)
        if a.shape != like.shape:
            raise ShapeError(
                f"the weights do not fit this model: {theirs[0]} is {state[theirs[0]].shape}, "
                f"which makes {a.shape} here; {_join(name, member)} is {like.shape}: make the "
                "model that they were trained for, or name another `library`"
            )
        if id(layer) in orders and member != "bias":
            a = _in_order(layer, a, np.argsort(orders[id(layer)]))
        new[_join(name, member)] = a.astype(like.dtype)
    left = sorted(state.keys() - used)
    if left:
        raise ShapeError(
            f"the weights do not fit this model: it has no place for {', '.join(left[:3])}"
            + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            + "; make the model that they were trained for, or leave these out"
        )
    own = model.state_dict()  # where a layer that stands in two places has one name
    model.load_state_dict(own | {name: a for name, a in new.items() if name in own})


def to_torch(
    model: Module, style: str = "torchvision", library: str = "orkis"
) -> dict[str, np.ndarray]:
    """The model's weights and running statistics by PyTorch's names, in PyTorch's layout.

    `style`, one of `RESNETS`, names the layers of a ResNet. `torch.from_numpy` of each is what a
    `load_state_dict` takes.
    """
    if style not in RESNETS:
        raise OptionError(unknown("style", style, RESNETS))
    state: dict[str, np.ndarray] = {}
    known, orders = style if isinstance(model, ResNet) else None, _orders(model)
    for name, layer, member in _members(model):
        a = getattr(layer, member).numpy()
        if id(layer) in orders and member != "bias":
            a = _in_order(layer, a, orders[id(layer)])
        arrays = _turned_out(layer, member, a, library)
        theirs = _their_names(name, layer, member, known)
        state |= {n: np.ascontiguousarray(a) for n, a in zip(theirs, arrays, strict=True)}
    return state


def save_torch(
    model: Module, path: str | Path, style: str = "torchvision", library: str = "orkis"
) -> None:
    """`to_torch` as a .safetensors file, written whole or not at all."""
    try:
        write_whole(Path(path), save(to_torch(model, style, library), {"format": "pt"}))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _state(source: str | Path | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Their arrays by name; what PyTorch counts, and what DataParallel puts in front, goes."""
    if isinstance(source, str | Path):
        if Path(source).suffix in (".pt", ".pth"):
            raise DataError(
                f"{source} is a pickle of PyTorch: give torch.load({str(source)!r}, "
                "weights_only=True), or write it with safetensors"
            )
        source = read_safetensors(source)[0]
    parallel = "module." if all(name.startswith("module.") for name in source) else ""
    arrays = {name.removeprefix(parallel): np.asarray(a) for name, a in source.items()}
    return {n: a for n, a in arrays.items() if not n.endswith("num_batches_tracked")}


def _style(state: Mapping[str, Any]) -> str:
    cifar = any(re.match(r"linear\.|layer\d+\.\d+\.shortcut\.", name) for name in state)
    return "pytorch-cifar" if cifar else "torchvision"


def _members(model: Module) -> Iterator[tuple[str, Module, str]]:
    """(name of a layer, the layer, name of a parameter or buffer of it), for all of a model."""
    for name, layer in model.named_modules():
        for member, t in layer.members():
            if isinstance(t, Module) or isinstance(layer, Dropout):  # it counts what it has drawn
                continue
            if type(layer) not in (Conv2d, QConv2d, Linear, QLinear, BatchNorm2d):
                raise OptionError(
                    f"{_join(name, member)} belongs to a {type(layer).__name__}, which PyTorch "
                    "does not have: linear layers, convolutions and batch norms can be exchanged"
                )
            yield name, layer, member


def _orders(model: Module) -> dict[int, np.ndarray]:
    """id of a layer behind a `Flatten` -> which of its inputs stand where in PyTorch.

    A map (H, W, C) of quaternions becomes (4, H, W, Q) here, another (H, W, C); there (C, H, W).
    Layers are looked at in the order of their names: the first linear one behind a `Flatten` reads
    its map, and norms of that width between them. `OptionError` where this cannot be so.
    """
    C = (model.architecture or {}).get("in_channels")
    found: dict[int, np.ndarray] = {}
    layers: dict[int, tuple[str, Module]] = {}
    for name, layer in model.named_modules():
        layers.setdefault(id(layer), (name, layer))  # of one in two places its first name
    norms: list[BatchNorm2d] | None = None  # since a Flatten, until its linear layer
    width, widths, late = 0, set[int](), ""  # of the map; of what later layers give; a convolution
    for name, layer in layers.values():
        if isinstance(layer, Flatten):
            norms, late = [], ""
        elif isinstance(layer, Conv2d):
            C = layer.weight.shape[-1] * layer.weight.components
            late = name if width else ""
        elif isinstance(layer, BatchNorm2d) and norms is not None:
            norms.append(layer)
        elif isinstance(layer, BatchNorm2d | Linear):
            P = _width(layer, -2)
            if norms is None and width == P and P not in widths:
                raise _unknown_order(name, "seems to read a flattened map, as a layer before it")
            widths.add(_width(layer, -1))
        if isinstance(layer, Linear) and norms is not None:
            order = _order(name, layer, C)
            if (order != np.arange(len(order))).any():
                found[id(layer)] = order[: layer.weight.shape[-2]]  # of all components the same
                found |= {id(norm): order for norm in norms if _width(norm, -2) == len(order)}
                width = len(order)
            norms, widths = None, {_width(layer, -1)}
    if late:
        raise _unknown_order(late, "is named behind a flattened map")
    if norms is not None and any(
        id(layer) not in found and _may_read(layer, C) for _, layer in layers.values()
    ):
        raise _unknown_order("a linear layer", "may read a map that is flattened behind it")
    return found


def _width(layer: Any, axis: int) -> int:
    """How many numbers go in (axis -2) or come out (-1)."""
    if isinstance(layer, BatchNorm2d):
        return len(layer.scale.data)
    return layer.weight.shape[axis] * layer.weight.components


def _may_read(layer: Module, C: int | None) -> bool:
    """Does a linear layer have the inputs of several pixels of C channels?"""
    if not isinstance(layer, Linear) or not C:
        return False
    P = _width(layer, -2)
    return P > C and P % C == 0


def _order(name: str, layer: Any, C: int | None) -> np.ndarray:
    P = _width(layer, -2)
    if not C or P % C:
        raise OptionError(
            f"{name} stands behind a Flatten, and nothing says how many channels its map "
            "has: its inputs stand in another order in PyTorch; flatten by hand there"
        )
    if C % 4 and layer.weight.components == 4:
        raise _unknown_order(name, f"has quaternions of a map of {C} channels")
    A = 1 if C % 4 else 4
    return np.arange(P).reshape(A, P // C, C // A).transpose(0, 2, 1).ravel()


def _unknown_order(name: str, why: str) -> OptionError:
    return OptionError(
        f"{name} {why}, and nothing says in which order inputs stand in PyTorch: name layers in "
        "the order in which they compute, or flatten by hand there"
    )


def _in_order(layer: Module, a: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The inputs of a layer in another order: rows of a weight (..., P, Q), numbers of a norm."""
    return a[order] if isinstance(layer, BatchNorm2d) else a[..., order, :]


def _their_names(name: str, layer: Module, member: str, style: str | None) -> list[str]:
    """What PyTorch calls a parameter or buffer: four names for a quaternion weight.

    `style` is that of a ResNet; other networks have the same names.
    """
    if style is not None:
        shortcut, head = RESNETS[style]
        name = re.sub(r"^stages\.(\d+)\.", lambda m: f"layer{int(m[1]) + 1}.", name).replace(
            ".shortcut.", f".{shortcut}."
        )
        names = {"stem": "conv1", "bn": "bn1", "head": head, "head.1": head}  # behind a Dropout
        name = names.get(name, name)
    if member == "weight" and isinstance(layer, QConv2d | QLinear):
        return [_join(name, f"{part}_weight") for part in "rijk"]
    return [_join(name, NORM.get(member, member) if isinstance(layer, BatchNorm2d) else member)]


def _turned_in(layer: Module, member: str, arrays: list[np.ndarray], library: str) -> np.ndarray:
    if member != "weight":
        return arrays[0]
    if len(arrays) == 4:
        axes, signs = _layout(layer, library)
        if len({a.shape for a in arrays}) > 1:
            raise ShapeError(
                "the weights do not fit this model: the four components of a quaternion weight "
                f"have shapes {', '.join(str(a.shape) for a in arrays)}"
            )
        return np.stack([s * _transposed(a, axes) for s, a in zip(signs, arrays, strict=True)])
    axes = REAL_CONV if isinstance(layer, Conv2d) else REAL_LINEAR
    return _transposed(arrays[0], np.argsort(axes))


def _turned_out(layer: Module, member: str, array: np.ndarray, library: str) -> list[np.ndarray]:
    if member != "weight":
        return [array]
    if isinstance(layer, QConv2d | QLinear):
        axes, signs = _layout(layer, library)
        back = np.argsort(axes)
        return [s * _transposed(a, back) for s, a in zip(signs, array, strict=True)]
    return [_transposed(array, REAL_CONV if isinstance(layer, Conv2d) else REAL_LINEAR)]


def _layout(layer: Module, library: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if library not in LIBRARIES:
        raise OptionError(unknown("library of quaternion layers", library, LIBRARIES))
    conv, linear, signs = LIBRARIES[library]
    return (conv if isinstance(layer, Conv2d) else linear), signs


def _transposed(a: np.ndarray, axes: Any) -> np.ndarray:
    if a.ndim != len(axes):
        raise ShapeError(f"a weight of {len(axes)} axes was expected; got one of shape {a.shape}")
    return a.transpose(axes)


def _join(name: str, member: str) -> str:
    return f"{name}.{member}" if name else member
