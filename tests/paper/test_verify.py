"""Our runs as curves, and beside the published ones."""

import json
from dataclasses import replace

import msgspec
import pytest
from paper_runs import write_level, write_run

from quatgrad.errors import OptionError, RunError
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_records
from quatgrad.paper import verify
from quatgrad.paper.measure import jitter
from quatgrad.paper.ours import MADE, published_preset, read_run
from quatgrad.paper.published import digitisation_error, published

REAL = ("cifar100", "resnet18", "real")


def test_trials_become_their_mean_and_students_interval(tmp_path):
    run = write_run(tmp_path / "run", {"real": [[0.60, 0.5], [0.62, 0.5], [0.64, 0.5]],
                                       "quaternion": [[0.6]]})  # fmt: skip
    real, quaternion = read_run(run)
    assert real.key == REAL
    assert (real.source, real.scaled) == ("ours", "")
    assert real.label == f"{run}, preset paper-cifar100"
    assert real.dense.accuracy == pytest.approx(62)
    assert real.dense.half_width == pytest.approx(4.303 * 2 / 3**0.5, rel=1e-3)
    assert (real.dense.trials, real.points[1].half_width) == (3, 0)
    assert (quaternion.dense.low, quaternion.dense.half_width) == (None, None)


def test_counts_are_those_of_the_records(tmp_path):
    run = write_run(tmp_path / "run", {"real": [[0.6, 0.5]], "quaternion": [[0.6, 0.5]],
                                       "half": [[0.5]], "equal": [[0.4]]})  # fmt: skip
    curves = {c.algebra: c.points[-1] for c in read_run(run)}
    assert list(curves) == ["real", "quaternion", "half", "equal"]
    q = curves["quaternion"]
    assert (q.fraction, q.x, q.weights, q.parameters) == (0.5, 12.5, 125, 225)
    assert (q.multiply_adds, q.bytes, curves["half"].x) == (875, 550, 25)


def test_the_predecessors_models_are_measured_with_their_biases(tmp_path):
    run = write_run(tmp_path / "run", {"real": [[0.9]], "quaternion": [[0.9]]}, "mnist",
                    "lenet-12")  # fmt: skip
    assert read_run(run)[1].dense.x == pytest.approx(100 * 350 / 1100)


def test_only_levels_that_all_trials_have_count(tmp_path):
    run = write_run(tmp_path / "run", {"real": [[0.6, 0.5, 0.4], [0.6, 0.5]]})
    assert [p.level for p in read_run(run)[0].points] == [0, 1]


def test_trials_are_read_in_the_order_of_their_numbers(tmp_path):
    run = write_run(tmp_path / "run", {"real": [[i / 100] for i in range(11)]})
    assert read_run(run)[0].dense.accuracy == pytest.approx(5)


def test_what_is_smaller_than_published_is_said(tmp_path):
    run = write_run(tmp_path / "a", {"real": [[0.6]]}, width=16, subset=1000, epochs=3)
    assert read_run(run)[0].scaled == "width 16 for 64, 1,000 training images, epochs 3 for 100"
    assert not read_run(run)[0].synthetic
    (run / MADE).touch()
    assert read_run(run)[0].synthetic
    other = write_run(tmp_path / "b", {"real": [[0.6]]}, "digits", "resnet8", epochs=1)
    assert read_run(other)[0].scaled == ""


def test_a_run_of_no_published_network_is_read(tmp_path):
    for model in ("gru", "mynet.py:net"):
        folder = write_run(tmp_path / model[:3], {"real": [[0.5, 0.4]]}, "natops", model)
        (curve,) = read_run(folder)
        assert curve.scaled == ""


def test_presets_of_what_was_published():
    assert published_preset("cifar100", "resnet50") == "paper-cifar100"
    assert published_preset("cifar100", "conv-4") == "predecessor"
    assert published_preset("mnist", "lenet-300-100") == "predecessor"
    assert published_preset("digits", "resnet8") is None


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no config\.json"):
        read_run(tmp_path)
    files.write_json(tmp_path / "config.json", {"dataset": "cifar100"})
    with pytest.raises(RunError, match="by another version"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="no real network"):
        read_run(write_run(tmp_path / "run", {"quaternion": [[0.5]]}))
    run = write_run(tmp_path / "other", {"real": [[0.5]]})
    folder = run / "trial0" / "real"
    write_level(folder, msgspec.structs.replace(read_records(folder)[0], costs=None))
    with pytest.raises(RunError, match="not counted"):
        read_run(run)


