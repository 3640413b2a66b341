"""Analysis against brute force: entry by entry, mask by mask, point by point."""

import itertools
import json
import math
from dataclasses import asdict, replace

import level_records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import RECIPE, dataset, lenet, network, random_masks, run

from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError, RunError, ShapeError
from quatgrad.lth import Ticket, rewind
from quatgrad.lth.analysis import connectivity, mask_stats, plots
from quatgrad.lth.analysis.analysis import analyse, collapses, describe
from quatgrad.lth.analysis.overlap import expanded, overlap
from quatgrad.lth.results.curve import area, matching, sparsest
from quatgrad.lth.store.stage import read_records
from quatgrad.nn import BatchNorm2d
from quatgrad.train import evaluate, train


def quaternion_mask(seed=0, shape=(4, 3, 5), keep=(0.9, 0.5, 0.5, 0.2)):
    rng = np.random.default_rng(seed)
    return np.stack([rng.random(shape[1:]) < k for k in keep])


# ---------------------------------------------------------------------------- anatomy


def test_patterns_counted_one_by_one():
    mask = quaternion_mask()
    counts = dict.fromkeys(mask_stats.PATTERNS, 0)
    for p, q in np.ndindex(3, 5):
        name = "".join(c for a, c in enumerate("1ijk") if mask[a, p, q])
        counts[name or "dead"] += 1
    assert mask_stats.patterns(mask).tolist() == list(counts.values())
    assert mask_stats.by_number(mask_stats.patterns(mask)).tolist() == [
        sum(n for name, n in counts.items() if (0 if name == "dead" else len(name)) == k)
        for k in range(5)
    ]


def test_chance_is_the_mean_over_all_masks_of_the_same_counts():
    """3 quaternions with 2, 1, 3 and 0 of a component: every one of the 3 x 3 masks."""
    sizes, n = (2, 1, 3, 0), 3
    total, masks = np.zeros(16), 0
    spread = 0.0
    for chosen in itertools.product(*(itertools.combinations(range(n), k) for k in sizes)):
        mask = np.zeros((4, n, 1), bool)
        for a, places in enumerate(chosen):
            mask[a, list(places)] = True
        total += mask_stats.patterns(mask)
        spread += mask_stats.co_survival({"w": mask})
        masks += 1
    np.testing.assert_allclose(mask_stats.patterns_by_chance(mask), total / masks)
    assert spread / masks == pytest.approx(1)


def test_co_survival_of_whole_and_of_exclusive_quaternions():
    whole = np.broadcast_to(np.arange(12).reshape(4, 3) % 3 == 0, (4, 4, 3))
    assert mask_stats.co_survival({"w": whole}) == pytest.approx(4)
    one_each = np.arange(4)[:, None, None] == np.arange(8).reshape(2, 4) % 4
    assert mask_stats.co_survival({"w": one_each}) == 0
    assert mask_stats.co_survival({"w": np.ones((4, 2, 2), bool)}) is None
    assert mask_stats.co_survival({"w": np.eye(3, dtype=bool)}) is None  # a real weight


def test_incomplete_quaternions_and_densities_of_a_network():
    masks = random_masks(network("quaternion"), 0.3)
    found = mask_stats.incomplete(masks)
    quaternions = [m.reshape(4, -1).sum(axis=0) for m in masks.values() if m.ndim % 2]
    k = np.concatenate(quaternions)
    assert found["found"] == [float((k == i).sum()) for i in range(5)]
    assert sum(found["chance"]) == pytest.approx(len(k))
    assert mask_stats.components(masks) == [
        sum(int(m[a].sum()) for m in masks.values() if m.ndim % 2) for a in range(4)
    ]
    d = mask_stats.densities(masks)
    assert len(d["stem.weight"]) == 4
    assert d["stem.weight"][2] == masks["stem.weight"][2].mean()
    assert len(d["head.weight"]) == 1
    assert mask_stats.incomplete({"w": np.ones((2, 2), bool)})["found"] == [0] * 5
    assert mask_stats.empty(masks | {"w": np.zeros((2, 2), bool)}) == ["w"]


# ---------------------------------------------------------------------------- overlap


