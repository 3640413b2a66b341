"""Networks of one's own: a function by name, or `FILE.py:NAME`.

    def make(algebra, num_classes, input_shape, rng):
        return Module

algebra is "real" or "quaternion", input_shape (H, W, C) of an encoded image, and rng the generator
of all first weights.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

from quatgrad.errors import OptionError, QuatgradError, unknown
from quatgrad.models.algebra import Layers, Style
from quatgrad.nn import Module

Shape = tuple[int, ...]
Function = Callable[[str, int, Shape, np.random.Generator], Module]
FORM = "(algebra, num_classes, input_shape, rng) -> Module"


@dataclass(frozen=True)
class OwnNetwork:
    """A function that makes a network, and the SHA-256 of its source ("" where there is none)."""

    name: str
    function: Function
    source: str

    def build(
        self, layers: Layers, classes: int, shape: Shape, width: int | None
    ) -> tuple[Module, dict[str, str]]:
        """The network, and the rest of its architecture: the digest of its source."""
        given = width, layers.init_name, layers.real_head, layers.style
        if given != (None, "he", False, Style()):
            raise OptionError(
                f"the network {self.name} is your own: width, init, head are its own, and its "
                "style: leave these options out"
            )
        net = self.function(layers.algebra, classes, shape, layers.rng)
        if not isinstance(net, Module):
            raise OptionError(
                f"{self.name} made a {type(net).__name__}; it must return a quatgrad.nn.Module"
            )
        return net, {"source": self.source}


def own_network(name: str, function: Function) -> OwnNetwork:
    """A function of the form above; its source is that of the function alone."""
    _check(name, function)
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or written in C
        text = ""
    return OwnNetwork(name, function, _sha256(text.encode()) if text else "")


def network_in_file(spec: str) -> OwnNetwork:
    """The function NAME of `FILE.py:NAME`; its source is the whole file.

    The file is run. Raises `OptionError` if it is missing, ends with an error or has no such name.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OptionError(
            f"the network {spec}: {path} cannot be read ({error.strerror}); give FILE.py:NAME"
        ) from None
    module = _run(path, spec, content)
    made = {n for n, v in vars(module).items() if callable(v) and not n.startswith("_")}
    if name not in made:
        raise OptionError(unknown(f"function in {path}", name, sorted(made)))
    function = getattr(module, name)
    _check(spec, function)
    return OwnNetwork(spec, function, _sha256(content))


def is_file_spec(name: str) -> bool:
    """Is a name of the form FILE.py:NAME?"""
    return name.rpartition(":")[0].endswith(".py")


def _run(path: Path, spec: str, content: bytes) -> ModuleType:
    """The file as a module, run once; what lies beside it can be imported, as from a script."""
    name = f"own_network_{path.stem}_{_sha256(str(path).encode() + content)[:12]}"
    if name in sys.modules:  # its classes are those of networks that it has made
        return sys.modules[name]
    found = spec_from_file_location(name, path)
    assert found is not None  # it ends with .py
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules[name] = module  # where pickle looks for its classes
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, QuatgradError):
            raise
        raise OptionError(
            f"the network {spec}: running {path} ended with {type(error).__name__}: "
            f"{str(error)[:200]}; mend the file, and run it alone to see where"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _check(name: str, function: Function) -> None:
    if not callable(function):
        raise OptionError(f"{name} is a {type(function).__name__}; it must be a function {FORM}")
    try:
        inspect.signature(function).bind("real", 10, (8, 8, 4), None)
    except TypeError as error:
        raise OptionError(f"{name} cannot be called as {FORM}: {error}") from None
    except ValueError:  # it has no signature to look at
        return


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
