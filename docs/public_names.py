"""The public names of the package: what the rooms of the house give, read from their source.

The names of a room are those of `__all__`, else what its `__init__` imports from its own files and
defines; of a room that is one file, what that file defines. Each is documented once, under the
room that it is asked for from.
"""

import ast
import inspect
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

FAST_RUNGS = ("numba_cpu", "cupy_gpu")
PACKAGE = Path(__file__).parent.parent / "quatgrad"

#: The rooms in the order of the site: module -> what it is for.
ROOMS = {
    "quatgrad": "tensors, gradients, backends",
    "quatgrad.ops": "differentiable operations",
    "quatgrad.ops.algebra": "functions of quaternions, with gradients",
    "quatgrad.nn": "layers",
    "quatgrad.nn.init": "first weights",
    "quatgrad.nn.convert": "a network over the other algebra",
    "quatgrad.models": "networks by name",
    "quatgrad.models.equal": "a real network with as many weights",
    "quatgrad.models.algebra": "what networks are made of",
    "quatgrad.sham": "controls: layers over other algebras",
    "quatgrad.optim": "optimizers and schedules",
    "quatgrad.data": "datasets and batches",
    "quatgrad.data.pictures": "pictures from files",
    "quatgrad.task": "what is learned",
    "quatgrad.boxes": "boxes on pictures",
    "quatgrad.train": "the training loop",
    "quatgrad.network": "a trained network in a file",
    "quatgrad.interop": "weights of PyTorch",
    "quatgrad.costs": "weights, multiply-adds, memory",
    "quatgrad.lth": "lottery tickets",
    "quatgrad.lth.prune.scores": "how much a weight matters",
    "quatgrad.lth.command": "the command from Python",
    "quatgrad.sparse": "networks prepared for inference",
    "quatgrad.parallel": "several processes",
    "quatgrad.paper": "the two papers reproduced",
    "quatgrad.paper.published": "what they published, as curves",
    "quatgrad.paper.curves": "accuracy against what is left of a network",
    "quatgrad.paper.ours": "runs as such curves",
    "quatgrad.paper.measure": "gaps, crossovers, jitter",
    "quatgrad.paper.claims": "what they claim, judged",
    "quatgrad.paper.verify": "our curves beside theirs",
    "quatgrad.paper.figures": "pictures of both",
    "quatgrad.paper.experiments": "their figures and tables by name",
    "quatgrad.quaternion": "the algebra on arrays",
    "quatgrad.testing": "checks, also of your own operations",
    "quatgrad.testing.strategies": "for hypothesis",
    "quatgrad.kernels": "the ladder of kernels",
    "quatgrad.kernels.reference": "kernels as formulas",
    "quatgrad.kernels.numba_cpu.conv.algorithm": "which way a convolution goes on a CPU",
    "quatgrad.backend": "what computes",
    "quatgrad.random": "random draws",
    "quatgrad.errors": "exceptions",
}

#: What the rooms are built of. Nobody outside of the package calls it, and it may change.
INSIDE = (
    "__main__ arrays calls compile_ahead files flat_parameters lessons option_fields recording "
    "scalars step_calls step_graphs tensor_file kernels.numba_cpu kernels.cupy_gpu lth.analysis "
    "lth.results lth.tune sparse.compiled"
)


@dataclass(frozen=True)
class Name:
    """A public name: `room`.`name`, which comes from the file `origin`."""

    room: str
    name: str
    origin: str

    @property
    def full(self) -> str:
        """By which the user asks for it."""
        return f"{self.room}.{self.name}"

    @property
    def value(self) -> Any:
        """What it names."""
        return getattr(import_module(self.room), self.name)

    @property
    def kind(self) -> str:
        """Of Sphinx's domain for Python: class, exception, function or data."""
        if inspect.isclass(self.value):
            return "exception" if issubclass(self.value, BaseException) else "class"
        return "function" if inspect.isfunction(inspect.unwrap(self.value)) else "data"


def source_of(module: str) -> Path:
    """The file of a module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    inside = path / "__init__.py"
    return inside if inside.is_file() else path.with_suffix(".py")


@cache
def names_of(room: str) -> tuple[Name, ...]:
    """The names of a room, in the order of its source; no modules."""
    path = source_of(room)
    tree = ast.parse(path.read_text())
    found = dict[str, str]()  # name -> the file it comes from
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            if (node.module or "").startswith("quatgrad"):
                found |= {alias.asname or alias.name: str(node.module) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = room
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id: room for t in targets if isinstance(t, ast.Name)}
    module = import_module(room)
    listed = getattr(module, "__all__", None) or [
        name
        for name, origin in found.items()
        if not name.startswith("_") and (origin == room or origin.startswith(f"{room}."))
    ]
    listed = [name for name in found if name in listed and hasattr(module, name)]
    names = [Name(room, name, found[name]) for name in listed]
    later = getattr(module, "_FROM", {})  # imported when it is first asked for
    names += [Name(room, name, f"{room}.{origin}") for name, origin in later.items()]
    return tuple(name for name in names if not _is_elsewhere(name))


def _is_elsewhere(name: Name) -> bool:
    """Is it a module, or a function that another file has put there?"""
    value = name.value
    return inspect.ismodule(value) or (
        inspect.isfunction(value) and not value.__module__.startswith(name.origin)
    )


def rooms_with_names() -> list[str]:
    """Every package whose `__init__` gives names; those of the fast rungs are the reference's."""
    inits = [p.parent.relative_to(PACKAGE.parent) for p in PACKAGE.rglob("__init__.py")]
    modules = {".".join(p.parts) for p in inits} - {f"quatgrad.kernels.{r}" for r in FAST_RUNGS}
    return sorted(module for module in modules if names_of(module))


@cache
def homes() -> dict[int, Name]:
    """id of a class or function -> the name under which it is documented: that of its own room."""
    found: dict[int, Name] = {}
    for room in reversed(ROOMS):  # quatgrad last: what it takes from a room stays there
        for name in names_of(room):
            if name.kind != "data":
                found.setdefault(id(name.value), name)
    return found


def all_names() -> list[Name]:
    """Every public name."""
    return [name for room in ROOMS for name in names_of(room)]


@cache
def by_short_name() -> dict[str, str]:
    """Tensor -> quatgrad.Tensor, for classes and functions that no two rooms have."""
    found: dict[str, set[str]] = {}
    for home in homes().values():
        found.setdefault(home.name, set()).add(home.full)
    return {name: full.pop() for name, full in found.items() if len(full) == 1}


def resolve(room: str, name: str) -> str | None:
    """The full name of what a docstring of the room calls `name`, or None."""
    documented = {n.full for n in homes().values()}
    near = [f"{room}.{name}", f"quatgrad.{name}"]
    far = by_short_name().get(name) if name[:1].isupper() else None  # not `source`, a parameter
    return next((full for full in near if full in documented), far)
