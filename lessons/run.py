"""Run lessons, blank and solved, and write their notebooks.

    python lessons/run.py            every lesson
    python lessons/run.py 04 05      these

A lesson is a script in percent format. An exercise in it is a top-level function, class or name
whose body or value is `...`; `solutions/` has a file of the same name with the answers, and to
solve a lesson is to put each answer in the place of the blank with its name.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError

from mine import FOLDER
from slider import STILL

HERE = Path(__file__).parent
BUDGET = 25  # seconds for one run of a lesson, on two cores

#: Runs first, and is taken out again: a lesson that reaches for the network fails.
NO_NETWORK = """
import socket
def _refuse(self, address):
    raise OSError(f"a lesson needs no network, but this one connects to {address}")
socket.socket.connect = _refuse
"""


def lessons(numbers: list[str] | None = None) -> list[Path]:
    """The scripts, in order; `numbers` picks some of them."""
    return [p for p in sorted(HERE.glob("[0-9][0-9]_*.py")) if not numbers or p.name[:2] in numbers]


def answers(script: Path) -> dict[str, str]:
    """Name -> source of each answer in the lesson's file of solutions."""
    source = (HERE / "solutions" / script.name).read_text()
    return {name: lines for name, lines, _, _ in _named(source)}


def blanks(source: str) -> list[str]:
    """The names in a cell that still stand for `...`."""
    return [name for name, lines, _, _ in _named(source) if _is_blank(lines)]


def solved(notebook: Any, script: Path) -> Any:
    """A copy of the lesson with every blank filled in from its file of solutions."""
    known, notebook = answers(script), copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for name, _, start, end in reversed(_named(cell.source)):
                if name in known:
                    lines = cell.source.splitlines()
                    cell.source = "\n".join([*lines[:start], known[name], *lines[end:]])
    return notebook


def _named(source: str) -> list[tuple[str, str, int, int]]:
    """(name, source, first line, line after the last) of each top-level def, class and `name =`."""
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            continue
        start, end = node.lineno - 1, node.end_lineno or node.lineno
        found.append((name, "\n".join(lines[start:end]), start, end))
    return found


def _is_blank(source: str) -> bool:
    """Is some function's body, or the value assigned, nothing but `...`?"""
    for node in ast.walk(ast.parse(source)):
        last = node.body[-1] if isinstance(node, ast.FunctionDef) else node
        value = getattr(last, "value", None) if isinstance(last, ast.Expr | ast.Assign) else None
        if isinstance(value, ast.Constant) and value.value is ...:
            return True
    return False


def execute(notebook: Any, env: dict[str, str] | None = None) -> float:
    """Run a lesson from beginning to end, in place, with neither network nor GPU; -> seconds.

    No answer is kept, and none that was kept is used, unless `env` names a folder for them.
    """
    still = {STILL: "1", FOLDER: "", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
    env = {**os.environ, **still, **(env or {})}
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_NETWORK))
    client = nbclient.NotebookClient(
        notebook, timeout=4 * BUDGET, kernel_name="python3", coalesce_streams=True
    )
    start = time.perf_counter()
    try:
        client.execute(cwd=HERE, env=env, stderr=subprocess.DEVNULL)  # it warns of TCP
    finally:
        del notebook.cells[0]
    return time.perf_counter() - start


def verdicts(notebook: Any) -> list[tuple[str, str]]:
    """(exercise, verdict) of every checker that has run, in order."""
    text = "".join(
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code" and re.search(r"^check\.", cell.source, re.M)
        for output in cell.outputs
        if output.output_type == "stream"
    )
    return re.findall(r"^(\w+): (.*)$", text, re.M)


def write(path: Path, notebook: Any) -> None:
    """The notebook with its outputs, so that the same lesson gives the same file."""
    for n, cell in enumerate(notebook.cells):
        cell.id = f"cell-{n}"
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    nbformat.write(notebook, path)


def run(script: Path) -> bool:
    """Run a lesson blank and solved, write its notebook, and say how it went; False if badly."""
    notebook = jupytext.read(script)
    answered = solved(notebook, script)
    try:
        seconds = execute(notebook), execute(answered)
    except CellExecutionError as error:
        print(f"{script.stem:28} {error.ename}: {error.evalue}")
        return False
    wrong = [f"{name}, blank: {v}" for name, v in verdicts(notebook) if "not answered" not in v]
    wrong += [f"{name}, solved: {v}" for name, v in verdicts(answered) if v != "correct"]
    slow = f"  more than {BUDGET} s" if max(seconds) > BUDGET else ""
    print(f"{script.stem:28} {seconds[0]:5.1f} s blank {seconds[1]:5.1f} s solved{slow}")
    print("".join(f"    {line}\n" for line in wrong), end="")
    write(script.with_suffix(".ipynb"), notebook)
    return not wrong


def main() -> int:
    """Run and write the lessons named; 1 if one stops, or a verdict is not what it should be."""
    parser = argparse.ArgumentParser(description="Run lessons, blank and solved; write notebooks.")
    parser.add_argument("numbers", nargs="*", help="which: 04 05; all, if none is named")
    went_well = [run(script) for script in lessons(parser.parse_args().numbers)]
    return 0 if all(went_well) else 1


if __name__ == "__main__":
    sys.exit(main())
