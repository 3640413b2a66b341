"""The house's plan: imports point down only, the core stays small, the engine stays ignorant.

Read from the source with `ast`, so an import inside a function or under TYPE_CHECKING counts.
"""

import ast
import io
import re
import subprocess
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "quatgrad"
FILES = sorted(ROOT.rglob("*.py"))

#: The floors of a folder, from below. A file or folder imports from the floors below its own.
FLOORS = {
    "": (
        "errors calls",
        "backend option_fields scalars",
        "arrays boxes random files recording",
        "tensor_file",
        "kernels autograd",
        "quaternion",
        "ops",
        "nn",
        "sham",
        "models flat_parameters costs",
        "optim task interop",
        "compile_ahead data parallel",
        "step_calls step_graphs",
        "train network",
        "sparse",
        "lth",
        "paper lessons",
        "__main__",
    ),
    "kernels": ("registry parts", "reference", "gemm", "numba_cpu cupy_gpu"),
    "kernels/numba_cpu": ("machine", "jit", "simd", "conv quaternion", "layers"),
    "lth": (
        "prune",
        "ticket",
        "store",
        "search",
        "loop",
        "results",
        "experiment analysis",
        "tune",
        "command",
    ),
}
#: Imports anything, imported by none of the package.
OUTSIDE = {"testing"}
#: Library -> the only files that may import it.
GUARDED = {"cupy": r"kernels/cupy_gpu/.*", "cupyx": r"kernels/cupy_gpu/.*", "torch": ""}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def part(path):
    """ "ops" for quatgrad/ops/conv.py, "optim" for quatgrad/optim.py."""
    return relative(path).split("/")[0].removesuffix(".py")


def module_file(name):
    """The file of the module quatgrad.ops.conv, or None."""
    path = ROOT.joinpath(*name.split(".")[1:])
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((p for p in files if name.partition(".")[0] == "quatgrad" and p.exists()), None)


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
                name = f"{base}.{alias.name}"
                yield name if base == "quatgrad" or module_file(name) else base
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("folder", FLOORS)
def test_every_file_and_folder_has_one_floor(folder):
    here = {p.name.removesuffix(".py") for p in (ROOT / folder).iterdir()
            if p.suffix == ".py" or any(p.glob("*.py"))}  # fmt: skip
    names = [name for floor in FLOORS[folder] for name in floor.split()]
    assert sorted(names) == sorted(here - {"__init__"} - OUTSIDE)


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_point_down_only(folder):
    floors = {name: n for n, floor in enumerate(FLOORS[folder]) for name in floor.split()}
    inside = ["quatgrad", *Path(folder).parts]
    for path in (ROOT / folder).rglob("*.py"):
        here = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        for name in imports(path) if here in floors else ():
            *outer, there = name.split(".")[: len(inside) + 1]
            if outer != inside or there in (here, "__version__"):
                continue
            where = f"{relative(path)} imports {name}"
            assert there in floors, f"{where}: import it from the module it lives in"
            assert floors[there] < floors[here], f"{where}, which does not stand below"


def test_no_files_import_each_other_in_a_circle():
    graph = {p: {module_file(name) for name in imports(p)} - {None, p} for p in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(map(relative, error.args[1])))


def test_contributing_has_the_same_floors():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    for floors in FLOORS["kernels"], FLOORS["lth"], FLOORS[""]:
        assert " <- ".join(floors) in re.sub(r"\s+", " ", text)


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


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_guarded_libraries_are_imported_where_they_belong(path):
    for name in imports(path):
        allowed = GUARDED.get(name.split(".")[0], ".*")
        assert re.fullmatch(allowed, relative(path)), f"imports {name}"


# ------------------------------------------------------------------- who knows nothing of what


def knowing(parts, words):
    """The lines of code of these parts that match the pattern `words`, capital or not."""
    return [
        f"{relative(path)}: {line.strip()}"
        for path in FILES
        if part(path) in parts
        for line in code(path)
        if re.search(f"(?i){words}", line)
    ]


