"""The cost of the sum on paper, and the table of the README that is made of it."""

import json
import re
from pathlib import Path

import pytest

from quatgrad import models, use_backend
from quatgrad.flat_parameters import starts
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.plan import plan
from quatgrad.parallel.cost import (
    BACKWARD,
    LINKS,
    Link,
    Sum,
    efficiency,
    seconds_left,
    sum_seconds,
    sums_behind,
)
from quatgrad.parallel.processes import running_statistics

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
README = Path(__file__).parents[2] / "README.md"
SHAPE = 32, 32, 4


def test_one_process_sends_nothing_and_many_send_twice_what_they_have():
    assert sum_seconds(1e9, 1, Link(1e9, 1e-6)) == 0
    assert sum_seconds(1e9, 1000, Link(1e9, 0)) == pytest.approx(2, rel=2e-3)
    assert sum_seconds(0, 3, Link(1e9, 1e-6)) == pytest.approx(4e-6)
    assert efficiency(1.0, 0.5) == pytest.approx(2 / 3)


def test_a_sum_starts_when_its_gradients_are_there_and_the_one_before_is_done():
    link = Link(1e9, 0)  # over two processes a second for 1e9 bytes

    def left(*sums):
        return seconds_left(10, [Sum(ready, round(1e9 * s)) for ready, s in sums], 2, link)

    assert left((0.5, 2)) == 0
    assert left((0.5, 7)) == pytest.approx(2)
    assert left((1.0, 3)) == pytest.approx(3)  # one sum at the end is as a sum afterwards
    assert left((0.2, 1), (1.0, 3)) == pytest.approx(3)
    assert left((0.2, 9), (1.0, 3)) == pytest.approx(4)


def test_sums_behind_backward_are_statistics_and_the_buckets_of_the_arena():
    net = models.create("resnet8", "quaternion", 100, 4, 8, image_size=(32, 32), seed=0)
    statistics, *buckets = sums_behind(net, (32, 32, 4), 4096)
    assert statistics == (0, sum(b.data.nbytes for b in running_statistics(net)))
    assert len(buckets) > 3
    assert sum(s.nbytes for s in buckets) == 4 * starts(net.parameters())[-1]
    assert all(s.nbytes >= 4096 for s in buckets[:-1])
    ready = [s.ready for s in buckets]
    assert ready == sorted(ready)
    assert 0 < ready[0] < 0.1
    assert ready[-1] == 1
    lenet = models.create("lenet-300-100", "real", 10, 1, image_size=(28, 28), seed=0)
    assert len(sums_behind(lenet, (28, 28, 1))) == 1  # without norms, and small


def test_the_readme_has_its_numbers():
    cell = r" ([\d.]+) \|"
    percents = r" (\d+) -> (\d+) % \|"
    row = r"^\|([^|]*)\|" + 4 * cell + percents + 2 * cell + percents + "$"
    rows = re.findall(row, README.read_text(), re.M)
    node, nodes, _ = LINKS.values()
    assert len(rows) == 8
    for name, _, ms, *told in rows:
        if name.strip():
            network, algebra, size = name.strip().split(", ")
            net = models.create(network.lower().replace("-", ""), algebra, 100, 4, seed=0)
            nbytes, sums = sum(p.data.nbytes for p in net.parameters()), sums_behind(net, SHAPE)
            assert size == f"{nbytes / 1e6:.0f} MB"
        step, found = float(ms) / 1e3, []
        for n, link in ((8, node), (64, nodes)):
            after = sum_seconds(nbytes, n, link)
            behind = seconds_left(BACKWARD * step, sums, n, link)
            found += [1e3 * after, 1e3 * behind]
            found += [100 * efficiency(step, paid) for paid in (after, behind)]
        assert [float(f"{x:.3g}") for x in found[::4]] == [float(x) for x in told[::4]]
        assert [float(f"{x:.2f}") for x in found[1::4]] == [float(x) for x in told[1::4]]
        for k in (2, 3, 6, 7):
            assert f"{found[k]:.0f}" == told[k]


def test_the_readme_has_the_speeds_on_record():
    rows = json.loads((RESULTS / "bench-parallel.json").read_text())["results"]
    speeds, sums = ([f(r) for r in rows] for f in (
        lambda r: r["speed of two"], lambda r: 1e3 * r["seconds"]["sum"]
    ))  # fmt: skip
    text = " ".join(README.read_text().split())
    assert f"{min(speeds):.2f} to {max(speeds):.2f} times the speed of one" in text
    assert f"The sum takes {min(sums):.2f} to {max(sums):.2f} ms of a step" in text
    for r in rows:
        if "lenet" in r["name"]:
            on_paper = sum_seconds(r["bytes"], 2, [*LINKS.values()][2])
            assert on_paper == pytest.approx(r["seconds"]["sum"], rel=0.3)
    slowest = min(rows, key=lambda r: r["speed of two"])["name"]
    assert slowest == "real 28x28, lenet-300-100"


def test_a_plan_of_many_says_so(tmp_path):
    given = {"preset": "smoke", "backend": "numpy", "out": str(tmp_path), "parallel": "mpi",
             "processes": 4}  # fmt: skip
    with use_backend("numpy"):
        told = plan(resolve(given))
    assert "4 processes" in told["how"]
    assert "on paper" in told["how"]
    assert not list(tmp_path.iterdir())
