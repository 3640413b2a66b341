"""Answers that passed their checkers are kept in `my/`, and lesson 13 builds an engine of them.

    keep("layer_dx", layer_dx)   writes my/layer_dx.py: the answer, with all that it uses
    mine("layer_dx")             that one, if its checker still says correct; else the package's

QUATGRAD_LESSONS_MY names another folder. Where it is set and empty, nothing is kept or read.
"""

from __future__ import annotations

import inspect
import os
import runpy
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = "QUATGRAD_LESSONS_MY"
PARTS = "package_parts"


def folder() -> Path | None:
    """Where answers are kept; None for nowhere."""
    named = os.environ.get(FOLDER)
    if named == "":
        return None
    return Path(named) if named else Path(__file__).parent / "my"


def keep(name: str, answer: Any) -> str:
    """Write a function to my/NAME.py, and say so; "" for what is no function of that name."""
    there = folder()
    if there is None or not inspect.isfunction(answer) or answer.__name__ != name:
        return ""
    try:
        source = standalone(answer)
        there.mkdir(parents=True, exist_ok=True)
        (there / f"{name}.py").write_text(source, encoding="utf-8")
    except (OSError, TypeError, LookupError) as error:
        return f"not kept in {there.name}/: {error}"
    return f"kept as {there.name}/{name}.py"


def mine(name: str) -> Callable[..., Any]:
    """The reader's own function, where it passed its checker; else that of `package_parts`."""
    parts, there = import_module(PARTS), folder()
    package = getattr(parts, name)
    path = there / f"{name}.py" if there else None
    if path is None or not path.exists():
        return package
    number = parts.LESSON[name]
    try:
        answer = runpy.run_path(str(path))[name]
        checker = getattr(import_module(f"checkers.lesson{number:02}"), name)
        why = "" if checker.verdict(answer) == "correct" else "is wrong by now"
    except Exception as error:  # a file that anybody may have changed
        why = f"cannot be used ({type(error).__name__}: {error})"
    if why:
        print(f"{path.parent.name}/{name}.py {why}: the package's is taken. "
              f"Lesson {number} writes it anew.")  # fmt: skip
    return package if why else answer


def whose(function: Callable[..., Any]) -> str:
    """Of a function of `mine`: who wrote it."""
    return "the package's" if function.__module__ == PARTS else "yours"


def standalone(answer: Any) -> str:
    """A file with a function, the functions of its notebook that it calls, and their imports.

    Raises `LookupError` where it uses something that no import gives, as a variable.
    """
    heads: dict[str, str] = {}  # name -> the line that gives it
    bodies: dict[str, str] = {}  # name -> a function's source
    todo = [answer]
    for function in todo:  # grows: each function is put there once
        bodies[function.__name__] = source = textwrap.dedent(inspect.getsource(function)).rstrip()
        inside = symtable.symtable(source, function.__name__, "exec").get_children()
        for name in sorted(_used(inside) & function.__globals__.keys()):
            value = function.__globals__[name]
            if inspect.isfunction(value) and value.__module__ == answer.__module__:
                if value not in todo:
                    todo.append(value)
            else:
                heads[name] = _head(name, value, answer.__module__)
    title = f'"""{answer.__name__}: it passed its checker."""'
    return (
        "\n\n\n".join([f"{title}\n\n" + "\n".join(heads.values()), *reversed(bodies.values())])
        + "\n"
    )


def _used(tables: Iterable[symtable.SymbolTable]) -> set[str]:
    """The names that functions take from outside, also within their lambdas and loops."""
    own = {s.get_name() for table in tables for s in table.get_symbols() if s.is_global()}
    return own.union(*(_used(table.get_children()) for table in tables))


def _head(name: str, value: Any, notebook: str) -> str:
    """The line of a file that gives `name` this value."""
    if inspect.ismodule(value):
        return f"import {value.__name__} as {name}"
    if isinstance(value, bool | int | float | str):
        return f"{name} = {value!r}"
    homes = [m for m, module in list(sys.modules.items())
             if m == getattr(value, "__module__", None) or m.startswith("quatgrad.")
             if m != notebook and vars(module).get(name) is value]  # fmt: skip
    if not homes:
        raise LookupError(f"it uses {name} of the notebook; give it to the function instead")
    return f"from {min(homes, key=len)} import {name}"
