"""experiments/bench_inference.py: all contestants compute the same, and ratios are those named."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
TINY = {
    "resnet18": {"width": 4, "image_size": (8, 8), "num_classes": 8},
    "lenet-300-100": {"width": 12, "image_size": (4, 4), "num_classes": 10},
}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import bench_inference

    for name, value in {"NETS": TINY, "TURN": 1e-9, "WARM_UP": 0, "REST": 0}.items():
        monkeypatch.setattr(bench_inference, name, value)
    bench_inference.prepare.cache_clear()
    return bench_inference


def logits(bench, engine, net, algebra="real", density=1.0, images=3):
    x = bench.pictures(net, images)
    call = bench.CALLS[engine](net=net, algebra=algebra, density=density, x=x, threads=1)
    return np.asarray(call())


@pytest.mark.torch
@pytest.mark.parametrize("rival", ["torch", "onnxruntime"])
@pytest.mark.parametrize("net", TINY)
def test_rivals_compute_the_same(bench, net, rival):
    pytest.importorskip(rival)
    if rival == "onnxruntime":
        pytest.importorskip("onnx")
    ours, theirs = (logits(bench, engine, net) for engine in ("engine", rival))
    assert ours.std() > 0.01
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * abs(ours).max())


@pytest.mark.parametrize("net", TINY)
@pytest.mark.parametrize("algebra", ["real", "quaternion", "whole quaternions"])
def test_plans_compute_what_the_engine_does(bench, net, algebra):
    ours, plan = (logits(bench, e, net, algebra, 0.3) for e in ("engine", "plan"))
    np.testing.assert_allclose(plan, ours, rtol=0, atol=1e-5 * abs(ours).max())


def in_this_process(bench, monkeypatch):
    def ask(worker, case):
        times = bench.block(json.dumps(case))
        return float(np.median(times)), min(times)

    monkeypatch.setattr(bench, "ask", ask)
    monkeypatch.setattr(bench, "start_worker", lambda threads, script: nullcontext())


def test_from_the_command_line_to_the_record_and_its_table(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)  # no rival is installed
    in_this_process(bench, monkeypatch)
    out = tmp_path / "bench.json"
    assert bench.main(["--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Not installed, so not measured: onnxruntime, torch" in printed
    record = json.loads(out.read_text())
    assert record["not_installed"] == ["onnxruntime", "torch"]
    assert {"date", "machine", "versions", "rounds"} <= record.keys()
    assert len(record["results"]) == 3 * 7  # settings times contestants
    for row in record["results"]:
        assert 0 < row["seconds"]["minimum"] <= row["seconds"]["median"] < 60
        assert row["name"] in printed
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert bench.main(["--table", str(out)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + 7
    assert len({line.count("|") for line in table}) == 1


def test_a_cold_turn_has_its_few_calls(bench):
    case = {"net": "lenet-300-100", "images": 1, "threads": 1, "cold": True}
    case |= {"engine": "plan", "algebra": "real", "density": 0.05}
    assert len(bench.block(json.dumps(case))) == bench.COLD_CALLS


def test_a_turn_in_a_process_of_its_own(bench, monkeypatch):
    monkeypatch.undo()
    case = {"net": "lenet-300-100", "images": 1, "threads": 1, "cold": False}
    case |= {"engine": "plan", "algebra": "quaternion", "density": 0.05}
    with bench.start_worker(1, EXPERIMENTS / "bench_inference.py") as worker:
        median, least = bench.ask(worker, case)
        worker.stdin.close()
    assert 0 < least <= median < 1


def test_ratios_are_to_the_rivals_and_to_the_dense_ones_of_the_same_algebra(bench):
    cases = [
        {"engine": "onnxruntime", "algebra": "real", "density": 1.0},
        {"engine": "engine", "algebra": "quaternion", "density": 1.0},
        {"engine": "plan", "algebra": "real", "density": 1.0},
        {"engine": "plan", "algebra": "quaternion", "density": 1.0},
        {"engine": "plan", "algebra": "whole quaternions", "density": 0.05},
    ]
    medians = np.array([[8.0, 9, 40], [6, 6, 6], [5, 5, 5], [3, 3, 3], [1, 1, 2]])
    ratios = bench.row({}, cases, 4, medians, medians / 2)["ratios"]
    assert ratios == {
        "onnxruntime": {"median": 9, "lowest": 8, "of_minima": 8},
        "engine": {"median": 6, "lowest": 3, "of_minima": 6},
        "dense plan": {"median": 3, "lowest": 1.5, "of_minima": 3},
    }


def test_a_number_has_two_or_three_digits(bench):
    assert [bench.short(x) for x in (612.3, 12.35, 1.528, 0.778, 0.0244)] == [
        "612", "12.3", "1.53", "0.78", "0.024",
    ]  # fmt: skip


def test_the_table_of_the_readme_is_that_of_the_record(bench):
    record = json.loads((EXPERIMENTS / "results" / "bench-inference.json").read_text())
    readme = (EXPERIMENTS.parent / "README.md").read_text()
    there = [line for line in readme.splitlines() if line.startswith(("| plan, ", "| onnxruntime"))]
    assert len(there) > 6
    assert set(there) <= set(bench.table(record).splitlines())
