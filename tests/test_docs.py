"""The site and the README: each code block runs, in the order of its page."""

import ast
import inspect
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from doc_blocks import ROOT, Block, Page, PageError, blocks
from PIL import Image

import quatgrad
from quatgrad import models
from quatgrad.lth.command import main
from quatgrad.lth.prune import scores

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "quatgrad/quaternion/README.md",
                 *(ROOT / "docs").rglob("*.md"))
)  # fmt: skip
#: What is not run, by its first line: it needs a GPU, a cluster, a download, or installs something.
ELSEWHERE = {
    "README.md": [
        "make lth      # train, prune, rewind and retrain a real and a quaternion ResNet",
        "quatgrad-lth --preset shakespeare --data-dir DIR --algebra all          "
        "# also sst2, trec, spoken-digits, natops, cora, bccd, broad",
        "mpirun -n 4 quatgrad-lth --dataset cifar100 --data-dir DIR --parallel mpi --sync-norm",
        "#!/bin/bash",
        "python experiments/reproduce.py run mnist-lenet-12 --scale small --data-dir DIR",
    ],
    "docs/start.md": ["python -m pip install '.[report]'"],
    "docs/howto/sweep.md": ["quatgrad-lth sweep --vary seed=0,1,2,3 --workers 2 --preset smoke"],
    "docs/howto/figure.md": ["quatgrad-reproduce run mnist-lenet-12 --scale full --data-dir DIR"],
}

