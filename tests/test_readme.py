"""The README's example prints what the README says, and the files it names exist."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_prints_what_stands_below_it():
    example, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert printed.getvalue() == output


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO|TBD", README)


def test_links_and_pictures_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_map_of_the_house_is_true_and_complete():
    house = re.search(r"## The house\n\n(?:.+\n)+\n((?:    .*\n)+)", README).group(1)
    above, named = {}, set()  # indent -> the folder that the lines of this indent are in
    for line in house.splitlines():
        indent, name = re.match(r"( +)(\S+)", line).groups()
        if name != "#":
            path = above.get(len(indent) - 2, ROOT) / name
            above[len(indent)] = path
            named.add(path)
            assert path.exists(), line
    package = ROOT / "quatgrad"
    rooms = [*package.iterdir(), *(package / "kernels").iterdir(), *(package / "lth").iterdir()]
    for path in rooms:
        is_room = path.is_dir() and any(path.glob("*.py"))
        if is_room or (path.suffix == ".py" and path.name != "__init__.py"):
            assert path in named, f"{path} is not on the map"


def test_the_operation_shown_is_the_one_in_the_code():
    shown = re.search(r"```python\n(class Hamilton.*?)```", README, re.S).group(1)
    assert shown in (ROOT / "quatgrad/ops/hamilton.py").read_text()


@pytest.mark.parametrize("name", ["README.md", "quatgrad/quaternion/README.md"])
def test_dialogues_answer_as_shown(name):
    text = "\n".join(re.findall(r"```python\n(>>> .*?)```", (ROOT / name).read_text(), re.S))
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    failed, tried = doctest.DocTestRunner().run(examples)
    assert failed == 0
    assert tried >= 3
