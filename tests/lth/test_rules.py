"""Every score x granularity x scope, with weights excluded and rates of their own; ERK by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import dataset, end_of, lenet, network, run, timeless

from quatgrad.autograd import Parameter
from quatgrad.errors import InvariantError, OptionError
from quatgrad.lth import Rule, full_masks
from quatgrad.lth.prune import counts
from quatgrad.lth.prune.counts import ALL, apportion, between, survivors
from quatgrad.lth.prune.rule import GRANULARITIES, SCOPES, SCORES, prune
from quatgrad.lth.prune.scores import first_order
from quatgrad.lth.search import level_masks
from quatgrad.lth.store import files
from quatgrad.lth.ticket.checks import check_pruning

#: Component, window and feature axes of what layers have.
SHAPES = [(3, 4), (4, 2, 3), (3, 3, 2, 5), (4, 3, 2, 2, 3), (4, 1, 1, 1, 1), (1, 6)]


@st.composite
def networks(draw):
    """Weights by name, first values, slopes, all with ties, and a generator."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def values(shape):
        return rng.integers(-3, 4, shape) / 2

    weights = {f"layer{i}.weight": Parameter(values(s), 4 if len(s) % 2 else 1)
               for i, s in enumerate(shapes)}  # fmt: skip
    first, slopes = ({n: values(w.shape) for n, w in weights.items()} for _ in range(2))
    return weights, first, slopes, rng


def components(weights):
    return {n: w.components for n, w in weights.items()}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
@given(
    case=networks(),
    keep=st.floats(0.02, 0.98),
    score=st.sampled_from(sorted(SCORES)),
    others=st.sampled_from(
        [{}, {"exclude": "layer0"}, {"exclude": "weight"}, {"keep_of": "layer0=0.9"}]
    ),
    times=st.integers(1, 3),
)
def test_every_rule_keeps_its_counts_its_groups_and_the_best(
    granularity, scope, case, keep, score, others, times
):
    weights, first, slopes, rng = case
    rule = Rule(keep, score, granularity, scope, **others)
    old = full_masks(weights)
    for _ in range(times):  # level by level
        masks = prune(weights, old, rule, first, rng, slopes)
        check_pruning(old, masks, components(weights), rule)
        old = masks
    at_once = prune(weights, full_masks(weights), rule, first, rng, slopes,
                    rule.targets(full_masks(weights), components(weights), times))  # fmt: skip
    check_pruning(full_masks(weights), at_once, components(weights), rule, times)
    alive = rule.alive(old, components(weights))
    assert rule.alive(at_once, components(weights)) == alive
    if scope != "global":  # at least one of each pool
        assert min(itertools.chain(*alive.values())) >= 1
    if others.get("exclude"):
        assert old["layer0.weight"].all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@given(case=networks(), keep=st.floats(0.1, 0.9))
def test_the_ranking_is_that_of_a_sort_of_groups_gathered_entry_by_entry(granularity, case, keep):
    """Brute force: an entry's group by its index, the group's score in a loop, Python's sort."""
    weights, *_ = case
    rule = Rule(keep, "magnitude", granularity)
    masks = prune(weights, full_masks(weights), rule)
    for name, w in weights.items():
        quaternion = w.components == 4

        def group(index, quaternion=quaternion):
            spot = index[1:] if quaternion else index
            component = (index[0],) if quaternion else ()
            return {"weight": (component, spot), "pooled": ((), component + spot),
                    "quaternion": ((), spot), "kernel": ((), spot[-2:]),
                    "filter": ((), spot[-1:])}[granularity]  # fmt: skip

        pools = {}
        for index in np.ndindex(w.shape):
            pool, members = group(index)
            pools.setdefault(pool, {}).setdefault(members, []).append(index)
        for groups in pools.values():
            score = {m: np.mean([w.numpy()[i] ** 2 for i in ix]) for m, ix in groups.items()}
            ranked = sorted(sorted(groups), key=score.get)  # of equals the later are kept
            kept = set(ranked[len(ranked) - survivors(len(ranked), keep) :])
            for members, indices in groups.items():
                assert {bool(masks[name][i]) for i in indices} == {members in kept}


