"""Docstrings of the package as reStructuredText, which Sphinx reads.

The package's docstrings are plain text: paragraphs, tables (a name, two spaces, what it is) and
indented code. Formulas in them have stars and bars, which reStructuredText would take for itself.
"""

import re
from collections.abc import Callable

#: `Name in backticks` -> the full name of what it means, or None.
Resolve = Callable[[str], str | None]

ROW = re.compile(r"(\S+(?: \S+)*) {2,}(\S.*)")  # a name, two spaces at least, what it is
SPECIAL = re.compile(r"([\\*|_`])")
STRESSED = re.compile(r"(?<![\w*])\\\*(\w[\w ]*)\\\*(?![\w*])")  # *word*, after SPECIAL


def as_rst(docstring: str, resolve: Resolve) -> list[str]:
    """The lines of a docstring without its indent, as lines of reStructuredText."""
    lines: list[str] = []
    blocks: list[str] = []
    for block in re.split(r"\n(?:[ ]*\n)+", docstring.strip("\n")):
        if blocks and block.startswith("    ") and blocks[-1].startswith("    "):
            blocks[-1] += f"\n\n{block}"  # code with an empty line in it
        elif block.strip():
            blocks.append(block)
    for block in blocks:
        lines += [*_block(block.split("\n"), resolve), ""]
    return lines


def _block(block: list[str], resolve: Resolve) -> list[str]:
    rows = _rows(block)
    if rows:
        return _table(rows, resolve)
    first = next((k for k, line in enumerate(block) if line.startswith(" ")), len(block))
    spaced = any("  " in line.strip() for line in block)
    if first == 0 or spaced:
        return _literal(block)
    text = [prose(" ".join(block[:first]), resolve)]
    return [*text, "", *_literal(block[first:])] if first < len(block) else text


def _rows(block: list[str]) -> list[tuple[str, str]]:
    """The (name, what it is) of a table; none if the block is something else."""
    start = ROW.fullmatch(block[0])
    if not start:
        return []
    column, rows = start.start(2), [start.groups()]
    for line in block[1:]:
        row = ROW.fullmatch(line)
        if row:
            rows.append(row.groups())
        elif line.startswith(" " * min(column, 4)):
            rows[-1] = rows[-1][0], f"{rows[-1][1]} {line.strip()}"
        else:
            return []
    return [] if any("  " in text for _, text in rows) else rows  # of more columns than two


def _table(rows: list[tuple[str, str]], resolve: Resolve) -> list[str]:
    lines = [".. list-table::", "   :class: names", "   :widths: auto", ""]
    for name, text in rows:
        lines += [f"   * - ``{name}``", f"     - {prose(text, resolve)}"]
    return lines


def _literal(block: list[str]) -> list[str]:
    indent = min(len(line) - len(line.lstrip()) for line in block if line)
    return ["::", "", *(f"   {line[indent:]}".rstrip() for line in block)]


def prose(text: str, resolve: Resolve) -> str:
    """One paragraph: `names` as code or as links, all else as it stands."""
    parts = []
    for part in re.split(r"(`[^`]+`)", text):
        if len(part) > 2 and part[0] == part[-1] == "`":
            name = part[1:-1]
            full = resolve(name)
            parts.append(rf"\ :py:obj:`{name} <{full}>`\ " if full else rf"\ ``{name}``\ ")
        else:
            parts.append(STRESSED.sub(r"*\1*", SPECIAL.sub(r"\\\1", part)))
    line = "".join(parts)
    return rf"\{line}" if line[:1] in "-+.:=#>" else line  # no list, no directive