def test_kernels_never_see_a_tensor():
    for path in FILES:
        if part(path) == "kernels":
            assert not re.search(r"\b(Tensor|Parameter|requires_grad)\b", path.read_text()), path


def test_a_kernel_calls_no_rung_above_its_own():
    """Only operations ask the registry for a kernel; a kernel calls functions that it imports."""
    assert not knowing(["kernels"], r"(?<!def )\bkernel\(")


def test_layers_operations_and_kernels_know_nothing_of_pruning():
    assert not knowing(["ops", "kernels", "nn"], r"prun|rewind|lottery|\btickets?\b")
    assert not knowing(["autograd", "ops", "nn"], r"mask|alive|prun|sparse|surviv")


def test_the_engine_knows_no_kernel_and_no_quaternion():
    path = ROOT / "autograd.py"
    assert {n for n in imports(path) if n.startswith("quatgrad")} <= {
        "quatgrad.arrays", "quatgrad.calls", "quatgrad.errors", "quatgrad.recording",
    }  # fmt: skip
    words = "quaternion|hamilton|kernel|rung|ladder|numba|cupy|registry|backend"
    assert not knowing(["autograd"], words)


# ----------------------------------------------------------------------------------- its size


#: What a reader of the engine reads; the README calls it the core.
CORE = (
    "autograd.py recording.py backend.py arrays.py scalars.py random.py ops nn optim.py train.py "
    "calls.py step_calls.py step_graphs.py models flat_parameters.py kernels/registry.py "
    "kernels/reference kernels/gemm.py"
)
#: What networks of sequences, graphs and boxes add to it; who reads about images can leave it out.
SEQUENCES = (
    "ops/sequence.py ops/embedding.py ops/layer_norm.py ops/attention.py ops/recurrent.py "
    "ops/csr.py ops/detection.py kernels/reference/segments.py kernels/reference/layer_norm.py "
    "kernels/reference/attention.py kernels/reference/recurrent.py nn/conv1d.py nn/embedding.py "
    "nn/layer_norm.py nn/attention.py nn/recurrent.py models/sequences.py models/gpt.py "
    "models/gcn.py models/equal.py models/sentences.py models/detector.py task.py"
)
#: Of code; a quarter of them error messages.
LINES = {"autograd.py": 280, CORE: 4620, SEQUENCES: 1150}


def files_of(names):
    """The files, and those in the folders, of these names."""
    paths = [ROOT / name for name in names.split()]
    return {f for p in paths for f in (p.rglob("*.py") if p.is_dir() else [p])}


@pytest.mark.parametrize("names", LINES, ids=["engine", "core", "sequences"])
def test_the_engine_the_core_and_sequences_stay_within_their_budgets(names):
    files = files_of(names) - (files_of(SEQUENCES) if names == CORE else set())
    lines = sum(len(code(path)) for path in files)
    assert lines <= LINES[names], f"{lines} lines of code"


#: Lines that a function may take, with its docstring.
SCREEN = 50


def test_a_function_fits_a_screen():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= SCREEN, f"{relative(path)}: {node.name} has {lines} lines"


def test_the_formatter_formats():
    assert sum(path.read_text().count("# fmt: skip") for path in FILES) <= 30


#: What stands beside the package. Anything else is a file that a run or a trial has left behind.
TOP = (
    "CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE Makefile README.md pyproject.toml "
    "docs experiments lessons quatgrad tests"
)


def test_nothing_else_stands_at_the_top():
    folder = ROOT.parent
    if not (folder / ".git").exists():
        pytest.skip("no clone: git says what belongs here")
    known = subprocess.run(["git", "ls-files"], cwd=folder, text=True, capture_output=True)
    names = {line.split("/")[0] for line in known.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} == set(TOP.split())