def test_overlap_by_chance_is_the_mean_over_all_shuffles():
    A = np.array([1, 1, 0, 0, 1], bool)[:, None]
    shared = []
    for chosen in itertools.combinations(range(5), 2):
        B = np.zeros((5, 1), bool)
        B[list(chosen)] = True
        shared.append((A & B).sum())
    found = overlap({"w": A}, {"w": B})
    assert found.chance == pytest.approx(np.mean(shared))
    assert found.variance == pytest.approx(np.var(shared))
    assert (found.shared, found.union, found.most) == (shared[-1], (A | B).sum(), 2)
    assert found.jaccard == found.shared / found.union
    assert found.deviations == pytest.approx((found.shared - found.chance) / np.std(shared))


@pytest.mark.parametrize("density", [0.107, 0.5])
def test_the_overlap_of_a_large_layer_is_within_chance(density):
    """a b (n - a) (n - b) of 784 x 300 entries is no int64."""
    rng = np.random.default_rng(0)
    one, other = ({"w": rng.random((784, 300)) < density} for _ in range(2))
    n, a, b = 784 * 300, int(one["w"].sum()), int(other["w"].sum())
    found = overlap(one, other)
    assert found.variance == pytest.approx(a * b * (n - a) * (n - b) / (n**2 * (n - 1)))
    assert abs(found.deviations) < 4


@given(seed=st.integers(0, 999), keep=st.floats(0.1, 0.9))
def test_overlap_of_equal_masks_is_1_and_components_count_apart(seed, keep):
    masks = {"q": quaternion_mask(seed, keep=(keep,) * 4), "r": quaternion_mask(seed)[0]}
    same = overlap(masks, masks)
    assert same.jaccard == 1
    assert same.corrected == pytest.approx(1) or same.corrected is None
    apart = {f"q{a}": masks["q"][a] for a in range(4)} | {"r": masks["r"]}
    assert overlap(apart, apart).chance == pytest.approx(same.chance)


def test_dense_masks_share_no_more_than_by_chance_and_others_do_not_compare():
    dense = {"w": np.ones((3, 3), bool)}
    found = overlap(dense, dense)
    assert (found.jaccard, found.corrected, found.deviations) == (1, None, None)
    empty = {"w": np.zeros((3, 3), bool)}
    assert overlap(empty, empty).jaccard == 1
    with pytest.raises(ShapeError, match="different networks"):
        overlap(dense, {"w": np.ones((4, 3), bool)})


def test_random_masks_of_equal_density_do_not_overlap_beyond_chance():
    a, b = (random_masks(network("quaternion", width=32), 0.2, seed) for seed in (1, 2))
    assert overlap(a, b).jaccard > 0.1
    assert abs(overlap(a, b).corrected) < 0.02
    assert abs(overlap(a, b).deviations) < 4


def test_a_quaternion_mask_as_that_of_its_real_twin():
    """Against the block matrix of the paper, drawn out: r -i -j -k | i r -k j | ..."""
    drawn = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]  # [c][b]: which component
    mask = quaternion_mask()
    blocks = expanded({"w": mask, "real": np.eye(2, dtype=bool)})
    for b, c in np.ndindex(4, 4):
        got = blocks["w"][3 * b : 3 * b + 3, 5 * c : 5 * c + 5]
        np.testing.assert_array_equal(got, mask[drawn[c][b]])
    np.testing.assert_array_equal(blocks["real"], np.eye(2))


# ---------------------------------------------------------------------------- curves


def records(*levels):
    return level_records.records(levels[0][0], *levels)


def test_the_area_is_the_mean_over_the_logarithm():
    curve = records((1000, 0.9), (100, 0.7), (10, 0.1))
    assert area(curve, 10, 1000) == pytest.approx((0.8 + 0.4) / 2)
    fine = np.linspace(math.log(20), math.log(700), 100_001)
    y = np.interp(fine, np.log([10, 100, 1000]), [0.1, 0.7, 0.9])
    assert area(curve, 20, 700) == pytest.approx(y.mean(), abs=1e-5)
    assert area(records((9, 0.9), (3, 0.5), (3, 0.4)), 3, 9) == pytest.approx(0.65)
    with pytest.raises(OptionError, match=r"5 to 100 weights .* from 10 to 1000"):
        area(curve, 5, 100)


