"""The pages of the reference, written before Sphinx reads them: one for each room, or its files.

Sphinx's autodoc makes the entries from docstrings; this says which, and where.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path

from docstrings import as_rst, prose
from public_names import ROOMS, Name, homes, names_of, resolve, source_of

LARGE = 12  # a room with more names has a page for each of its files


def write_all(folder: Path) -> None:
    """Write the reference into a folder; what has not changed is left alone, and old pages go."""
    pages = {"index": _index(), "commands": _commands()}
    for room in ROOMS:
        pages |= _room(room)
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _short(module: str) -> str:
    return module.removeprefix("quatgrad.")


def _index() -> str:
    inner = [room for room in ROOMS if _outer(room) is None]
    rows = [f"   {_short(room)}" for room in inner]
    return (
        _title("Reference")
        + "Every public name, by the rooms of the house. Docstrings have the formula first, then "
        "shapes, units, errors and source. The letters are the same everywhere:\n\n"
        + _docstring("quatgrad.kernels", lambda text: text[text.index("Letters:") :])
        + "\n.. toctree::\n   :maxdepth: 1\n\n   commands\n"
        + "\n".join(rows)
        + "\n"
    )


def _outer(room: str) -> str | None:
    """The room that a room is a part of, as quatgrad.nn of quatgrad.nn.init."""
    outer = room.rpartition(".")[0]
    while outer and outer != "quatgrad":
        if outer in ROOMS:
            return outer
        outer = outer.rpartition(".")[0]
    return None


def _room(room: str) -> dict[str, str]:
    """Page -> text: of the room and, if it has many names, of its files."""
    names = names_of(room)
    files = dict[str, list[Name]]()
    for name in names:
        files.setdefault(name.origin, []).append(name)
    text = _title(room) + f".. py:module:: {room}\n\n" + _docstring(room)
    parts = [_short(r) for r in ROOMS if _outer(r) == room]
    pages: dict[str, str] = {}
    if len(names) <= LARGE or room == "quatgrad":
        text += "".join(map(_entry, names))
    else:
        for origin, members in files.items():
            page = f"{_short(room)}.{origin.rpartition('.')[2]}" if origin != room else ""
            if page:
                title = _title(f"{room}: {origin.rpartition('.')[2]}")
                pages[page] = title + _docstring(origin) + "".join(map(_entry, members))
            text += _title(origin.rpartition(".")[2], "-") if page else ""
            text += "".join(map(_line if page else _entry, members)) + "\n"
    if parts or pages:
        rows = "\n".join(f"   {page.rpartition('.')[2]} <{page}>" for page in [*pages, *parts])
        text += f"\n.. toctree::\n   :maxdepth: 1\n   :caption: Pages\n\n{rows}\n"
    return {_short(room): text} | pages


def _docstring(module: str, part: Callable[[str], str] = str) -> str:
    """The docstring of a module, or a part of it."""
    text = part(importlib.import_module(module).__doc__ or "")
    return "\n".join(as_rst(text, lambda name: resolve(module, name))) + "\n"


def _line(name: Name) -> str:
    """A name with the first line of what is said of it, in a list."""
    about = (name.value.__doc__ or "") if name.kind != "data" else _comment(name)
    first = re.split(r"\n\s*\n", about.strip())[0]
    text = prose(" ".join(first.split()), lambda called: resolve(name.room, called))
    return f"* :py:obj:`~{name.full}`: {text}\n"


def _entry(name: Name) -> str:
    """A name with all that is said of it."""
    if name.kind == "data":
        text = prose(_comment(name), lambda called: resolve(name.room, called))
        return f".. py:data:: {name.name}\n   :module: {name.room}\n\n   {text}\n\n"
    home = homes()[id(name.value)]
    if home != name:
        same = f"The same as :py:obj:`{home.full}`."
        return f".. py:{name.kind}:: {name.name}\n   :module: {name.room}\n\n   {same}\n\n"
    derived = name.kind != "function" and name.value.__bases__ != (object,)
    bases = "   :show-inheritance:\n" if derived else ""
    return f".. auto{name.kind}:: {name.full}\n{bases}\n"


def _comment(name: Name) -> str:
    """The comment `#:` above a constant, and its names if it is a table."""
    source = source_of(name.origin).read_text()
    found = re.search(rf"((?:^#: .*\n)(?:^#:? .*\n)*)?^{name.name}\b", source, re.M)
    lines = ((found and found[1]) or "").splitlines()
    text = " ".join(re.sub(r"^#:? ", "", line) for line in lines)
    value = name.value
    if isinstance(value, dict | tuple | list) and value and all(isinstance(k, str) for k in value):
        text += f" It has {', '.join(f'`{k}`' for k in value)}."
    return text.strip() or f"`{value!r}`"


# ------------------------------------------------------------------------- the command line


def _commands() -> str:
    """What every command prints as its help."""
    from quatgrad import lessons
    from quatgrad.lth.command import cli, ticket_command
    from quatgrad.paper import models_table, reproduce

    text = _title("Commands") + "What each command says if it is called with ``--help``.\n\n"
    text += _title("quatgrad-lth", "-") + _help(cli.main, [])
    for verb in cli.COMMANDS:
        if verb != "run":
            text += _title(f"quatgrad-lth {verb}", "-") + _help(cli.main, [verb])
    others = {
        "quatgrad-predict": ticket_command.main,
        "quatgrad-models": models_table.main,
        "quatgrad-reproduce": reproduce.main,
        "quatgrad-lessons": lessons.command,
    }
    for command, main in others.items():
        text += _title(command, "-") + _help(main, [])
    return text


def _help(main: Callable[[list[str]], int], arguments: list[str]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    lines = printed.getvalue().splitlines()
    return "\n".join([".. code-block:: text", "", *(f"   {line}" for line in lines), "", ""])