# ---------------------------------------------------------------------------- scores


def test_first_order_scores_of_single_weights_and_of_groups():
    w = {"w": Parameter(np.array([[[1.0]], [[2]], [[3]], [[4]]]).repeat(2, 1), 4)}
    slopes = {"w": np.array([[1.0, -1], [1, 1], [-1, 1], [0, 0.1]])[..., None]}
    one = prune(w, full_masks(w), Rule(0.5, "sensitivity", "pooled"), gradients=slopes)["w"]
    # |w g|: 1 1 | 2 2 | 3 3 | 0 0.4
    assert one[..., 0].tolist() == [[False, False], [True, True], [True, True], [False, False]]
    # |sum w g|: |1 + 2 - 3 + 0| = 0 and |-1 + 2 + 3 + 0.4| = 4.4
    whole = prune(w, full_masks(w), Rule(0.5, "sensitivity", "quaternion"), gradients=slopes)["w"]
    assert whole[..., 0].tolist() == [[False, True]] * 4


@pytest.mark.parametrize("score", ["sensitivity", "synflow"])
def test_slopes_that_are_missing_or_not_finite(score):
    w = {"w": Parameter(np.ones((2, 2)))}
    with pytest.raises(OptionError, match=f"`score` {score} ranks by gradients"):
        prune(w, full_masks(w), Rule(0.5, score))
    with pytest.raises(InvariantError, match="not finite"):
        prune(w, full_masks(w), Rule(0.5, score), gradients={"w": np.full((2, 2), np.nan)})


def test_groups_of_unequal_size_are_compared_by_their_mean_square():
    """A 3x3 kernel of 0.5 has the norm 1.5; a 1x1 kernel of 1 still ranks above it."""
    w = {"big": Parameter(np.full((3, 3, 1, 1), 0.5)), "small": Parameter(np.ones((1, 1, 1, 1)))}
    masks = prune(w, full_masks(w), Rule(0.5, granularity="kernel", scope="global"))
    assert (masks["big"].any(), masks["small"].all()) == (False, True)


# ---------------------------------------------------------------------------- which weights

NAMES = [n for n, _ in network("real", "resnet8").weight_parameters()]


def test_a_name_means_every_weight_whose_path_has_it():
    rule = Rule(0.5, exclude="stem,shortcut", keep_of="head=0.9,stages.0=0.8,stem=0.1")
    assert rule.own_rates(NAMES) == {
        "stem.weight": 1.0, "head.weight": 0.9,
        "stages.0.0.conv1.weight": 0.8, "stages.0.0.conv2.weight": 0.8,
        "stages.1.0.shortcut.0.weight": 1.0, "stages.2.0.shortcut.0.weight": 1.0,
    }  # fmt: skip


def test_a_name_that_no_weight_has_is_an_error_before_anything_is_trained(tmp_path):
    with pytest.raises(OptionError, match=r"no weight is named 'had'; there are 1\.weight, 3"):
        run(tmp_path, 1, exclude="had")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", ["head", "head=", "head=0", "head=1.2", "=0.5", "head=x", "a=1,b"])
def test_a_rate_that_is_none(bad):
    with pytest.raises(OptionError, match="`keep_of` is NAME=SHARE"):
        Rule(0.5, keep_of=bad)


def test_a_rate_of_its_own_is_counted_by_itself_beside_a_global_ranking():
    w = {"a": Parameter(np.ones((1, 10))), "b": Parameter(np.ones((1, 10)) * 2),
         "head": Parameter(np.full((1, 10), 0.1))}  # fmt: skip
    rule = Rule(0.5, scope="global", keep_of="head=0.9")
    left = {n: int(m.sum()) for n, m in prune(w, full_masks(w), rule).items()}
    assert left == {"a": 0, "b": 10, "head": 9}
    assert rule.targets(full_masks(w), components(w)) == {ALL: [10], "head": [9]}


