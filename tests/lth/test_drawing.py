"""Pictures with awkward data: labels that differ, legends beside curves, honest bands."""

import math
from dataclasses import replace

import numpy as np
import pytest
from level_records import records
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from quatgrad.lth.analysis import plots
from quatgrad.lth.results import compare, drawing, offers, plot
from quatgrad.lth.results.confusion import Confusion
from quatgrad.lth.results.run import NAMES
from quatgrad.lth.tune import plots as tune_plots
from quatgrad.lth.tune.space import Range, StudyFile, TuneOptions
from quatgrad.paper import figures
from quatgrad.paper.published import published


def many(n, levels, height=0.9, half=0.0):
    """`n` networks that all fall from `height`."""
    means = [
        compare.LevelMean(k, 1000 // 2**k, 1000, height * 0.9**k, half or None, 3)
        for k in range(levels)
    ]
    return dict.fromkeys(NAMES[:n], means)


def ticks(axis):
    """The labels that are to be seen."""
    low, high = sorted(axis.get_view_interval())
    locations = axis.get_majorticklocs()
    labels = axis.get_major_formatter().format_ticks(locations)
    slack = 1e-9 * max(abs(low), abs(high))
    return [s for s, x in zip(labels, locations, strict=True) if low - slack <= x <= high + slack]


def check(figure):
    """Every axis has two ticks or more, all different; percent is written one way; no overlap."""
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if ax.get_label() != "<colorbar>" and not ax.images:
                labels = ticks(axis)
                assert len(labels) >= 2, (ax.get_title(loc="left"), labels)
                assert len(set(labels)) == len(labels), labels
                assert all("%" not in s or s.endswith(" %") for s in labels)
    for legend in figure.legends:
        box = legend.get_window_extent()
        for ax in figure.axes:
            assert not box.overlaps(ax.get_window_extent())
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1 + 1


CURVES = {
    "as usual": many(2, 5),
    "near zero": many(2, 5, height=0.012),
    "at zero": many(2, 3, height=0.0),
    "one level": many(2, 1),
    "twenty curves": many(20, 4),
    "wide bands": many(2, 5, half=1.2),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("chance", [0.5, 0.001], ids=["2 classes", "1000 classes"])
def test_the_picture_of_a_run(name, chance):
    caption = "width 16, 1,437 training images, 12 epochs a level; 3 seeds, band: 95 % interval"
    figure = plot.figure(CURVES[name], "resnet8 on digits: lottery tickets", chance, caption)
    check(figure)
    (ax,) = figure.axes
    assert any(list(line.get_ydata()) == [chance, chance] for line in ax.lines)
    for band in ax.collections:
        y = band.get_paths()[0].vertices[:, 1]
        assert y.min() >= 0
        assert y.max() <= 1
    assert len(figure.legends[0].get_texts()) == len(CURVES[name])
    written = " ".join(t.get_text().replace("\n", " ") for t in ax.texts)
    assert caption in written
    title, small = ax._left_title, next(t for t in ax.texts if "width 16" in t.get_text())
    assert not title.get_window_extent().overlaps(small.get_window_extent())


@pytest.mark.parametrize(("values", "labels"), [
    ([0, 0.5, 1], ["0 %", "50 %", "100 %"]),
    ([0, 0.005, 0.01], ["0.0 %", "0.5 %", "1.0 %"]),
    ([0.985, 0.9875, 0.99], ["98.50 %", "98.75 %", "99.00 %"]),
    ([0, 0.0001], ["0.00 %", "0.01 %"]),
])  # fmt: skip
def test_decimals_follow_the_range(values, labels):
    ax = Figure().add_subplot()
    ax.set_yticks(values)
    ax.yaxis.set_major_formatter(drawing.Percent())
    assert ax.yaxis.get_major_formatter().format_ticks(values) == labels


def test_percent_is_written_in_full():
    assert [drawing.percent(x) for x in (100, 12.5, 0.02, 0.00001)] == [
        "100 %", "12.5 %", "0.02 %", "0.00001 %",
    ]  # fmt: skip


def levels_of(densities):
    """What `analyse` says of levels, made up."""
    return [
        {"level": k, "density": d, "weights_left": int(1000 * d), "effective": int(900 * d),
         "densities": {f"layer{n}.weight": [d] * 4 for n in range(20)}, "togetherness": 1 + k / 9,
         "components": [9, 8, 7, 6], "quaternions": {"found": [1, 2, 3, 4, 5],
                                                     "chance": [5, 4, 3, 2, 1]}}
        for k, d in enumerate(densities)
    ]  # fmt: skip


@pytest.mark.parametrize("densities", [[1.0], [1.0, 0.5, 0.25], [1.0, 0.001]])
def test_pictures_of_an_analysis(densities):
    levels, about = levels_of(densities), "resnet8 on digits, width 16; 1 seed"
    overlaps = {"quaternion": [{"level": k, "corrected": 0.1 * k} for k in range(len(densities))]}
    one = records(1000, *((int(1000 * d), 0.01) for d in densities))
    from dataclasses import asdict

    from quatgrad.lth.results.curve import matching, sparsest

    found = matching([one])
    curve = {"matching": [asdict(m) for m in found], "tolerance": 0.01, "area": 0.012,
             "sparsest": asdict(sparsest(found))}  # fmt: skip
    drawn = [
        plots.densities("quaternion", levels, about),
        plots.quaternions("quaternion", levels, about),
        plots.effective({"quaternion": levels}, about),
        plots.overlaps(overlaps, {"quaternion": levels}, about),
        plots.matching({"quaternion": curve}, {"quaternion": [one]}, about),
    ]
    for figure in drawn:
        check(figure)
        written = " ".join(t.get_text().replace("\n", " ") for t in figure.axes[0].texts)
        assert about in written
    assert all(label.isdigit() for label in ticks(drawn[0].axes[0].xaxis))


@pytest.mark.parametrize("accuracies", [(0.97,), (0.97, 0.9, 0.2), (0.011, 0.0105, 0.01)])
def test_the_picture_of_what_can_be_deployed(accuracies):
    one = offers.Offer("", "real", 0, 0.9, 0.01, 0.9, 900, 9000, 9.0, 3.0, 0.1)
    found = [
        replace(one, level=k, accuracy=a, judged=a, kilobytes=9 / 2**k, milliseconds=0.1 / 2**k)
        for k, a in enumerate(accuracies)
    ]
    figure = offers.figure(found, "digits-resnet8-12345678\nwidth 16")
    check(figure)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["real", "unbeaten"]
    for container in figure.axes[0].containers:
        for bars in container.lines[2]:
            ends = [y for segment in bars.get_segments() for _, y in segment]
            assert 0 <= min(ends) <= max(ends) <= 1


def test_costs_that_are_nearly_equal_have_two_ticks_too():
    one = offers.Offer("", "real", 0, 0.975, 0.05, 0.975, 900, 9000, 9.0, 3.0, 0.0077)
    two = replace(one, level=1, kilobytes=12.0, milliseconds=0.0182)
    check(offers.figure([one, two], "digits-resnet8-12345678\nwidth 16"))


def test_a_confusion_matrix_says_how_many_images_it_is_of():
    figure = Confusion(np.array([[3, 1], [0, 4]]), ("cat", "dog")).figure()
    check(figure)
    title = figure.axes[0].get_title(loc="left"), figure.axes[0].texts[-1].get_text()
    assert "87.50 % right" in title[0]
    assert "8 images" in title[1]
    series = Confusion(np.array([[3, 1], [0, 4]]), ("cat", "dog"), "series")
    assert "8 series" in series.figure().axes[0].texts[-1].get_text()


def test_pictures_of_a_study():
    found = {"real": {"trials": 1, "best of k": [0.01], "best so far": [0.01]}}
    figure = tune_plots.best(
        found, "spun: 1,600 training, 400 validation images, 12 epochs a level"
    )
    FigureCanvasAgg(figure).draw()
    assert all(s.isdigit() for s in ticks(figure.axes[0].xaxis))


@pytest.mark.parametrize("height", [0.9, 0.012, 0.0])
@pytest.mark.parametrize("trials", [1, 16])
def test_the_settings_of_a_study(height, trials):
    space = {"lr": Range(0.01, 1.0, log=True), "init": ("he", "xavier"), "epochs": Range(3, 9),
             "momentum": (0.0, 0.9)}  # fmt: skip
    study = StudyFile("spun", TuneOptions(), {}, space)
    rows = [{"network": network, "validation_accuracy": height * (1 - k / 40), "lr": 0.01 * 1.3**k,
             "init": ("he", "xavier")[k % 2], "epochs": 3 + k % 7, "momentum": 0.9 * (k % 2)}
            for network in ("real", "quaternion", "half") for k in range(trials)]  # fmt: skip
    figure = tune_plots.space(study, rows, "spun: 1,600 training, 400 validation images")
    check(figure)
    assert [ax.axison for ax in figure.axes] == [True] * 4 + [False] * 2
    assert "1,600 training" in figure.get_suptitle()


def test_the_papers_pictures_say_how_large_our_training_was():
    real = published()["cifar100", "resnet18", "real"]
    half = [replace(p, accuracy=99.0, low=95.0, high=103.0, trials=3) for p in real.points]
    ours = replace(real, source="ours", points=tuple(half), chance=25.0, synthetic=True,
                   setting="width 8, 500 training images, 1 epochs a level")  # fmt: skip
    for figure in (figures.figure([real, ours]), figures.beyond([real, ours])):
        FigureCanvasAgg(figure).draw()
        about = figure.legends[0].get_title().get_text()
        assert "width 8, 500 training images" in about
        assert "3 trials" in about
        assert "95 % interval" in about
        for ax in figure.axes:
            assert all(c.get_paths()[0].vertices[:, 1].max() <= 100 for c in ax.collections)
            assert len(set(ticks(ax.yaxis))) == len(ticks(ax.yaxis))
    levels = {line.get_ydata()[0] for line in figures.figure([real, ours]).axes[0].lines
              if len(line.get_xdata()) == 2}  # fmt: skip
    assert levels == {1.0, 25.0}
    assert math.isclose(figures.figure([real]).axes[0].get_ylim()[0], 0)
