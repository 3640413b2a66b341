"""The code blocks of a Markdown file, and how each is run, in the order of the page.

What a fence says after its language is how:

    ```python            is run; what it prints is the ```text that follows, if one does (... is
                         anything). If it begins with `# NAME.py`, it is written to that file first
    ```toml              with `# NAME.toml` at its beginning is written to that file
    ```sh                each line is run; * in it is what a shell makes of it
    ```sh plan           takes minutes: of each line the options are checked, by `quatgrad-lth plan`
    ```sh needs NAME     is run where that package is installed
    ```sh elsewhere      needs a GPU, a cluster, a download or an installation: it is not run
    ```python from FILE  stands in that file, word for word
"""

import contextlib
import doctest
import glob
import io
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from quatgrad import lessons
from quatgrad.lth.command import main as lth
from quatgrad.lth.command import ticket_command
from quatgrad.paper import models_table, reproduce

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "quatgrad-lth": lth,
    "quatgrad-predict": ticket_command.main,
    "quatgrad-models": models_table.main,
    "quatgrad-reproduce": reproduce.main,
    "quatgrad-lessons": lessons.command,
    "python experiments/lth.py": lth,
    "python experiments/reproduce.py": reproduce.main,
}
FENCE = re.compile(r"^( *)```(\w+) *([^\n]*)\n(.*?)^\1```$", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A code block: its language, what the fence says beside it, and what must be printed."""

    language: str
    how: str
    code: str
    printed: str | None


def blocks(text):
    """The blocks of a page that are code; a ```text right after one is what it prints."""
    found, end = [], -1
    for match in FENCE.finditer(text):
        indent, language, how, code = match.groups()
        code = re.sub(rf"^{indent}", "", code, flags=re.M)
        follows = not text[end : match.start()].strip()
        end = match.end()
        if language == "text" and found and follows and found[-1].printed is None:
            found[-1] = Block(found[-1].language, found[-1].how, found[-1].code, code)
        elif language != "text":
            found.append(Block(language, how, code, None))
    return found


class PageError(AssertionError):
    """A block that does not do what the page says."""


class Page:
    """Runs the blocks of one page in the folder that is current; Python's share their names."""

    def __init__(self, name):
        self.name, self.names = name, {"__name__": "__main__"}

    def run(self, block):
        """Run one block; `PageError` if it raises, or prints something else."""
        run = {"python": self.python, "sh": self.shell, "toml": self.write}.get(block.language)
        if run is None:
            raise PageError(f"{self.name}: a block of {block.language} is neither run nor marked")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                run(block)
        except Exception as error:
            raise PageError(
                f"{self.name}: {type(error).__name__}: {error}\n\n{block.code}"
            ) from error
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if block.printed is not None and not doctest.OutputChecker().check_output(
            block.printed, printed.getvalue(), flags
        ):
            raise PageError(f"{self.name}: {block.code}\nprints\n{printed.getvalue()}")

    def write(self, block):
        """Write a block to the file that its first line names."""
        name = re.match(r"# (\S+\.\w+)\n", block.code)
        if not name:
            raise PageError(f"{self.name}: the first line is no # FILE:\n{block.code}")
        Path(name[1]).write_text(block.code)

    def python(self, block):
        """Run it, a dialogue (>>>) or a program; or find it in the file that it is from."""
        if block.how.startswith("from "):
            assert block.code in (ROOT / block.how[5:]).read_text(), f"not in {block.how[5:]}"
        elif block.code.startswith(">>> "):
            examples = doctest.DocTestParser().get_doctest(block.code, self.names, "page", None, 0)
            failed, _ = doctest.DocTestRunner().run(examples, clear_globs=False)
            assert not failed, "the dialogue answers something else"
        else:
            if re.match(r"# \S+\.py\n", block.code):
                self.write(block)
            exec(compile(block.code, f"{self.name}, a block", "exec"), self.names)

    def shell(self, block):
        """Run each line: our commands here, and Python as a process of its own."""
        if block.how == "elsewhere" or (
            block.how.startswith("needs ") and not find_spec(block.how[6:])
        ):
            return
        for line in re.sub(r"\\\n\s*", "", block.code).splitlines():
            words = shlex.split(line, comments=True)
            if words:
                self.command(
                    [w for word in words for w in sorted(glob.glob(word)) or [word]], block
                )

    def command(self, words, block):
        """Run one command, which must end with 0."""
        known = " ".join(words[:2]) if words[0] == "python" else words[0]
        arguments = words[len(known.split()) :]
        if known in COMMANDS:
            if block.how == "plan":
                arguments = ["plan", *(arguments[1:] if arguments[:1] == ["plan"] else arguments)]
            try:
                code = COMMANDS[known](arguments)
            except SystemExit as end:  # of --help
                code = end.code
        elif words[0] == "python":
            code = subprocess.run([sys.executable, *words[1:]], capture_output=True).returncode
        else:
            raise PageError(f"{self.name}: a test does not run {words[0]}")
        assert not code, f"{' '.join(words)} ended with {code}"
