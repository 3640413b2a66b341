"""The cost of the sum on paper, and the table of the README that is made of it."""

import re
from pathlib import Path

import pytest

from quatgrad import use_backend
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.plan import plan
from quatgrad.parallel.cost import LINKS, Link, efficiency, sum_seconds

README = Path(__file__).parents[2] / "README.md"


def test_one_process_sends_nothing_and_many_send_twice_what_they_have():
    assert sum_seconds(1e9, 1, Link(1e9, 1e-6)) == 0
    assert sum_seconds(1e9, 1000, Link(1e9, 0)) == pytest.approx(2, rel=2e-3)
    assert sum_seconds(0, 3, Link(1e9, 1e-6)) == pytest.approx(4e-6)
    assert efficiency(1.0, 0.5e9, 2, Link(0.5e9, 0)) == pytest.approx(0.5)


def test_the_readme_has_its_numbers():
    rows = re.findall(r"\| (\d+) \| ([\d.]+) \| ([\d.]+) \| (\d+) % \| ([\d.]+) \| (\d+) % \|$",
                      README.read_text(), re.M)  # fmt: skip
    node, nodes, _ = LINKS.values()
    assert len(rows) == 4
    for i, (_, step, ms8, of8, ms64, of64) in enumerate(rows):
        nbytes = 4 * (11.2e6, 58.3e6)[i // 2]
        for n, link, ms, share in ((8, node, ms8, of8), (64, nodes, ms64, of64)):
            assert sum_seconds(nbytes, n, link) * 1e3 == pytest.approx(float(ms), rel=0.01)
            found = efficiency(float(step) / 1e3, nbytes, n, link)
            assert found * 100 == pytest.approx(int(share), abs=1)


def test_a_plan_of_many_says_so(tmp_path):
    given = {"preset": "smoke", "backend": "numpy", "out": str(tmp_path), "parallel": "mpi",
             "processes": 4}  # fmt: skip
    with use_backend("numpy"):
        told = plan(resolve(given))
    assert "4 processes" in told["how"]
    assert "on paper" in told["how"]
    assert not list(tmp_path.iterdir())
