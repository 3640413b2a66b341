"""Real against quaternion: the table, accuracies at equal weights, and the picture."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from level_records import records
from matplotlib import rcParams, style

from quatgrad.errors import OptionError, RunError
from quatgrad.lth.results import compare, plot


def curves_of(**runs):
    """The means of one trial."""
    return compare.mean([runs])


REAL = records(1000, (1000, 0.9), (100, 0.7), (10, 0.1))
QUATERNION = records(250, (250, 0.8), (25, 0.5))
RUNS = curves_of(real=REAL, quaternion=QUATERNION)


def test_one_row_for_each_level():
    assert compare.rows(RUNS) == [
        {"level": 0, "real_percent_left": 100, "real_weights_left": 1000, "real_accuracy": 0.9,
         "quaternion_percent_left": 100, "quaternion_weights_left": 250,
         "quaternion_accuracy": 0.8},
        {"level": 1, "real_percent_left": 10, "real_weights_left": 100, "real_accuracy": 0.7,
         "quaternion_percent_left": 10, "quaternion_weights_left": 25, "quaternion_accuracy": 0.5},
        {"level": 2, "real_percent_left": 1, "real_weights_left": 10, "real_accuracy": 0.1,
         "quaternion_percent_left": None, "quaternion_weights_left": None,
         "quaternion_accuracy": None},
    ]  # fmt: skip


def test_an_accuracy_of_0_is_no_missing_level():
    rows = compare.rows(curves_of(real=records(10, (10, 0.0))))
    assert rows[0]["real_accuracy"] == 0.0
    assert "0.00%" in compare.text_table(curves_of(real=records(10, (10, 0.0))))


def test_the_table_on_the_screen():
    lines = compare.text_table(RUNS).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == [
        "level", "|", "real:", "%", "left", "weights", "accuracy",
        "|", "quaternion:", "%", "left", "weights", "accuracy",
    ]  # fmt: skip
    assert " ".join(lines[2].split()) == "0 | 100.00 1,000 90.00% | 100.00 250 80.00%"
    assert " ".join(lines[4].split()) == "2 | 1.00 10 10.00% |"
    bars = {tuple(i for i, c in enumerate(line) if c in "|+") for line in lines}
    assert len(bars) == 1


def test_the_mean_of_trials_and_its_interval():
    """t(0.975, 2) = 4.302653; s = 0.01 for 0.5, 0.51, 0.52."""
    trials = [{"real": records(10, (10, a), (5, 0.2))} for a in (0.5, 0.51, 0.52)]
    trials[1]["real"] = trials[1]["real"][:1]  # it ended earlier
    (level,) = compare.mean(trials)["real"]
    assert level.accuracy == pytest.approx(0.51)
    assert level.interval == pytest.approx(4.302653 * 0.01 / math.sqrt(3))
    assert level.trials == 3
    assert compare.mean(trials[:1])["real"][0].interval is None


def test_the_table_of_trials_has_intervals():
    trials = [{"real": records(10, (10, a), (5, a))} for a in (0.5, 0.6)]
    trials[0]["half"] = records(4, (4, 0.3))
    trials[1]["half"] = records(4, (4, 0.3))
    lines = compare.text_table(compare.mean(trials)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].count("+-") == 2
    assert " ".join(lines[2].split()) == "0 | 100.00 10 55.00% 63.53% | 100.00 4 30.00% 0.00%"


def test_accuracy_at_equal_weights_is_interpolated_in_the_logarithm():
    """250 lies log10(2.5) = 0.398 of the way from 100 to 1000, 25 as far from 10 to 100."""
    points = compare.equal_weights(RUNS)
    t = math.log10(2.5)
    assert [(w, q) for w, _, q in points] == [(250, 0.8), (25, 0.5)]
    assert [r for _, r, _ in points] == pytest.approx([0.7 + 0.2 * t, 0.1 + 0.6 * t])


def test_at_a_number_of_weights_that_the_real_run_had_it_is_its_accuracy():
    runs = curves_of(real=REAL, quaternion=records(100, (100, 0.6), (10, 0.2)))
    assert compare.equal_weights(runs) == [(100, 0.7, 0.6), (10, 0.1, 0.2)]


def test_outside_the_real_run_nothing_is_made_up():
    runs = curves_of(real=REAL[:1], quaternion=QUATERNION)
    assert compare.equal_weights(runs) == []
    assert "share no number of weights" in compare.verdict(runs)
    runs = curves_of(real=REAL[:2], quaternion=records(250, (250, 0.8), (99, 0.5)))
    assert [w for w, _, _ in compare.equal_weights(runs)] == [250]


def test_levels_with_equally_many_weights_divide_by_nothing():
    """When one weight of each tensor is left, the levels that follow have as many."""
    runs = curves_of(real=records(9, (9, 0.9), (3, 0.5), (3, 0.4)), quaternion=records(3, (3, 0.2)))
    ((weights, real, quaternion),) = compare.equal_weights(runs)
    assert (weights, quaternion) == (3, 0.2)
    assert real in (0.4, 0.5)


def test_the_verdict_names_both_directions_the_seeds_and_the_price():
    told = compare.verdict(RUNS)
    assert "16.1 points ahead, at 25 weights (50.0% against 33.9%)" in told
    assert "one seed: chance may be all of it" in told
    assert "about four times the multiply-adds" in told
    worse = compare.verdict(curves_of(real=REAL, quaternion=records(250, (250, 0.1))))
    assert "points behind, at 250 weights" in worse
    assert "ahead" not in worse
    crossing = curves_of(real=REAL, quaternion=records(250, (250, 0.1), (25, 0.9)))
    assert "ahead, at 25 weights" in compare.verdict(crossing)
    assert " and " in compare.verdict(crossing)
    assert "points behind, at 250 weights" in compare.verdict(crossing)
    beside = compare.verdict(curves_of(equal=REAL, quaternion=RUNS["quaternion"]), "equal")
    assert beside == told.replace("At equal weights:", "At equal weights, beside equal:")


@pytest.mark.parametrize(("half", "word"), [
    (0.0, "points ahead"), (0.07, "points ahead"), (0.09, "no difference"), (0.6, "no difference"),
])  # fmt: skip
def test_where_intervals_overlap_there_is_no_difference(half, word):
    both = curves_of(real=REAL, quaternion=records(250, (25, 0.5)))
    runs = {n: [replace(x, interval=half, trials=3) for x in both[n]] for n in both}
    told = compare.verdict(runs)
    assert word in told
    assert "3 seeds; where intervals overlap there is no difference" in told


def test_without_intervals_several_seeds_say_no_more_than_one():
    runs = {n: [replace(x, trials=2) for x in levels] for n, levels in RUNS.items()}
    assert "(no interval is known: chance may be all of it)" in compare.verdict(runs)


def test_the_axis_says_whose_weights_are_100_percent():
    for runs, whose in ((RUNS, "real"), (curves_of(quaternion=QUATERNION), "quaternion")):
        (ax,) = plot.figure(runs, "title", 0.1).axes
        assert ax.get_xlabel() == f"weights remaining, in % of the dense {whose} network"


def test_100_percent_is_the_dense_real_network():
    assert compare.full_size(RUNS) == 1000
    assert compare.full_size(dict(reversed(RUNS.items()))) == 1000
    assert compare.full_size(curves_of(quaternion=QUATERNION)) == 250


def curves(figure):
    (ax,) = figure.axes
    return {line.get_label(): np.array(line.get_xydata()) for line in ax.lines}


def test_the_curves_are_the_records_in_percent_of_the_dense_real_network():
    found = curves(plot.figure(RUNS, "title", chance=0.1))
    np.testing.assert_allclose(found["real"], [(100, 0.9), (10, 0.7), (1, 0.1)])
    np.testing.assert_allclose(found["quaternion"], [(25, 0.8), (2.5, 0.5)])
    alone = curves(plot.figure(curves_of(quaternion=QUATERNION), "title", chance=0.1))
    np.testing.assert_allclose(alone["quaternion"], [(100, 0.8), (10, 0.5)])


def test_fewer_weights_are_to_the_right_and_chance_is_drawn():
    (ax,) = plot.figure(RUNS, "title", chance=0.1).axes
    left, right = ax.get_xlim()
    assert left > right
    assert ax.get_xscale() == "log"
    assert "% of the dense real network" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "title"
    assert any(list(line.get_ydata()) == [0.1, 0.1] for line in ax.lines)
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["real", "quaternion"]


@pytest.mark.parametrize("kind", ["png", "svg"])
@pytest.mark.parametrize("runs", [RUNS, curves_of(real=REAL[:1])], ids=["both", "one point"])
def test_equal_figures_are_equal_files(tmp_path, kind, runs):
    for name in ("a", "b"):
        plot.save(plot.figure(runs, "t", 0.1), tmp_path / f"{name}.{kind}")
    a, b = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("a", "b"))
    assert a == b


def test_one_figure_saved_twice_is_the_same_file(tmp_path):
    figure = plot.figure(RUNS, "t", 0.1)
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        plot.save(figure, tmp_path / name)
    for kind in ("svg", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_the_files_are_a_png_and_an_svg(tmp_path):
    from matplotlib.image import imread

    figure = plot.figure(RUNS, "real & quaternion", 0.1)
    plot.save(figure, tmp_path / "a.PNG")
    plot.save(figure, tmp_path / "a.svg")
    height, width, _ = imread(tmp_path / "a.PNG", format="png").shape
    assert (height, width) == (736, 1120)
    assert ET.parse(tmp_path / "a.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_other_kinds_and_impossible_places_are_refused(tmp_path):
    figure = plot.figure(RUNS, "t", 0.1)
    with pytest.raises(OptionError, match=r"\.png or \.svg"):
        plot.save(figure, tmp_path / "a.pdf")
    with pytest.raises(RunError, match="cannot write"):
        plot.save(figure, tmp_path / "nowhere" / "a.png")


def test_figures_have_the_style_of_the_lessons():
    with style.context("quatgrad.style"):
        cycle = rcParams["axes.prop_cycle"].by_key()["color"]
    colours = [look["color"] for look in plot.STYLE.values()]
    assert colours == cycle[: len(colours)]
    (ax,) = plot.figure(RUNS, "t", 0.1).axes
    assert not ax.spines["top"].get_visible()
    assert rcParams["axes.spines.top"], "outside of the figure nothing has changed"


def test_networks_that_do_not_fit_in_the_terminal_are_below_each_other(monkeypatch):
    whole = compare.text_table(RUNS)
    monkeypatch.setenv("COLUMNS", "60")
    stacked = compare.text_table(RUNS)
    assert max(map(len, whole.splitlines())) > 60 >= max(map(len, stacked.splitlines()))
    assert stacked.count("level |") == len(RUNS)
    assert stacked.count("\n\n") == len(RUNS) - 1
