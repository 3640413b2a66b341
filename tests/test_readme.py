"""What the README says of the repository is true: the files it names, the map of the house.

Its code runs in `test_docs`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


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