# ---------------------------------------------------------------------------- ERK


def test_erk_by_hand():
    """density = e (U + V + P + Q) / (U V P Q): weights 8 e, 11 e and 20 e, of 9, 36 and 100.

    72 of them stay: e = 72 / 39 would keep 14.8 of the first, so it keeps all 9, and the others
    share 63 as 11 : 20, 22.35 and 40.65, hence 22 and 41.
    """
    shapes = {"first": (3, 3, 1, 1), "second": (3, 3, 4, 1), "third": (10, 10)}
    w = {n: Parameter(np.random.default_rng(0).normal(size=s), 1) for n, s in shapes.items()}
    masks = prune(w, full_masks(w), Rule(72 / 145, scope="erk"))
    assert {n: int(m.sum()) for n, m in masks.items()} == {"first": 9, "second": 22, "third": 41}


def test_erk_of_a_quaternion_weight_is_that_of_its_components():
    w = {"q": Parameter(np.ones((4, 5, 5)), 4), "r": Parameter(np.ones((10, 10)))}
    left = Rule(0.5, scope="erk").targets(full_masks(w), components(w))
    # 100 shared by 10 : 10 : 10 : 10 : 20
    assert left["q"] == [17, 17, 17, 16]  # 16.67 each, the first ones up
    assert left["r"] == [33]


