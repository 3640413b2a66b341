"""How Sphinx builds the site (`make docs`): without the network, and nothing is executed."""

import os
import re
import shutil
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
os.environ |= {"COLUMNS": "88", "NO_COLOR": "1"}  # of the help texts

import quatgrad
import reference_pages
from docstrings import as_rst
from public_names import homes, resolve

project = "quatgrad"
author = "The quatgrad developers"
copyright = f"{author}, MIT licence"
version = release = quatgrad.__version__
html_title = f"quatgrad {version}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
exclude_patterns = ["README.md"]
python_maximum_signature_line_length = 88

nb_execution_mode = "off"  # notebooks are stored with their outputs
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
smartquotes = False  # (..., P) is code
#: Names of our own must lead somewhere, but for bases, and for what runs and plans are inside. The
#: types of other libraries are not on this site.
nitpick_ignore_regex = [
    ("py:.*", r"(?!quatgrad\.).*"),
    ("py:class", r"quatgrad\.lth\.(results|store|experiment|search\.identity)\..*"),
    ("py:class", r"quatgrad\.(data\.disk|data\.encode|nn\.conv|nn\.recurrent)\..*"),
    ("py:class", r"quatgrad\.sparse\.(steps|export_c)\..*"),
]


# ------------------------------------------------------------------------------ docstrings


def read_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """A docstring of the package as reStructuredText; of options their help texts, too."""
    module = getattr(obj, "__module__", None) or name
    lines[:] = as_rst("\n".join(lines), lambda called: resolve(module, called))
    if what == "class" and is_dataclass(obj):
        helps = {f.name: f.metadata["help"] for f in fields(obj) if "help" in f.metadata}
        width = max(map(len, helps), default=0)
        rows = "\n".join(f"{name:{width}}  {text}" for name, text in helps.items())
        lines += as_rst(rows, lambda called: None)


def leave_out(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """The fields of a NamedTuple say nothing of themselves; first weights are in nn.init."""
    says_nothing = (getattr(obj, "__doc__", "") or "").startswith("Alias for field")
    return True if says_nothing or name == "default_init" else None


def find_source(app: Sphinx, module: str, attribute: str) -> str:
    """The module that holds the source of a name: its own room's, if it is documented there."""
    value = getattr(import_module(module), attribute.partition(".")[0], None)
    home = homes().get(id(value))
    return value.__module__ if home and home.room == module else module


# -------------------------------------------------------------------------------- formulas


def inline_formula(self: Any, node: nodes.math) -> None:
    """A formula as MathML, which browsers draw themselves."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_formula(self: Any, node: nodes.math_block) -> None:
    """The same on a line of its own."""
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


# ------------------------------------------------------- what stands elsewhere in the repository


class Part(SphinxDirective):
    """`{part} FILE` with the title of a section: that section, as it stands in the file.

    Without a title: what stands before the first section. With *: all of it. Links are the file's.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The nodes of the section."""
        path = ROOT / self.arguments[0]
        self.env.note_dependency(str(path))
        title = " ".join(self.content).strip()
        text = links_from(section(path.read_text(), title), path, self.env.docname)
        node = nodes.Element()
        lines = StringList(text.splitlines(), str(path))
        self.state.nested_parse(lines, 0, node, match_titles=title == "*")
        return node.children


def section(text: str, title: str) -> str:
    """What stands under a heading of the second rank, or before the first one, or all ("*")."""
    text = re.sub(r"\A# .*\n", "", text)
    if title == "*":
        return text
    sections = re.split(r"^## (.*)\n", text, flags=re.M)
    return sections[sections.index(title) + 1] if title else sections[0]


#: Files of the repository that are pages of the site.
PAGES = {
    "README.md": "/index.md",
    "CHANGELOG.md": "/changelog.md",
    "CONTRIBUTING.md": "/contributing.md",
    "lessons/README.md": "/lessons/index.md",
    "experiments/results/tuned/README.md": "/explanations/settings.md",
    "experiments/results/deploy/README.md": "/explanations/deployed.md",
    "experiments/results/beyond/README.md": "/explanations/beyond.md",
    "quatgrad/quaternion/README.md": "/explanations/quaternions.md",
}


def links_from(text: str, path: Path, docname: str) -> str:
    """The text of a file, with links that lead to the same places from a page of the site."""

    def moved(match: re.Match[str]) -> str:
        words, link = match.groups()
        file = (path.parent / link).resolve()
        target = file.relative_to(ROOT).as_posix()
        if file.is_dir():
            return words[1:-1]  # the site has no folders
        if target in PAGES:
            return f"{words}({PAGES[target]})"
        if target.startswith("docs/"):
            return f"{words}({target[4:]})"
        if re.fullmatch(r"lessons/\d\d_\w+\.ipynb", target):
            return f"{words}(/{target})"
        return f"{words}({'../' * (docname.count('/') + 1)}{target})"

    return re.sub(r"(\[[^\]]*\])\((?!https?:|#)([^)\s]+)\)", moved, text)


def gather(app: Sphinx) -> None:
    """Write what Sphinx is to read: the reference, and the lessons with their outputs."""
    reference_pages.write_all(HERE / "reference")
    lessons = {path.name: path for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))}
    for old in (HERE / "lessons").glob("*.ipynb"):
        if old.name not in lessons:
            old.unlink()
    for name, path in lessons.items():
        copy = HERE / "lessons" / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


def setup(app: Sphinx) -> None:
    """What this file adds to Sphinx."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
    app.add_directive("part", Part)
    app.connect("builder-inited", gather)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("viewcode-follow-imported", find_source)