def test_the_sparsest_level_that_matches():
    """t(0.975, 1) = 12.706: of two trials the interval is wide."""
    one = records((100, 0.9), (50, 0.91), (25, 0.895), (12, 0.8))
    two = records((100, 0.8), (50, 0.81), (25, 0.775))
    (found,) = [m for m in matching([one]) if m.level == 2]
    assert found.difference == pytest.approx(-0.005)
    assert (found.interval, found.matches, found.surely) == (None, True, False)
    assert sparsest(matching([one])).level == 2
    both = matching([one, two])
    assert [m.level for m in both] == [0, 1, 2]
    assert [m.matches for m in both] == [True, True, False]  # -0.005 and -0.025
    assert both[2].interval == pytest.approx(12.706 * 0.02 / math.sqrt(2) / math.sqrt(2), rel=1e-3)
    assert both[1].surely
    assert sparsest(matching([one], 0.0)).level == 1
    assert sparsest(matching([records((9, 0.9), (3, 0.2))])).level == 0


# ---------------------------------------------------------------------------- connectivity


def trained(make, seed):
    model = make()
    ticket = Ticket(random_masks(model), model.state_dict())
    rewind(model, ticket)
    train(model, dataset(), RECIPE, seed, progress=False)
    return model, Ticket(ticket.masks, model.state_dict())


def test_the_line_is_that_of_states_made_by_hand():
    (model, one), (_, other) = trained(lenet, 0), trained(lenet, 1)
    found = connectivity.line(model, one, other, dataset(), points=5)
    assert found.shares == [0, 0.25, 0.5, 0.75, 1]
    for t, error, loss in zip(found.shares, found.errors, found.losses, strict=True):
        model.load_state_dict(
            {n: ((1 - t) * a + t * other.state[n]).astype("f") for n, a in one.state.items()}
        )
        expected = evaluate(model, dataset().test, dataset())
        assert (loss, 1 - error) == pytest.approx(expected)
    assert found.barrier == max(found.errors) - (found.errors[0] + found.errors[-1]) / 2
    with pytest.raises(OptionError, match="2 points at least; got 1"):
        connectivity.line(model, one, other, dataset(), points=1)


def test_a_line_from_a_network_to_itself_has_no_barrier():
    model, end = trained(lambda: network("quaternion"), 0)
    found = connectivity.line(model, end, end, dataset(), points=3)
    assert found.barrier == 0


def test_a_barrier_between_networks_that_do_not_fit():
    """Hidden units in another order compute the same at the ends; the mean of both does not."""
    model = lenet("real")
    train(model, dataset(), replace(RECIPE, epochs=20), progress=False)
    one = model.state_dict()
    other, order = dict(one), np.random.default_rng(0).permutation(12)
    other |= {"1.weight": one["1.weight"][:, order], "1.bias": one["1.bias"][order],
              "3.weight": one["3.weight"][order]}  # fmt: skip
    masks = {n: np.ones(w.shape, bool) for n, w in model.weight_parameters()}
    found = connectivity.line(model, Ticket(masks, one), Ticket(masks, other), dataset())
    assert found.losses[0] == pytest.approx(found.losses[-1], abs=1e-5)
    assert max(found.losses) > 1.1 * found.losses[0]
    assert found.barrier > 0


def test_statistics_are_the_means_over_batches_and_the_mode_is_kept():
    model = network("real")
    images = dataset()
    before = model.state_dict()
    model.eval()
    connectivity.estimate_statistics(model, images, 16)
    assert not model.training
    assert all(m.momentum == 0.1 for _, m in model.named_modules() if isinstance(m, BatchNorm2d))
    x = images.encode(images.train.images)
    y = np.stack([model.stem(Tensor(b)).numpy().reshape(-1, 8) for b in np.split(x, 3)])
    np.testing.assert_allclose(model.bn.running_mean.numpy(), y.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(model.bn.running_var.numpy(), y.var(axis=1, ddof=1).mean(axis=0),
                               rtol=1e-4)  # fmt: skip
    same = [n for n, a in model.state_dict().items() if np.array_equal(a, before[n])]
    assert set(before) - set(same) == {n for n in before if "running" in n}


def test_two_orders_from_one_ticket_and_the_same_order_twice():
    model = lenet()
    ticket = Ticket(random_masks(model), model.state_dict())
    same = connectivity.stability(model, ticket, dataset(), RECIPE, seeds=(3, 3), points=3)
    assert same.barrier == 0
    other = connectivity.stability(model, ticket, dataset(), RECIPE, seeds=(0, 1), points=3)
    assert other.losses[0] != other.losses[-1]


# ---------------------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Two trials of both networks, two levels."""
    folder = tmp_path_factory.mktemp("run")
    for trial in (0, 1):
        for algebra in ("real", "quaternion"):
            run(folder / f"trial{trial}" / algebra, 2, algebra, seed=trial)
    return folder


def test_an_analysis_is_numbers_and_pictures_beside_the_run(directory):
    networks = {a: (lenet(a), (4, 4, 4)) for a in ("real", "quaternion")}
    found = analyse(directory, networks)
    folder = directory / "analysis"
    assert json.loads((folder / "analysis.json").read_text()) == found
    pictures = ["densities-quaternion", "densities-real", "effective", "matching", "overlaps",
                "quaternions-quaternion"]  # fmt: skip
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["analysis.json", *(f"{p}.{kind}" for p in pictures for kind in ("png", "svg"))]
    )
    for name, levels in found["levels"].items():
        for level, record in zip(levels, read_records(directory / "trial0" / name),
                                 strict=True):  # fmt: skip
            assert level["weights_left"] == record.weights_left
            assert 0 < level["effective"] <= level["weights_left"]
    assert found["warnings"] == []
    assert set(found["overlaps"]) == {"real", "quaternion", "real and quaternion"}
    assert found["overlaps"]["real"][0]["corrected"] is None  # dense
    assert -1 < found["overlaps"]["real"][2]["corrected"] < 1
    assert found["curves"]["real"]["sparsest"]["level"] in (0, 1, 2)