@given(
    caps=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_shares_add_up_are_within_caps_and_are_proportional_but_for_one(caps, share, seed):
    total = round(share * sum(caps))
    weights = np.random.default_rng(seed).uniform(0.1, 5, len(caps))
    k = apportion(total, weights, caps)
    alive = sum(c > 0 for c in caps)
    assert sum(k) == max(total, alive)
    assert all(min(c, 1) <= n <= c for n, c in zip(k, caps, strict=True))
    e = max((n - 1) / w for n, w in zip(k, weights, strict=True))
    for n, c, w in zip(k, caps, weights, strict=True):
        assert n == c or n + 1 >= e * w - 1e-9  # nobody below their share while others exceed it


@given(n=st.integers(0, 10**6), keep=st.floats(0.01, 0.99), rounds=st.integers(1, 20))
def test_rounds_go_from_all_to_what_is_left_and_never_up(n, keep, rounds):
    m = survivors(n, keep)
    path = [between({"w": [n]}, {"w": [m]}, r / rounds)["w"][0] for r in range(1, rounds + 1)]
    assert path[-1] == m
    assert all(a >= b for a, b in itertools.pairwise([n, *path]))


# ---------------------------------------------------------------------------- in a search

SEARCHES = [
    {"granularity": "kernel"},
    {"granularity": "filter", "exclude": "5"},
    {"scope": "erk"},
    {"score": "sensitivity"},
    {"score_from": "dense"},
    {"score_from": "dense", "score": "random"},
    {"score_from": "start", "score": "sensitivity", "scope": "global"},
    {"score_from": "start", "score": "synflow", "scope": "global", "pruning_steps": 7},
    {"score_from": "start", "rewind_epoch": 1, "score": "movement"},
]


@pytest.mark.parametrize("choice", SEARCHES, ids=str)
def test_a_search_by_every_part_of_a_rule_and_in_pieces(tmp_path, choice):
    whole, _ = run(tmp_path / "whole", 2, **choice)
    left = [r.weights_left for r in whole]
    assert left[2] < left[1] < left[0]
    for levels in (1, 2):
        pieces, _ = run(tmp_path / "pieces", levels, **choice)
    assert timeless(pieces) == timeless(whole)


def test_at_once_and_level_by_level_leave_equally_many(tmp_path):
    for scope in SCOPES:
        found = [
            [r.weights_left for r in run(tmp_path / scope / f, 3, score_from=f, scope=scope)[0]]
            for f in ("last", "dense", "start")
        ]
        assert found[0] == found[1] == found[2]


def test_one_shot_masks_are_those_of_the_dense_network(tmp_path):

    run(tmp_path, 2, score_from="dense")
    ends = [files.load_ticket(end_of(tmp_path, level)) for level in range(3)]
    model = lenet()
    weights = dict(model.weight_parameters())
    model.load_state_dict(ends[0].state)
    rule = Rule(0.6)
    left = rule.targets(full_masks(weights), components(weights), 2)
    expected = prune(weights, full_masks(weights), rule, left=left)
    assert files.digest(expected) == files.digest(ends[2].masks)
    for name, mask in ends[2].masks.items():
        assert not (mask & ~ends[1].masks[name]).any()  # nested, too


@pytest.mark.parametrize("how", [
    {"score_from": "dense", "score": "random"}, {"score_from": "start", "score": "random"},
    {"score_from": "dense", "score": "sensitivity", "scope": "erk"}, {"score": "random"},
], ids=str)  # fmt: skip
def test_masks_are_nested_also_where_each_is_made_at_once(tmp_path, how):

    run(tmp_path, 3, **how)
    masks = [files.load_ticket(end_of(tmp_path, level)).masks for level in range(4)]
    for wide, narrow in itertools.pairwise(masks):
        assert not any((narrow[name] & ~wide[name]).any() for name in wide)


def test_the_invariant_sees_shares_that_do_not_add_up(monkeypatch):
    w = {"a": Parameter(np.ones((4, 4))), "b": Parameter(np.ones((8, 8)))}
    rule = Rule(0.5, scope="erk")
    honest = counts.apportion
    monkeypatch.setattr(counts, "apportion", lambda t, *a: honest(t + 1, *a))
    masks = prune(w, full_masks(w), rule)
    with pytest.raises(InvariantError, match="41 weights are shared out, the rule says 40"):
        check_pruning(full_masks(w), masks, components(w), rule)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_sensitivity_is_what_the_loss_changes_when_a_small_weight_goes(algebra):
    """Against the loss itself, with each of some small weights set to 0."""
    from quatgrad.autograd import Tensor, no_grad
    from quatgrad.ops import cross_entropy

    model, images = lenet(algebra), dataset()
    images = replace(images, train=images.train.take(np.arange(30)))
    x, y = images.encode(images.train.images), images.train.labels

    def loss():
        with no_grad():
            return float(cross_entropy(model(Tensor(x)), y).item())

    w = model.modules[5].weight  # behind the last ReLU: the loss is smooth in it
    small = np.sign(w.numpy()) * np.float32(0.01)
    w.data = small
    slopes = level_masks.loss_gradients(model, images, 0)["5.weight"]
    scores = first_order(small[..., None], slopes[..., None])
    for index in zip(*np.unravel_index(np.argsort(-scores.ravel())[:5], w.shape), strict=True):
        without = small.copy()
        without[index] = 0
        w.data = small
        before = loss()
        w.data = without
        assert abs(before - loss()) == pytest.approx(scores[index], rel=0.02, abs=2e-6)


def test_many_images_go_through_in_parts_and_give_the_slope_of_their_mean(monkeypatch):
    """LeNet has no batch norm, which would see the parts."""
    model, images = lenet(), dataset()
    whole = level_masks.loss_gradients(model, images, 0)
    monkeypatch.setattr(level_masks, "AT_ONCE", 7)
    for name, g in level_masks.loss_gradients(model, images, 0).items():
        np.testing.assert_allclose(g, whole[name], rtol=1e-4, atol=1e-6)


def test_the_batch_of_the_slopes_changes_nothing_of_the_model():
    model = network("quaternion")
    before = files.digest(model.state_dict())
    slopes = [level_masks.loss_gradients(model, dataset(), seed) for seed in (0, 0, 1)]
    assert files.digest(model.state_dict()) == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert files.digest(slopes[0]) == files.digest(slopes[1]) != files.digest(slopes[2])
