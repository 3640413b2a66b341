"""experiments/beyond.py: tasks beyond images in one table, from runs and from the record."""

import ast
import csv
import json
import math
import statistics
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from quatgrad.lth.command.cli import main as lth

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture(scope="module")
def beyond():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        import beyond

        yield beyond


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tasks that need no download, each with two trials of three networks; one unfinished."""
    out = tmp_path_factory.mktemp("runs")
    how = ["--epochs", "1", "--levels", "2", "--trials", "2", "--quiet", "--out", str(out)]
    text = ["--dataset", "citizens", "--width", "16", "--rewind-epoch", "0", "--subset", "36"]
    three = ["--algebra", "with-equal", "--stop-accuracy", "0"]
    assert lth([*text, *how, *three]) == 0
    only = ["--algebra", "quaternion", "--real-parts", "out,ff", "--stop-accuracy", "0"]
    assert lth([*text, *how, *only]) == 0
    assert lth(["--preset", "smoke", "--out", str(out), "--quiet"]) == 0  # images: not beyond
    return out


@pytest.fixture(scope="module")
def record(beyond, runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("record")
    assert beyond.main([str(runs), "--commit", "abc", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def drawing(beyond):
    import beyond_draw

    return beyond_draw


@pytest.fixture(scope="module")
def recorded(beyond):
    import beyond_record

    return beyond_record


def test_its_files_import_one_way():
    files = ("beyond_record", "beyond_draw", "beyond")
    for n, name in enumerate(files):
        tree = ast.parse((EXPERIMENTS / f"{name}.py").read_text())
        there = {a.name for x in ast.walk(tree) if isinstance(x, ast.Import) for a in x.names}
        there |= {x.module for x in ast.walk(tree) if isinstance(x, ast.ImportFrom)}
        assert there.isdisjoint(files[n:])


def test_the_trials_of_a_recorded_command_are_those_on_record():
    for path in (EXPERIMENTS / "results/beyond").glob("*/record.json"):
        known = json.loads(path.read_text())
        assert f"--trials {len(known['seeds'])} " in known["command"], path
        assert {int(r["trial"]) for r in rows(path.parent / "seeds.csv")} == {*known["seeds"]}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_task_has_its_numbers_and_what_was_run(record, runs):
    assert {p.name for p in record.iterdir() if p.is_dir()} == {"citizens", "citizens-qkv"}
    folder = record / "citizens"
    assert {p.name for p in folder.iterdir()} == {
        "seeds.csv", "comparison.csv", "record.json", "accuracy.png", "matched.csv", "samples.md",
    }  # fmt: skip
    assert len(rows(folder / "seeds.csv")) == 2 * 3 * 3
    (run,) = (p for p in runs.glob("citizens-gpt-*") if (p / "trial0" / "equal").exists())
    theirs, ours = (rows(path / "comparison.csv") for path in (run, folder))
    assert theirs == ours
    known = json.loads((folder / "record.json").read_text())
    assert known["seeds"] == [0, 1]
    assert known["commit"] == "abc"
    assert "--preset shakespeare --dataset citizens" in known["command"]
    assert str(runs) not in json.dumps(known)


def test_differences_are_paired_by_seed(beyond, record):
    found = rows(record / "citizens" / "seeds.csv")
    dense = {(r["trial"], r["network"]): float(r["accuracy"]) for r in found if r["level"] == "0"}
    gaps = [dense[t, "quaternion"] - dense[t, "equal"] for t in ("0", "1")]
    low, high = stats.t.interval(0.95, 1, statistics.fmean(gaps), stats.sem(gaps))
    row = next(r for r in rows(record / "table.csv") if r["against"] == "equal")
    mean, half = (float(row[f"{what} dense"]) for what in ("difference", "interval"))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    ahead = "not shown" if low <= 0 <= high else ("quaternion" if mean > 0 else "equal")
    assert row["ahead dense"] == ahead


def level(recorded, trial, network, number, weights, score, products=None):
    digest = f"{trial}{network}{number}"
    return recorded.Level(trial, network, number, weights, 100, score, 1.0, products, None, digest)


def curve(recorded, trial, network, points, factor=1):
    return [
        level(recorded, trial, network, n, w, score, factor * w)
        for n, (w, score) in enumerate(points)
    ]


def test_along_the_tickets_by_hand(beyond, recorded):
    """Constant gaps of 0.1 and 0.2 wherever both have weights, and four times as many products."""
    trials = [
        {
            "quaternion": curve(recorded, t, "quaternion", [(100, 0.9), (10, 0.5)], 4),
            "equal": curve(recorded, t, "equal", [(110, 0.9 - gap), (10, 0.5 - gap), (5, 0.0)]),
        }
        for t, gap in enumerate((0.1, 0.2))
    ]
    slope = (0.9 - 0.5) * (1 - math.log(100) / math.log(110)) / 1  # nearly no other abscissa
    found = beyond.along(trials, "quaternion", "equal")
    assert found.mean == pytest.approx(0.15, abs=abs(slope) + 0.02)
    assert found.ahead("quaternion", "equal") == "not shown"  # two seeds: a wide interval
    x = np.linspace(math.log(40), math.log(110), 10**5)
    ours = np.interp(x, np.log([40, 400]), [0.5, 0.9])
    theirs = [np.interp(x, np.log([10, 110]), [0.5 - g, 0.9 - g]) for g in (0.1, 0.2)]
    by_hand = statistics.fmean((ours - y).mean() for y in theirs)
    products = attrgetter("multiply_adds")
    assert beyond.along(trials, "quaternion", "equal", products).mean == pytest.approx(
        by_hand, abs=1e-4
    )
    row = beyond.line("x", trials, "quaternion", "equal")
    assert row["difference at equal bytes"] is None  # not counted here
    assert (row["fewest weights"], row["fewest difference"]) == (10, pytest.approx(0.15))
    assert beyond.fewest(row).startswith("+15.0 ± 63.5 at 10")
    at = {r["weights"]: r["difference"] for r in beyond.matched(trials, "quaternion", "equal")}
    assert at[10] == pytest.approx(0.15)


def test_who_shares_no_size_is_not_compared(beyond, recorded):
    trials = [
        {
            "quaternion": curve(recorded, 0, "quaternion", [(9, 0.9), (8, 0.5)]),
            "real": curve(recorded, 0, "real", [(100, 0.9), (10, 0.5)]),
        }
    ]
    row = beyond.line("x", trials, "quaternion", "real")
    assert row["difference at equal weights"] is None
    assert row["interval dense"] is None  # one seed
    assert beyond.fewest(row) == "share none"
    assert beyond.said(row, "at equal weights") == "share none"


def test_the_record_alone_gives_the_same_again(beyond, record, tmp_path):
    before = {p: p.read_bytes() for p in sorted(record.rglob("*")) if p.is_file()}
    beyond.main(["--out", str(record)])
    assert {p: p.read_bytes() for p in sorted(record.rglob("*")) if p.is_file()} == before
    text = (record / "README.md").read_text()
    assert "citizens" in text
    assert "not shown" in text or ", quaternion" in text or ", equal" in text
    with pytest.raises(SystemExit, match="no task on record"):
        beyond.main(["--out", str(tmp_path)])


def test_an_unfinished_trial_is_left_out(recorded, runs, tmp_path):
    (run,) = (p for p in runs.glob("citizens-gpt-*") if (p / "trial0" / "equal").exists())
    from quatgrad.lth.results.run import Run

    assert len(recorded.finished(Run(run))) == 2
    last = run / "trial1" / "equal" / "level_02"
    target = last.readlink()
    last.unlink()
    try:
        assert [t["real"][0].trial for t in recorded.finished(Run(run))] == [0]
    finally:
        last.symlink_to(target)


def test_published_baselines_are_told_with_ours(beyond):
    row = {"against score": 0.95, "against interval": 0.03, "against loss": 1.87}
    assert beyond.reached(row, "natops")[0].endswith("2.20 points below, within the interval")
    assert beyond.reached(row, "shakespeare") == [
        "loss 1.88 (nanoGPT's recipe for a CPU), ours 1.870: reached"
    ]
    assert "does not compare" in beyond.reached(row, "bccd")[0]


def test_samples_are_of_the_networks_before_and_after_pruning(record):
    text = (record / "citizens" / "samples.md").read_text()
    assert text.count("ROMEO:\n") == text.count("```text")
    for name in ("real", "quaternion", "equal"):
        assert f"{name}, level 0" in text
        assert f"{name}, level 2" in text


def test_a_variant_stands_in_the_panel_of_its_task_and_beside_its_networks(
    beyond, drawing, recorded, record, monkeypatch
):
    monkeypatch.setitem(recorded.VARIANTS, "citizens-qkv", "citizens")
    tasks = recorded.on_record(record)
    drawn = []
    monkeypatch.setattr(drawing.plot, "save", lambda fig, path: drawn.append(fig))
    drawing.draw_all(record, tasks)
    (panel,) = [ax for ax in drawn[0].axes if ax.get_visible()]
    labels = [x.get_label() for x in panel.lines if not x.get_label().startswith("_")]
    assert labels == ["real", "quaternion", "real, equal weights", "quaternions in Q, K, V"]
    late_first = {"citizens": tasks["citizens"], "citizens-qkv": tasks["citizens-qkv"][::-1]}
    trials = beyond.with_partner("citizens-qkv", late_first)
    assert [recorded.trial_of(t) for t in trials] == [1, 0]
    assert all(len({levels[0].trial for levels in t.values()}) == 1 for t in trials)
    own = tasks["citizens-qkv"][0]["quaternion"]
    assert trials[1]["quaternion"] == own != tasks["citizens"][0]["quaternion"]
    assert {r["against"] for r in beyond.lines("citizens-qkv", trials)} == {"real"}
    assert {r["against"] for r in beyond.lines("citizens", tasks["citizens"])} == {"real", "equal"}
