"""The pictures: what is drawn where, in which look."""

from dataclasses import replace

import numpy as np
import pytest

from quatgrad.lth.results import plot
from quatgrad.paper import figures
from quatgrad.paper.published import published

REAL, QUATERNION = (published()["cifar100", "resnet18", a] for a in ("real", "quaternion"))


def ours(curve, algebra=None, **more):
    points = tuple(replace(p, accuracy=p.accuracy + 1, low=p.accuracy - 1, high=p.accuracy + 3,
                           multiply_adds=50 * p.weights, bytes=4 * p.weights)
                   for p in curve.points)  # fmt: skip
    return replace(curve, source="ours", algebra=algebra or curve.algebra, points=points, **more)


ALL = [REAL, QUATERNION, ours(REAL), ours(QUATERNION), ours(QUATERNION, "half")]


def drawn(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def test_published_points_are_thin_and_ours_bold_with_intervals():
    (ax,) = figures.figure(ALL).axes
    lines = drawn(ax)
    assert len(lines) == 5
    np.testing.assert_allclose(lines[0].get_xydata(), [(p.x, p.accuracy) for p in REAL.points])
    assert [line.get_linewidth() for line in lines] == [0.9, 0.9, 2, 2, 2]
    assert [line.get_color() for line in lines] == [
        plot.STYLE[a]["color"] for a in ("real", "quaternion", "real", "quaternion", "half")
    ]
    bands = [c.get_paths()[0].get_extents() for c in ax.collections]
    assert len(bands) == 3
    lows = [p.accuracy - 1 for p in REAL.points]
    assert bands[0].y0 == pytest.approx(min(lows))


def test_fewer_weights_are_to_the_right_and_chance_is_drawn():
    fig = figures.figure(ALL)
    (ax,) = fig.axes
    left, right = ax.get_xlim()
    assert left > right
    assert ax.get_xscale() == "log"
    assert "% of the dense real network" in ax.get_xlabel()
    assert any(list(line.get_ydata()) == [1, 1] for line in ax.lines)
    texts = [t.get_text() for t in fig.legends[0].get_texts()]
    assert texts == ["real, ours", "real, published", "quaternion, ours", "quaternion, published",
                     "real, half width, ours"]  # fmt: skip


def test_one_panel_for_each_network_with_equal_axes():
    curves = [c for c in published().values() if c.dataset == "imagenet64"]
    fig = figures.figure(curves, "parameters")
    panels = [ax for ax in fig.axes if ax.get_visible()]
    titles = [f"ResNet-{n}, ImageNet64" for n in (18, 34, 50, 101, 152)]
    assert [ax.get_title(loc="left") for ax in panels] == titles
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    left, right = panels[0].get_xlim()
    assert left > 60_185_704 > right
    assert panels[0].get_ylim()[1] > max(p.accuracy for c in curves for p in c.points)
    assert [bool(ax.get_xlabel()) for ax in panels] == [False, False, True, True, True]


def test_beyond_the_paper_the_same_curves_are_drawn_against_four_costs():
    fig = figures.beyond(ALL)
    assert [ax.get_xlabel() for ax in fig.axes] == [
        "weights remaining", "parameters, with batch norm and biases",
        "multiply-adds for one image", "bytes stored",
    ]  # fmt: skip
    assert [len(drawn(ax)) for ax in fig.axes] == [5, 5, 3, 3]  # nobody published the last two
    first = drawn(fig.axes[2])[0].get_xdata()
    np.testing.assert_array_equal(first, [50 * p.weights for p in REAL.points])
    assert len({ax.get_ylim() for ax in fig.axes}) == 1


def test_a_title_says_what_is_not_as_published():
    curves = [REAL, ours(REAL, scaled="width 8 for 64", synthetic=True)]
    (ax,) = figures.figure(curves).axes
    assert ax.get_title(loc="left") == "ResNet-18, CIFAR-100\nours: made images; width 8 for 64"
    names = {c.model: c for c in published().values()}
    (ax,) = figures.figure([names["conv-2-early-stopping"]]).axes
    assert ax.get_title(loc="left") == "Conv-2, early stopping, CIFAR-10"


def test_counts_on_the_axis_have_units():
    (ax,) = figures.figure(ALL, "parameters").axes
    form = ax.xaxis.get_major_formatter()
    assert [form(x) for x in (3, 3e3, 2e6, 1e9)] == ["3", "3 k", "2 M", "1 G"]


def test_pictures_are_written_and_equal_figures_are_equal_files(tmp_path):
    for name in ("a", "b"):
        plot.save(figures.beyond(ALL), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
