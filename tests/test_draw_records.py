"""experiments/draw_records.py: pictures on record are drawn from the numbers beside them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from quatgrad.errors import RunError
from quatgrad.lth.results.offers import is_unbeaten

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
RESULTS = EXPERIMENTS / "results"


@pytest.fixture
def records(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import draw_records

    return draw_records


@pytest.mark.parametrize("name", ["digits-tickets", "mnist-lenet-12", "deploy", "tuned", "beyond"])
def test_every_picture_is_drawn_without_any_run(records, name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(RESULTS / name, folder, ignore=shutil.ignore_patterns("*.png"))
    numbers = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    records.DRAWN[name](folder)
    drawn = {path.relative_to(folder) for path in folder.rglob("*.png")}
    known = {path.relative_to(RESULTS / name) for path in (RESULTS / name).rglob("*.png")}
    assert drawn == known - {Path("beyond.png")}
    assert all(path.read_bytes() == before for path, before in numbers.items())


@pytest.mark.parametrize(
    "path",
    sorted((RESULTS / "tuned").glob("*/tickets*.json")),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_differences_of_tuned_tickets_are_those_of_their_levels(records, path):
    told = json.loads(path.read_text())
    trials = records.tuned_record.read(path.parent, f"{path.stem}.csv")
    assert told["seeds"] == len(trials)
    again = records.tuned_record.differences(trials)
    assert again.keys() == told["differences"].keys()
    for pair, gaps in again.items():
        for what, gap in gaps.items():
            assert gap == pytest.approx(told["differences"][pair][what])


def test_tickets_of_several_runs_are_paired_by_their_seeds(records, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records.tuned_record.Level, "of", lambda *level: level)

    def run(network, first, *levels):
        trials = {k: {network: ["level"] * n} for k, n in enumerate(levels)}
        return SimpleNamespace(
            config=SimpleNamespace(options={"seed": first}),
            trials=trials,
            search_path=lambda number, name: tmp_path / f"{name}-{first + number}",
        )

    (tmp_path / "real-7").mkdir()
    (tmp_path / "real-7" / "ended.json").touch()  # by its own rule; that of 8 is not finished
    found = records.tuned_record.merged([run("real", 5, 3, 3, 2, 1), run("quaternion", 6, 2, 2, 2)])
    assert capsys.readouterr().out.splitlines() == [
        "seed 5 is left out: not finished of quaternion",
        "seed 8 is left out: not finished of real",
    ]
    assert [{n: levels[0][0] for n, levels in t.items()} for t in found] == [
        {"real": 6, "quaternion": 6}, {"real": 7, "quaternion": 7},
    ]  # fmt: skip


def test_runs_that_saw_other_images_are_no_pairs(records, tmp_path):
    runs = [
        SimpleNamespace(path=tmp_path / name, config=SimpleNamespace(options={"data": name}))
        for name in ("one", "other")
    ]
    with pytest.raises(RunError, match=r"one, other are of other images: .* the same --seed"):
        records.tuned_record.tickets(runs, tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["cifar100", "mnist", "turned"])
def test_a_study_on_record_names_no_place_of_a_machine(name):
    for path in (RESULTS / "tuned" / name).glob("*.json"):
        assert '"/' not in path.read_text(), path


@pytest.mark.parametrize("name", ["mnist-lenet-12", "mnist-lenet-300-100"])
def test_the_curves_are_those_that_were_verified(records, name):
    verified = json.loads((RESULTS / name / "verify.json").read_text())["curves"]
    curves = {curve.algebra: curve for curve in records.curves_of(RESULTS / name)}
    assert [*curves] == ["real", "quaternion"]
    for told in verified:
        points = {p.level: p for p in curves[told["algebra"]].points}
        for level in told["levels"]:
            p = points[level["level"]]
            assert (p.x, p.accuracy) == pytest.approx((level["x"], level["ours"]), rel=1e-4)
            assert p.half_width == pytest.approx(level["half_width"])


@pytest.mark.parametrize("name", ["digits", "cifar100-resnet8", "mnist-lenet-12"])
def test_a_table_is_read_as_it_was_written(records, name):
    text = (RESULTS / "deploy" / f"{name}.txt").read_text()
    found = records.table(text)
    words = {"kilobytes": "kB", "milliseconds": "ms"}
    ends = [", ".join(w for cost, w in words.items() if is_unbeaten(o, found, cost)) for o in found]
    rows = [line for line in text.splitlines() if line[:6].strip().isdigit() and "%" in line]
    assert len(rows) == len(found)
    for row, o, end in zip(rows, found, ends, strict=True):
        assert row.split()[0] == str(o.level)
        assert f"{o.accuracy:.2%}" in row
        assert f"{o.weights:,}" in row
        assert row.rstrip().endswith(end)


def test_a_benchmark_is_drawn_from_its_record_and_says_how_calls_scatter(records, tmp_path):
    shutil.copy(RESULTS / "bench-inference.json", tmp_path)
    records.inference(tmp_path / "bench-inference")
    assert (tmp_path / "bench-inference.png").stat().st_size > 50_000
    calls = [{"seconds": {"median": 1.0, "minimum": m}, "threads": 1, "cold": False}
             for m in (0.98, 0.97, 0.8)]  # fmt: skip
    assert (
        records.bench_inference.spread(calls) == "the fastest call took 3 % less, in one case 20 %"
    )
