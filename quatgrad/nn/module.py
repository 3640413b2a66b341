"""Module: a layer or network that owns parameters, buffers and other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from contextlib import contextmanager
from pathlib import Path
from reprlib import recursive_repr
from types import GeneratorType
from typing import Any

import numpy as np

from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import DTypeError, OptionError, ShapeError
from quatgrad.tensor_file import write_tensors


class Buffer(Tensor):
    """State that belongs to a module but is not learned, such as running statistics."""

    __slots__ = ()


class Module:
    """A function with state. Subclasses set attributes in `__init__` and define `forward`.

    Every `Parameter`, `Buffer` or `Module` held by an attribute belongs to the module, also
    inside lists, tuples and dicts; in any other container it is an error. Names are paths,
    "stages.0.conv1.weight", in the order in which the attributes were set.
    """

    training: bool = True
    architecture: Mapping[str, Any] | None = None  # what `models.create` was asked for
    tables: tuple[str, ...] = ()  # its own parameters of several axes that multiply no input

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; call the module itself, not this."""
        raise TypeError(f"{type(self).__name__} does not define forward(self, x)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`forward(x)`, or whatever else forward takes."""
        return self.forward(*inputs, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        if isinstance(old, Parameter | Buffer) and not isinstance(value, Parameter | Buffer | None):
            kind = type(old).__name__
            raise OptionError(
                f"{type(self).__name__}.{name} is a {kind}, and a {type(value).__name__} in its "
                f"place would not belong to the module: assign to {name}.data, or give a {kind}"
            )
        super().__setattr__(name, value)

    # ------------------------------------------------------------------ what it is made of

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """Its own parameters, buffers and modules, by name, without what its modules own."""
        for name, value in vars(self).items():
            yield from _members(name, value)

    def named_modules(
        self, prefix: str = "", above: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Module]]:
        """This module ("") and all below, parents first; those `above` cannot be below too."""
        if any(self is module for module in above):
            raise OptionError(f"modules in a circle: {prefix} is one of those that hold it")
        yield prefix, self
        for name, member in self.members():
            if isinstance(member, Module):
                yield from member.named_modules(_join(prefix, name), (*above, self))

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers by name; one that is shared appears once."""
        seen: set[int | str] = set()
        for path, module in self.named_modules():
            for name, member in module.members():
                if isinstance(member, Tensor) and id(member) not in seen:
                    full = _join(path, name)
                    if full in seen:
                        raise OptionError(f"two members are called {full}: rename one of them")
                    seen |= {id(member), full}
                    yield full, member

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters by name."""
        return ((name, t) for name, t in self.named_state() if isinstance(t, Parameter))

    def parameters(self) -> list[Parameter]:
        """All parameters."""
        return [p for _, p in self.named_parameters()]

    def weight_parameters(self) -> list[tuple[str, Parameter]]:
        """The weights that multiply inputs: parameters of two or more axes, but for `tables`.

        Biases and batch-norm parameters have one axis and are never pruned, as in the paper. Nor
        are tables, which a layer names: embeddings of words and places.
        """
        modules = [module for _, module in self.named_modules()]
        tables = {id(vars(module)[name]) for module in modules for name in module.tables}
        named = self.named_parameters()
        return [(name, p) for name, p in named if p.ndim >= 2 and id(p) not in tables]

    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.size for p in self.parameters())

    # ------------------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers, on the host, by name."""
        return {name: t.numpy().copy() for name, t in self.named_state()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Write back what `state_dict` gave; (names that were missing, names that are unknown).

        Names must agree if `strict`; else what both have is written. Shapes and dtypes must agree,
        or nothing is written.
        """
        own = dict(self.named_state())
        missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
        if strict and (missing or unknown):
            raise ShapeError(
                f"the state does not fit this {type(self).__name__}: "
                f"missing {_some(missing)}, unknown {_some(unknown)}"
            )
        both = {name: t for name, t in own.items() if name in state}
        for name, t in both.items():
            shape, dtype = np.shape(state[name]), getattr(state[name], "dtype", t.dtype)
            if shape != t.shape or dtype != t.dtype:
                raise (DTypeError if shape == t.shape else ShapeError)(
                    f"the state does not fit this {type(self).__name__}: {name} is {dtype} of "
                    f"shape {shape} there and {t.dtype} of shape {t.shape} here"
                )
        for name, t in both.items():
            t.data = state[name]
        return sorted(missing), sorted(unknown)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def save(self, path: str | Path) -> None:
        """Write weights, buffers and architecture to one file, which `quatgrad.load` reads.

        It is a .safetensors file, without code, and whole or not there at all: else `DataError`.
        """
        write_tensors(path, self.state_dict(), self.about())

    def about(self) -> dict[str, Any]:
        """What a file says of this module: its architecture, and the type of each layer by name."""
        layers = {name: type(module).__name__ for name, module in self.named_modules()}
        return {"architecture": self.architecture, "layers": layers}

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all below: batch statistics, dropout on."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: running statistics, dropout off."""
        return self.train(False)

    # ------------------------------------------------------------------------------- repr

    def extra_repr(self) -> str:
        """What stands between the parentheses of a layer's repr."""
        return ""

    @recursive_repr()
    def __repr__(self) -> str:
        modules = [(name, m) for name, m in self.members() if isinstance(m, Module)]
        if not modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"{name}: {module!r}".replace("\n", "\n  ") for name, module in modules]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"


def _members(name: str, value: Any) -> Iterator[tuple[str, Tensor | Module]]:
    if isinstance(value, Parameter | Buffer | Module):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _members(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _members(f"{name}.{key}", item)
    elif _hides_members(value):
        kind = type(value).__name__
        raise OptionError(f"{name} is a {kind}: hold layers in a list, a tuple or a dict")


def _hides_members(value: Any) -> bool:
    """Is it a container of members that is not looked into, or one that can be read only once?"""
    if isinstance(value, str | bytes | bytearray | memoryview | range):
        return False
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, Set | Sequence | ValuesView):
        items = value
    elif isinstance(value, np.ndarray) and value.dtype == object:
        items = value.flat
    once = isinstance(value, GeneratorType | map | filter | zip)
    return once or any(True for item in items for _ in _members("", item))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{shown}, ... ({len(names)})" if len(names) > 3 else shown or "nothing"


@contextmanager
def evaluation_mode(model: Module) -> Iterator[None]:
    """In the block the model is in evaluation mode; then each module is in its mode of before."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