# ---------------------------------------------------------------------------- beside the published


def shifted(key, points, **more):
    """A published curve as if it were ours, with other accuracies."""
    curve = published()[key]
    moved = tuple(replace(p, accuracy=p.accuracy + points, low=None, high=None)
                  for p in curve.points)  # fmt: skip
    return replace(curve, source="ours", points=moved, **more)


def test_the_published_curve_agrees_with_itself_at_every_level():
    for key, curve in published().items():
        found = verify.matches(shifted(key, 0), curve)
        assert len(found) == len(curve.points)
        assert all(m.agrees and m.published == m.ours for m in found)


def test_single_runs_differ_beyond_twice_the_jitter_of_both():
    limit = 2 * 2**0.5 * jitter("cifar100")
    for points, agrees in ((limit - 0.01, True), (limit + 0.01, False)):
        for sign in (1, -1):
            found = verify.matches(shifted(REAL, sign * points), published()[REAL])
            assert {m.agrees for m in found} == {agrees}
    assert found[0].tolerance == pytest.approx(limit)


def test_means_of_trials_differ_beyond_both_intervals_and_the_digitisation():
    key = ("mnist", "lenet-12", "real")
    theirs = published()[key]
    ours = replace(theirs, source="ours")
    (found, *_) = verify.matches(ours, theirs)
    half = theirs.dense.half_width
    assert found.tolerance == pytest.approx((2 * half**2 + 0.164**2) ** 0.5)
    assert digitisation_error("mnist", "lenet-12") == 0.164
    assert digitisation_error("cifar100", "resnet18") == 0
    single = verify.matches(shifted(key, 0), theirs)[0]
    assert single.tolerance == pytest.approx((half**2 + (2 * 0.24) ** 2 + 0.164**2) ** 0.5)


def test_other_levels_are_compared_at_equal_size():
    """With half kept at a level, ours lie between the published levels."""
    theirs = published()[REAL]
    points = tuple(replace(theirs.dense, level=i, fraction=0.5**i, x=100 * 0.5**i)
                   for i in range(12))  # fmt: skip
    found = verify.matches(replace(theirs, source="ours", points=points), theirs)
    assert [m.level for m in found] == list(range(11))  # the last is beyond their curve
    assert found[2].published == theirs.at(25)


def test_smaller_runs_are_shown_and_not_judged():
    found = verify.report([shifted(REAL, 30, scaled="width 8 for 64")])
    assert {m["agrees"] for m in found["curves"][0]["levels"]} == {None}
    text = verify.text(found)
    assert "smaller than published (width 8 for 64)" in text
    assert "levels agree" not in text
    assert "judged from our runs; smaller than published: width 8 for 64" in text


def test_made_images_are_compared_with_nothing():
    found = verify.report([shifted(REAL, 0, synthetic=True)])
    assert (found["curves"][0]["levels"], found["gaps"], found["claims"]) == ([], [], [])
    assert "not compared" in verify.text(found)


def test_the_report_of_the_published_results_is_their_claims():
    found = verify.report([])
    assert json.loads(json.dumps(found)) == found
    assert (found["curves"], found["gaps"], len(found["claims"])) == ([], [], 18)
    text = verify.text(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "A1  NOT SUPPORTED" in text
    assert "A2  SUPPORTED" in text
    assert "NOT ENOUGH DATA" not in text


def test_the_report_of_our_runs_reads_well():
    keys = [REAL, ("cifar100", "resnet18", "quaternion")]
    controls = [
        replace(shifted(REAL, points), algebra=name)
        for name, points in (("half", -5), ("equal", -3))
    ]
    found = verify.report([*(shifted(key, 1) for key in keys), *controls])
    text = verify.text(found)
    assert json.loads(json.dumps(found)) == found
    assert "21 of 21 levels agree" in text
    assert "nothing was published for it" in text
    row = next(line for line in text.splitlines() if line.startswith("  resnet18 on cifar100"))
    assert row.split()[-5:] == ["25", "-2.0", "-2.0", "-6.0", "-4.0"]  # less our real one's +1
    assert "NOT ENOUGH DATA" in text
    assert "A1  needs resnet101 on cifar100" in text


def test_gaps_are_listed_where_both_of_ours_reach():
    found = verify.report([shifted(REAL, 0)])
    assert found["gaps"] == []


def test_two_runs_of_one_network_are_refused():
    with pytest.raises(OptionError, match="one at a time"):
        verify.report([shifted(REAL, 0), shifted(REAL, 1)])