DIGITS = ["--levels", "1", "--epochs", "1", "--width", "8", "--subset", "200", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder; what a page registers is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(quatgrad.data, "_OWN", {})
    monkeypatch.setattr(models, "_OWN", {})
    before, known = set(sys.modules), dict(scores.SCORES)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for name in set(scores.SCORES) - set(known):
        del scores.SCORES[name]


def pictures(folder):
    """What the README's commands find: ten pictures in two classes, and a new one."""
    rng = np.random.default_rng(0)
    for name, colour in {"red": (200, 40, 40), "green": (40, 200, 40)}.items():
        (folder / "pics" / name).mkdir(parents=True)
        for k in range(5):
            pixels = np.clip(rng.normal(colour, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pics" / name / f"{k}.png")
    Image.fromarray(pixels).save(folder / "new.jpg")
    Image.fromarray(pixels).save(folder / "new.png")
    shutil.copytree(folder / "pics", folder / "more")


@pytest.mark.parametrize("name", PAGES)
def test_each_code_block_of_a_page_runs(name, here):
    if name == "README.md":
        pictures(here)
        assert main(DIGITS) == 0  # in place of what make lth leaves there
    page = Page(name)
    for block in blocks((ROOT / name).read_text()):
        page.run(block)


def test_what_is_not_run_is_on_a_list():
    found = {}
    for name in PAGES:
        for block in blocks((ROOT / name).read_text()):
            if block.how == "elsewhere":
                found.setdefault(name, []).append(block.code.splitlines()[0])
    assert found == ELSEWHERE


def test_no_code_stands_outside_of_a_fence():
    """An indented block would not be run."""
    for name in PAGES:
        text = re.sub(r"^( *)```.*?^\1```$", "", (ROOT / name).read_text(), flags=re.S | re.M)
        indented = re.findall(r"(?:\A|\n\n)    (\S.*)", text)
        assert not [
            line
            for line in indented
            if re.match(r"    (quatgrad-|python|make|pip|mpirun|\$)", line)
        ], name


def test_a_block_that_raises_or_prints_something_else_fails(here):
    page = Page("page.md")
    page.run(Block("python", "", "print(1 + 1)\n", "2\n"))
    for wrong in (
        Block("python", "", "print(1 + 1)\n", "3\n"),
        Block("python", "", "1 / 0\n", None),
        Block("python", "", ">>> 1 + 1\n3\n", None),
        Block("python", "from README.md", "this does not stand there\n", None),
        Block("sh", "", "quatgrad-lth show nothing\n", None),
        Block("sh", "plan", "quatgrad-lth --levels many\n", None),
        Block("sh", "", "rm -rf runs\n", None),
        Block("toml", "", "levels = 1\n", None),
        Block("rust", "", "fn main() {}\n", None),
    ):
        with pytest.raises(PageError):
            page.run(wrong)


def test_blocks_of_a_page_are_found_with_what_they_print():
    text = (
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "but\n\n```sh elsewhere\nmake\n```\n\nthen\n\n```text\nno\n```\n"
    )
    assert blocks(text) == [
        Block("python", "", "print(1)\n", "1\n"),
        Block("sh", "elsewhere", "make\n", None),
    ]


# ---------------------------------------------------------------------------------- its links


def site(folder, **pages):
    """A site of these pages."""
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return folder


def test_a_dead_link_and_a_missing_name_are_found(tmp_path):
    from site_links import faults

    site(
        tmp_path,
        index='<a href="other.html#here">good</a> <a href="other.html#there">bad</a>'
        '<img src="picture.png"> <script src="https://example.org/x.js"></script>'
        '<a href="https://example.org">out</a> <a href="#top">bad</a>',
        other='<p id="here"><a id="quatgrad.nn.QLinear" href="index.html">good</a>',
    )
    assert list(faults(tmp_path, ["quatgrad.nn.QLinear", "quatgrad.nn.Nothing"])) == [
        "index.html: other.html#there has no such anchor",
        "index.html: picture.png is not there",
        "index.html: https://example.org/x.js comes from the network",
        "index.html: #top has no such anchor",
        "quatgrad.nn.Nothing has no page",
    ]


def test_every_public_name_is_one_of_a_room():
    from public_names import ROOMS, all_names, names_of, rooms_with_names

    assert not [room for room in rooms_with_names() if room not in ROOMS]
    full = {name.full for name in all_names()}
    assert {"quatgrad.Tensor", "quatgrad.nn.QConv2d", "quatgrad.lth.run", "quatgrad.load"} <= full
    for room in ROOMS:
        assert names_of(room) or any(inner.startswith(f"{room}.") for inner in ROOMS), room
    assert {f"quatgrad.{part}" for part in quatgrad._PARTS} <= ROOMS.keys()


def test_every_part_of_the_package_is_a_room_or_is_said_to_be_inside():
    from public_names import INSIDE, PACKAGE, ROOMS, all_names

    known = {*ROOMS, *(f"quatgrad.{name}" for name in INSIDE.split())}
    known |= {name.origin for name in all_names()}
    files = [*PACKAGE.glob("*.py"), *(path.parent for path in PACKAGE.rglob("__init__.py"))]
    for path in files:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        outer = {module[:n] for n, c in enumerate(module) if c == "."} - {"quatgrad"} | {module}
        gives = any(name.startswith(f"{module}.") for name in known)
        assert path.stem == "__init__" or outer & known or gives, f"{module} has no page"


def test_what_a_page_imports_has_a_page_of_its_own():
    from public_names import all_names, homes

    documented = {name.full for name in all_names()}
    texts = [block.code for name in PAGES for block in blocks((ROOT / name).read_text())
             if block.language == "python"]  # fmt: skip
    for text in texts:
        for node in ast.walk(ast.parse(text)) if ">>>" not in text else ():
            if not isinstance(node, ast.ImportFrom) or not node.module.startswith("quatgrad"):
                continue
            for alias in node.names:
                value = getattr(import_module(node.module), alias.name)
                full = f"{node.module}.{alias.name}"
                assert inspect.ismodule(value) or full in documented or id(value) in homes(), full


def test_docstrings_become_restructured_text():
    from docstrings import as_rst

    text = (
        "y = a*b |q|, *the* c*d, see `Tensor` and `x`.\n\n"
        "name        what it is,\n            and more\nother, one  thing\n\n"
        "    code = 1\n"
    )
    known = {"Tensor": "quatgrad.Tensor"}
    assert as_rst(text, known.get) == [
        r"y = a\*b \|q\|, *the* c\*d, see \ :py:obj:`Tensor <quatgrad.Tensor>`\  and \ ``x``\ .",
        "",
        ".. list-table::",
        "   :class: names",
        "   :widths: auto",
        "",
        "   * - ``name``",
        "     - what it is, and more",
        "   * - ``other, one``",
        "     - thing",
        "",
        "::",
        "",
        "   code = 1",
        "",
    ]


def test_pages_are_found():
    assert {"README.md", "docs/start.md", "docs/howto/pytorch.md"} <= set(PAGES)
    assert all(Path(ROOT / name).is_file() for name in PAGES)
