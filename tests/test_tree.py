"""The house's plan: imports point down only, and the engine stays small and ignorant.

Read from the source with `ast`, so an import inside a function or under TYPE_CHECKING counts.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "quatgrad"
FILES = sorted(ROOT.rglob("*.py"))

#: First part of a module's name -> its floor. A module imports from its own floor or below.
FLOORS = {
    "errors": 0, "backend": 0, "arrays": 0, "random": 0, "files": 0,
    "kernels": 1, "autograd": 1,
    "quaternion": 2, "ops": 2,
    "nn": 3,
    "models": 4, "flat_parameters": 4, "optim": 4,
    "data": 5, "step_graphs": 5,
    "train": 6, "lth": 6, "sparse": 6,
    "paper": 7,
}  # fmt: skip
#: Imports anything, imported by none of the package.
OUTSIDE = {"testing"}
#: Library -> the only files that may import it.
GUARDED = {"cupy": r"backend\.py|kernels/cupy_gpu/.*", "cupyx": r"kernels/cupy_gpu/.*", "torch": ""}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def part(path):
    """ "ops" for quatgrad/ops/conv.py, "optim" for quatgrad/optim.py."""
    return relative(path).split("/")[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports, in full: quatgrad.ops.conv, also for relative imports."""
    package = ["quatgrad", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:  # from quatgrad import ops: the module quatgrad.ops
                yield f"{base}.{alias.name}" if base == "quatgrad" else base
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_point_down_only(path):
    here = part(path)
    if here == "__init__" or here in OUTSIDE:
        return
    assert here in FLOORS, f"give {here} a floor in FLOORS"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top != "quatgrad" or rest in ("", "__version__"):
            continue
        there = rest.split(".")[0]
        assert there in FLOORS, f"imports {name}: import it from the module it lives in"
        assert FLOORS[there] <= FLOORS[here], f"imports {name}, which stands above"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_guarded_libraries_are_imported_where_they_belong(path):
    for name in imports(path):
        allowed = GUARDED.get(name.split(".")[0], ".*")
        assert re.fullmatch(allowed, relative(path)), f"imports {name}"


def test_kernels_never_see_a_tensor():
    for path in FILES:
        if part(path) == "kernels":
            assert not re.search(r"\b(Tensor|Parameter|requires_grad)\b", path.read_text()), path


def test_the_engine_layers_and_ops_know_nothing_of_pruning():
    for path in FILES:
        if part(path) in ("autograd", "ops", "kernels", "nn"):
            assert not re.search(r"prun(e|ing|able)", "\n".join(code(path))), path


# ---------------------------------------------------------------------------- the engine


def code(path):
    """The lines of a file that hold code: no docstring, comment, blank, or TYPE_CHECKING block."""
    source = path.read_text()
    apart = set()
    for node in ast.walk(ast.parse(source)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        types_only = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        if docstring or types_only:
            apart.update(range(node.lineno, node.end_lineno + 1))
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.string.strip()]
    held = {
        n for t in tokens if t.type != tokenize.COMMENT for n in range(t.start[0], t.end[0] + 1)
    }
    comments = {t.start[0]: t.start[1] for t in tokens if t.type == tokenize.COMMENT}
    lines = source.splitlines()
    return [lines[n - 1][: comments.get(n)] for n in sorted(held - apart)]


ENGINE = 280  # lines of code that the engine may take, a quarter of them error messages


def test_the_engine_stays_within_its_budget():
    lines = code(ROOT / "autograd.py")
    assert len(lines) <= ENGINE, f"autograd.py has {len(lines)} lines of code"


def test_the_engine_knows_no_kernel_and_no_quaternion():
    path = ROOT / "autograd.py"
    assert {n for n in imports(path) if n.startswith("quatgrad")} <= {
        "quatgrad.arrays", "quatgrad.errors",
    }  # fmt: skip
    assert not re.search("quaternion|hamilton|kernel", "\n".join(code(path)), re.IGNORECASE)
