"""The choices of a search: what is ranked together, what is rewound, where masks come from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import RECIPE, dataset, end_of, files_of, lenet, network, run, timeless

from quatgrad.autograd import Parameter
from quatgrad.data import batches
from quatgrad.errors import InvariantError, OptionError
from quatgrad.lth import Rule, full_masks
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.prune.counts import survivors
from quatgrad.lth.prune.rule import prune
from quatgrad.lth.search.protocol import METHODS, Protocol
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_records
from quatgrad.lth.ticket.checks import check_pruning
from quatgrad.lth.ticket.mask_constraint import set_mask
from quatgrad.nn import Buffer
from quatgrad.option_fields import build
from quatgrad.train import Recipe, train_steps

# ---------------------------------------------------------------------------- scope


@given(n=st.lists(st.integers(1, 40), min_size=1, max_size=4), keep=st.floats(0.05, 0.95))
def test_global_pruning_keeps_the_largest_of_all(n, keep):
    rng = np.random.default_rng(sum(n))
    weights = {str(i): Parameter(rng.normal(size=(k, 1))) for i, k in enumerate(n)}
    masks = full_masks(weights)
    for _ in range(3):
        old, masks = masks, prune(weights, masks, Rule(keep, scope="global"))
        check_pruning(old, masks, dict.fromkeys(weights, 1), Rule(keep, scope="global"))
    kept = [abs(w.numpy()[masks[i]]) for i, w in weights.items()]
    gone = [abs(w.numpy()[~masks[i]]) for i, w in weights.items()]
    assert np.concatenate(kept).min() >= np.concatenate(gone).max(initial=0)


def test_global_pruning_may_empty_a_tensor_and_counts_components_together():
    weights = {"small": Parameter(np.full((4, 1, 1), 0.1), 4), "large": Parameter(np.ones((4, 1)))}
    rule = Rule(0.5, scope="global")
    masks = prune(weights, full_masks(weights), rule)
    assert masks["small"].sum() == 0
    assert masks["large"].sum() == 4
    bad = {**masks, "small": np.eye(4, 1, dtype=bool)[:, :, None]}
    with pytest.raises(InvariantError, match=r"all tensors: \[5\] weights are left"):
        check_pruning(full_masks(weights), bad, {"small": 4, "large": 1}, rule)


# ---------------------------------------------------------------------------- granularity


def test_pooled_components_are_ranked_together():
    w = {"w": Parameter(np.arange(1.0, 9).reshape(4, 2, 1), 4)}
    mask = prune(w, full_masks(w), Rule(0.5, granularity="pooled"))["w"]
    np.testing.assert_array_equal(mask.ravel(), [0, 0, 0, 0, 1, 1, 1, 1])


def test_quaternions_go_by_their_norm_and_whole():
    """Norms 5, sqrt(4), sqrt(9.9): the second goes, though it has the larger real part."""
    w = np.array([[3, 2.0, 0], [4, 0, 3], [0, 0, 0], [0, 0, 0.9**0.5]])[:, :, None]
    weights = {"w": Parameter(w, 4), "real": Parameter(np.array([[1.0], [2], [3]]))}
    rule = Rule(0.7, granularity="quaternion")
    masks = prune(weights, full_masks(weights), rule)
    np.testing.assert_array_equal(masks["w"], np.broadcast_to([[1], [0], [1]], (4, 3, 1)))
    np.testing.assert_array_equal(masks["real"].ravel(), [0, 1, 1])
    check_pruning(full_masks(weights), masks, {"w": 4, "real": 1}, rule)
    masks["w"][0, 0] = False
    with pytest.raises(InvariantError, match="w: a quaternion is pruned in part"):
        check_pruning(full_masks(weights), masks, {"w": 4, "real": 1}, rule)


def test_tiny_weights_are_told_apart_by_their_norm():
    """Their squares are 0 in float32."""
    w = np.zeros((4, 3, 1), np.float32)
    w[:, :, 0] = np.array([3e-30, 1e-30, 2e-30])
    mask = prune({"w": Parameter(w, 4)}, {"w": np.ones(w.shape, bool)}, Rule(0.7, "magnitude",
                 "quaternion"))["w"]  # fmt: skip
    assert mask[:, :, 0].all(axis=0).tolist() == [True, False, True]


# ---------------------------------------------------------------------------- score


def test_scores():
    """Initial 1, -3, 2; trained -2, -3.5, 2.1: each score has another smallest."""
    first = {"w": np.array([[1.0], [-3], [2]])}
    w = {"w": Parameter(np.array([[-2.0], [-3.5], [2.1]]))}
    gone = {"magnitude": 0, "initial": 0, "increase": 2, "movement": 2}
    for score, index in gone.items():
        mask = prune(w, full_masks(w), Rule(0.7, score), first)["w"]
        assert np.flatnonzero(~mask).tolist() == [index], score


def test_chance_does_not_look_at_the_weights_and_depends_on_the_generator():
    a, b = ({"w": Parameter(np.full((40, 5), x))} for x in (1.0, 2.0))
    rule = Rule(0.5, "random")
    masks = [
        prune(w, full_masks(w), rule, rng=np.random.default_rng(seed))["w"]
        for w, seed in ((a, 1), (b, 1), (a, 2))
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
    assert masks[0].sum() == 100


@given(
    data=st.data(),
    keep=st.floats(0.05, 0.95),
    score=st.sampled_from(["magnitude", "initial", "increase", "movement", "random"]),
    granularity=st.sampled_from(["weight", "pooled", "quaternion"]),
    scope=st.sampled_from(["layer", "global"]),
)
def test_every_rule_keeps_its_counts_its_groups_and_what_is_gone(
    data, keep, score, granularity, scope
):
    sizes = data.draw(st.lists(st.tuples(st.sampled_from([1, 4]), st.integers(1, 12)), min_size=1,
                               max_size=3))  # fmt: skip
    rng = np.random.default_rng(len(sizes))
    weights = {
        str(i): Parameter(rng.normal(size=(c, n, 2) if c == 4 else (n, 2)), c)
        for i, (c, n) in enumerate(sizes)
    }
    first = {name: rng.normal(size=w.shape) for name, w in weights.items()}
    rule, masks = Rule(keep, score, granularity, scope), full_masks(weights)
    for _ in range(3):
        old, masks = masks, prune(weights, masks, rule, first, rng)
        check_pruning(old, masks, {n: w.components for n, w in weights.items()}, rule)


RULES = [
    {"granularity": "quaternion"},
    {"score": "random"},
    {"score": "increase", "granularity": "pooled"},
]


@pytest.mark.parametrize("choice", RULES, ids=str)
def test_a_search_by_another_rule(tmp_path, choice):
    records, _ = run(tmp_path, 2, **choice)
    assert records[2].weights_left < records[1].weights_left < records[0].weights_left
    again, _ = run(tmp_path / "again", 2, **choice)
    assert timeless(again) == timeless(records)


def test_a_global_search(tmp_path):
    records, _ = run(tmp_path, 3, scope="global")
    left = records[0].weights_total
    for record in records[1:]:
        left = survivors(left, 0.6)
        assert record.weights_left == left


# ---------------------------------------------------------------------------- rewinding


def ends(directory, levels):
    return [files.load_ticket(end_of(directory, level)) for level in range(levels + 1)]


def starts_of(monkeypatch):
    """The tickets that levels start from, as they go by."""
    from importlib import import_module

    module = import_module("quatgrad.lth.search.level")
    seen, honest = [], module.check_start
    monkeypatch.setattr(module, "check_start", lambda m, t: (seen.append(t), honest(m, t)))
    return seen


def test_the_published_reset_forgets_statistics_and_biases(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    model = network("quaternion")
    buffers = {name for name, t in model.named_state() if isinstance(t, Buffer)}
    run(tmp_path, 1, model=model, rewind="weights")
    first, end = tickets[0].state, ends(tmp_path, 0)[0].state
    kept = {name for name in first if np.array_equal(tickets[1].state[name], end[name])
            and not np.array_equal(first[name], end[name])}  # fmt: skip
    assert kept == {*buffers, "head.bias"}
    for name in first.keys() - kept:
        np.testing.assert_array_equal(tickets[1].state[name], first[name])


def test_fine_tuning_goes_on_from_the_end(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    run(tmp_path, 2, rewind="none")
    for ticket, end in zip(tickets[1:], ends(tmp_path, 1), strict=True):
        for name, a in ticket.state.items():
            np.testing.assert_array_equal(a, end.state[name])


def test_late_rewinding_goes_on_from_the_dense_network_after_some_epochs(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    records, _ = run(tmp_path, 2, rewind_epoch=1)
    late = files.load_ticket(tmp_path / "level_00" / "epoch_01.npz").state
    assert files.digest(late) not in (files.digest(tickets[0].state), records[0].trained)
    for ticket, record in zip(tickets[1:], records[1:], strict=True):
        assert files.digest(ticket.state) == files.digest(late)
        assert record.epochs[0] == records[0].epochs[0]  # behind it when it starts
        assert len(record.epochs) == len(records[0].epochs)


# ---------------------------------------------------------------------------- two passes


def test_masks_of_a_first_pass(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    records, _ = run(tmp_path, 2, mask_source="finetuned", scope="global")
    first = read_records(tmp_path / "finetuned")
    assert [len(first), len(records), len(tickets)] == [3, 3, 3 + 2]  # the dense level is shared
    assert timeless(records[:1]) == timeless(first[:1])
    for mine, theirs in zip(ends(tmp_path, 2), ends(tmp_path / "finetuned", 2), strict=True):
        assert files.digest(mine.masks) == files.digest(theirs.masks)
    for ticket in tickets[3:]:
        for name, a in ticket.state.items():
            np.testing.assert_array_equal(a, tickets[0].state[name])
    assert records[2].trained != first[2].trained


def test_both_passes_are_reported(tmp_path):
    seen = []
    run(tmp_path, 1, mask_source="finetuned", report=lambda *report: seen.append(report))
    assert [(r.level, first_pass, resumed) for r, resumed, first_pass in seen] == [
        (0, True, False),
        (1, True, False),
        (0, False, True),
        (1, False, False),
    ]


# ---------------------------------------------------------------------------- memory


def test_an_optimizer_that_remembers(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    run(tmp_path, 2, optimizer_state="kept")
    assert tickets[0].optimizer_state == {}
    for ticket, end in zip(tickets[1:], ends(tmp_path, 1), strict=True):
        assert ticket.optimizer_state
        assert files.digest(ticket.optimizer_state) == files.digest(end.optimizer_state)


def test_what_is_remembered_of_pruned_weights_is_forgotten():
    model = lenet()
    from quatgrad.optim import SGD

    optimizer = SGD(model.parameters(), momentum=0.9)
    memory = {f"{i}/velocity": np.ones(p.shape, "f") for i, p in enumerate(optimizer.parameters)}
    masks = {n: np.arange(w.size).reshape(w.shape) % 2 == 0 for n, w in model.weight_parameters()}
    for name, w in model.weight_parameters():
        set_mask(w, masks[name])
    optimizer.load_state_dict(memory)
    for (name, p), state in zip(model.named_parameters(), optimizer.state, strict=True):
        np.testing.assert_array_equal(state["velocity"], masks.get(name, np.ones(p.shape)))


def test_an_optimizer_restored_to_what_it_was_after_some_epochs(tmp_path, monkeypatch):
    tickets = starts_of(monkeypatch)
    run(tmp_path, 2, optimizer_state="restored", rewind_epoch=1)
    model, found = lenet(), []
    optimizer = RECIPE.make_optimizer(model)
    for state in train_steps(model, dataset(), RECIPE, optimizer):
        if state.batch == 0:
            found.append(optimizer.state_dict())
    assert tickets[0].optimizer_state == {}
    for name, a in tickets[1].optimizer_state.items():
        np.testing.assert_array_equal(a, found[0][name])
    assert files.digest(tickets[1].optimizer_state) == files.digest(tickets[2].optimizer_state)


def test_state_and_memory_restored_without_pruning_is_the_dense_run(tmp_path):
    """With every mask full, a level that goes on from epoch 1 ends with the bits of level 0."""
    records, _ = run(tmp_path, 1, optimizer_state="restored", rewind_epoch=1, keep=0.999999)
    assert records[1].weights_left == records[0].weights_left
    assert records[1].trained == records[0].trained
    others, _ = run(tmp_path / "new", 1, rewind_epoch=1, keep=0.999999)
    assert others[1].trained != others[0].trained


# ---------------------------------------------------------------------------- rate and order


def trainings(monkeypatch):
    """(recipes, seeds of the order) of the levels, as they go by."""
    recipes, seeds, honest = [], [], Recipe.make_optimizer

    def make_optimizer(self, model):
        recipes.append(self)
        return honest(self, model)

    def ordered(dataset, size, seed, epoch, augment_seed, rows):
        seeds.append(seed)
        assert augment_seed == seed  # they move together
        return batches(dataset, size, seed, epoch, augment_seed, rows)

    monkeypatch.setattr(Recipe, "make_optimizer", make_optimizer)
    monkeypatch.setattr("quatgrad.train.batches", ordered)
    return recipes, seeds


STEPS = replace(RECIPE, schedule="step", epochs=4, warmup=1.0)


def test_fine_tuning_keeps_the_last_rate_and_rewinding_the_rate_starts_anew(tmp_path, monkeypatch):
    recipes, _ = trainings(monkeypatch)
    run(tmp_path / "a", 1, recipe=STEPS, **METHODS["lr-rewind"])
    run(tmp_path / "b", 1, recipe=STEPS, **METHODS["finetune"])
    dense, again, _, last = recipes
    assert again == dense == STEPS
    assert last.lr == pytest.approx(0.05 / 100)
    assert last == replace(STEPS, schedule="constant", lr=last.lr, warmup=0.0)


def test_the_last_rate_of_cosine_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(OptionError, match="cosine ends at 0"):
        run(tmp_path, 1, lr_schedule="last")
    assert not read_records(tmp_path)


def test_the_order_of_the_images_is_the_same_or_fresh_at_each_level(tmp_path, monkeypatch):
    _, seeds = trainings(monkeypatch)
    run(tmp_path / "same", 2)
    assert set(seeds) == {0}
    seeds.clear()
    run(tmp_path / "fresh", 2, order="fresh")
    assert seeds[0] == 0
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs(tmp_path, method):
    how = {k: v for k, v in METHODS[method].items() if k != "control"}
    records, _ = run(tmp_path, 1, recipe=replace(RECIPE, schedule="step"), **how)
    assert records[1].weights_left < records[0].weights_left


def test_a_method_stands_between_the_preset_and_what_is_given():
    options = resolve({"preset": "smoke", "method": "late", "rewind": "weights"})
    assert (options.protocol.rewind_epoch, options.protocol.rewind) == (1, "weights")
    others = {"preset": "predecessor", "mask_source": "retrained"}
    assert resolve(others | {"method": "snip"}).protocol.rule.score == "sensitivity"
    assert resolve({"preset": "smoke", "method": "reinit"}).run.control == ("reinitialised",)
    plain, named = resolve({"preset": "smoke"}), resolve({"preset": "smoke", "method": "lth"})
    assert plain.config("data") == named.config("data")  # the same run


CHOICES = [
    {"optimizer_state": "kept"},
    {"rewind": "weights"},
    {"rewind_epoch": 1},
    {"rewind": "none", "optimizer_state": "kept"},
    {"optimizer_state": "restored", "rewind_epoch": 1, "order": "fresh"},
    {"mask_source": "finetuned", "optimizer_state": "kept", "scope": "global"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("make", [network, lenet], ids=["resnet", "lenet"])
def test_a_search_in_pieces_ends_with_the_same_bits(tmp_path, choice, make):
    whole, _ = run(tmp_path / "whole", 3, model=make(), **choice)
    for levels in (0, 1, 3):
        pieces, _ = run(tmp_path / "pieces", levels, model=make(), **choice)
    assert timeless(pieces) == timeless(whole)
    assert files_of(tmp_path / "pieces") == files_of(tmp_path / "whole")


# ---------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": 1.0}, "between 0 and 1 .*got 1.0"),
        ({"levels": -1}, "`levels` is a number from 0 to 100000; got -1"),
        ({"stop_accuracy": 2}, "`stop_accuracy`"),
        ({"rewind_epoch": -1}, "`rewind_epoch` is a number from 0 .*; got -1"),
        ({"scope": "block"}, "unknown scope 'block'.*one of layer, global, erk"),
        ({"rewind": "late"}, "unknown rewind 'late'.*one of start, weights, none"),
        ({"mask_source": "random"}, "unknown mask_source 'random'.*choose one of"),
        ({"optimizer_state": None}, "unknown optimizer_state None.*choose one of"),
        ({"optimizer_state": "restored"}, "give a `rewind_epoch`"),
        ({"lr_schedule": "first"}, "unknown lr_schedule 'first'.*choose one of again, last"),
        ({"order": 1}, "unknown order 1.*one of same, fresh"),
        ({"score_from": "end"}, "unknown score_from 'end'.*one of last, dense, start"),
        ({"score_from": "start", "score": "movement"}, "choose another score, or a `rewind_epoch`"),
        ({"score_from": "dense", "mask_source": "finetuned"}, "needs `score_from` last"),
        ({"pruning_steps": 0}, "`pruning_steps` is a number from 1 .*; got 0"),
        ({"keep_of": "head"}, "`keep_of` is NAME=SHARE"),
        (
            {"score_from": "start", "rewind": "none"},
            "choose another `rewind`, or `score_from` last",
        ),
        ({"score": "size"}, "unknown score 'size'.*one of magnitude, initial"),
        ({"granularity": "row"}, "unknown granularity 'row'.*one of weight, pooled, quaternion"),
    ],
)
def test_impossible_choices(change, message):
    with pytest.raises(OptionError, match=message):
        build(Protocol, {"levels": 1, "keep": 0.5} | change)