def drawn(figure, axes=0):
    return {line.get_label(): line.get_xydata() for line in figure.axes[axes].lines}


def test_pictures_draw_the_numbers():
    masks = random_masks(network("quaternion"), 0.3)
    full = {n: np.ones_like(m) for n, m in masks.items()}
    model = (network("quaternion"), (4, 4, 4))
    levels = [describe(i, m, model) for i, m in enumerate((full, masks))]
    percent = 100 * levels[1]["density"]
    found = np.array(levels[1]["quaternions"]["found"]) / sum(levels[1]["quaternions"]["found"])
    lines = drawn(plots.quaternions("quaternion", levels))
    for k in range(5):
        np.testing.assert_allclose(lines[f"{k} alive"], [(100, k == 4), (percent, found[k])])
    lines = drawn(plots.effective({"quaternion": levels}))
    share = levels[1]["effective"] / levels[1]["weights_left"]
    np.testing.assert_allclose(lines["quaternion"][1], (percent, share))
    figure = plots.densities("quaternion", levels)
    (image,) = figure.axes[0].images
    assert image.get_array()[0, 1] == pytest.approx(masks["stem.weight"].mean())
    ends = connectivity.Line([0, 0.5, 1], [0.1, 0.4, 0.2], [1.0, 2.0, 1.0])
    lines = drawn(plots.line({"epoch 0": ends}))
    assert [*lines] == ["epoch 0: barrier 25.0 %"]
    np.testing.assert_allclose(lines["epoch 0: barrier 25.0 %"][:, 1], ends.errors)


def test_the_picture_of_matching_levels_has_a_star_there():
    one = records((100, 0.9), (50, 0.91), (25, 0.895), (12, 0.8))
    curve = {"matching": [asdict(m) for m in matching([one])], "tolerance": 0.01, "area": 0.9,
             "sparsest": asdict(sparsest(matching([one])))}  # fmt: skip
    lines = drawn(plots.matching({"real": curve}, {"real": [one]}))
    np.testing.assert_allclose(lines["real, mean 90.0 %"][:, 0], [100, 50, 25, 12])
    stars = [xy for label, xy in lines.items() if len(xy) == 1]
    np.testing.assert_allclose(stars, [[(25, -0.005)]])


def test_without_the_networks_what_computes_nothing_is_not_known(directory):
    found = analyse(directory)
    assert {level["effective"] for level in found["levels"]["real"]} == {None}


def test_collapse_is_said_once_for_each_network():
    masks = {n: np.ones(w.shape, bool) for n, w in lenet().weight_parameters()}
    dense = describe(0, masks, (lenet(), (4, 4, 4)))
    masks["3.weight"] = np.zeros_like(masks["3.weight"])
    cut = describe(1, masks, (lenet(), (4, 4, 4)))
    assert (cut["effective"], cut["cut"]) == (0, True)
    unknown = describe(2, masks)
    assert collapses({"real": [dense, cut, cut], "half": [dense], "quaternion": [unknown]}) == [
        "real, level 1: no path leads from input to output",
        "quaternion, level 2: nothing is left of 3.weight",
    ]


def test_a_folder_without_a_level(tmp_path):
    with pytest.raises(RunError, match="no finished level to analyse"):
        analyse(tmp_path)
