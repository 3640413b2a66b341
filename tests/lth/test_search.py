"""The loop: the same bits from the same seed, going on where it was, and when it ends."""

import sys
from dataclasses import replace
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from tiny_runs import RECIPE, dataset, end_of, files_of, lenet, network, run, search_of, timeless

from quatgrad import nn
from quatgrad.backend import use_backend
from quatgrad.errors import RunError
from quatgrad.lth import Rule, Ticket, check_start, find_tickets, rewind
from quatgrad.lth.prune.counts import survivors
from quatgrad.lth.search.search import LEVELS_BELOW_FLOOR
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Ended
from quatgrad.lth.store.stage import read_records
from quatgrad.random import generator
from quatgrad.train import Epoch, Recipe, TrainState, train

LEVEL = import_module("quatgrad.lth.search.level")
ALGEBRAS = ["real", "quaternion"]


def no_training(*args, **kwargs):
    pytest.fail("a network was trained")


# ---------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("make", [network, lenet], ids=["resnet", "lenet"])
def test_the_same_seed_twice_gives_the_same_bits(tmp_path, algebra, make):
    found = []
    for name in ("first", "second"):
        records, model = run(tmp_path / name, model=make(algebra))
        found.append((timeless(records), files.digest(model.state_dict())))
    assert found[0] == found[1]
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_a_string_is_a_directory(tmp_path):
    stages = str(tmp_path / "stages")
    search_of(str(tmp_path / "run"), 1, lenet("real"), stages=stages).run()
    search_of(tmp_path / "again", 1, lenet("real"), stages=tmp_path / "stages").run()
    assert files_of(tmp_path / "run") == files_of(tmp_path / "again")


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_another_seed_gives_other_numbers(tmp_path, algebra):
    first, _ = run(tmp_path / "0", 0, algebra, seed=0)
    other, _ = run(tmp_path / "1", 0, algebra, seed=1)
    assert first[0].ticket != other[0].ticket
    assert first[0].trained != other[0].trained


def test_the_seed_orders_the_batches_even_from_the_same_start(tmp_path):
    one, _ = run(tmp_path / "0", 0, model=lenet(), seed=0)
    two, _ = run(tmp_path / "1", 0, model=lenet(), seed=1)
    assert one[0].ticket == two[0].ticket
    assert one[0].trained != two[0].trained


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("make", [network, lenet], ids=["resnet", "lenet"])
def test_numpy_and_numba_agree_to_rounding(algebra, make):
    states = []
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            model = make(algebra)
            train(model, dataset(), Recipe(1, 16, 0.01), progress=False)
            states.append(model.state_dict())
    for name, a in states[0].items():
        np.testing.assert_allclose(states[1][name], a, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_run_begun_on_one_backend_goes_on_with_another(tmp_path):
    with use_backend("numpy"):
        run(tmp_path, levels=0)
    records, _ = run(tmp_path, levels=1)
    assert [r.backend for r in records] == ["numpy", "numba"]


# ---------------------------------------------------------------------------- its records


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_a_record_says_what_was_done(tmp_path, algebra):
    reported = []
    records, model = run(tmp_path, 2, algebra, report=lambda *report: reported.append(report))
    weights = dict(model.weight_parameters())
    left = [w.size // w.components for w in weights.values() for _ in range(w.components)]
    total = sum(left)
    for level, r in enumerate(records):
        if level:
            left = [survivors(n, 0.6) for n in left]
        assert (r.level, r.weights_left, r.weights_total) == (level, sum(left), total)
        assert len(r.epochs) == RECIPE.epochs
        last = r.epochs[-1]
        assert r.accuracy == last.test_accuracy
        assert r.loss == last.test_loss
        assert (r.train_accuracy, r.train_loss) == (
            last.train_accuracy, last.train_loss,
        )  # fmt: skip
        assert 0 <= r.accuracy <= 1
        assert r.seconds > sum(e.seconds for e in r.epochs) > 0
        assert r.backend == "numba"
        assert r.checks[-4:] == ["start", "pruned", "pruned", "unchanged"]
        assert ("pruning" in r.checks) == (level > 0)
    assert reported == [(r, False, False) for r in records]
    assert records == read_records(tmp_path)


def test_the_digests_of_a_record_are_those_of_the_files(tmp_path):
    records, model = run(tmp_path)
    start = files.read_arrays(tmp_path / "level_00" / "start.npz")
    assert files.digest(start) == files.digest(lenet().state_dict())
    for r in records:
        end = files.load_ticket(end_of(tmp_path, r.level))
        assert Ticket(end.masks, start).digest() == r.ticket
        assert files.digest(end.state) == r.trained
        assert end.weights_left == r.weights_left
    assert files.digest(model.state_dict()) == records[-1].trained


def test_level_0_is_dense_and_every_level_starts_from_the_first_weights(tmp_path, monkeypatch):
    starts = []
    model = network()
    first = model.state_dict()

    def watched(model, ticket):
        rewind(model, ticket)
        check_start(model, ticket)
        starts.append((ticket.density, model.state_dict(), ticket.masks))

    monkeypatch.setattr(LEVEL, "rewind", watched)
    run(tmp_path, 2, model=model)
    assert starts[0][0] == 1
    for _, state, masks in starts:
        for name, a in state.items():
            assert np.array_equal(a, first[name] * masks.get(name, 1)), name
    for (_, _, wide), (_, _, narrow) in pairwise(starts):
        assert all(not (narrow[n] & ~wide[n]).any() for n in wide)


def test_masks_come_from_the_weights_that_the_level_before_ended_with(tmp_path):
    run(tmp_path, 1)
    dense, sparse = (files.load_ticket(end_of(tmp_path, i)) for i in (0, 1))
    for name, mask in sparse.masks.items():
        parts = 4 if mask.shape[0] == 4 and mask.ndim == 3 else 1
        size = np.abs(dense.state[name]).reshape(parts, -1)
        kept = mask.reshape(parts, -1)
        for v, m in zip(size, kept, strict=True):
            assert v[m].min() >= v[~m].max(initial=0)


def test_invariants_are_checked_in_every_epoch(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(LEVEL, "check_start", lambda *a: calls.append("start"))
    monkeypatch.setattr(LEVEL, "check_pruned", lambda m, t, optimizer: calls.append("pruned"))
    monkeypatch.setattr(LEVEL, "check_unchanged", lambda *a: calls.append("unchanged"))
    check = "quatgrad.lth.search.level_masks.check_pruning"
    monkeypatch.setattr(check, lambda *a: calls.append("pruning"))
    records, _ = run(tmp_path, levels=1)
    assert calls == [name for r in records for name in r.checks]


# ---------------------------------------------------------------------------- going on


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_one_level_and_then_two_is_two_at_once(tmp_path, algebra):
    run(tmp_path / "once", 2, algebra)
    reported = []
    for levels in (0, 1, 2):
        run(tmp_path / "steps", levels, algebra, report=lambda *report: reported.append(report))
    assert [(r.level, resumed) for r, resumed, _ in reported] == [
        (0, False), (0, True), (1, False), (0, True), (1, True), (2, False),
    ]  # fmt: skip
    assert files_of(tmp_path / "steps") == files_of(tmp_path / "once")


def test_a_network_that_draws_as_it_trains_goes_on_with_the_same_bits(tmp_path):
    """Dropout's count of draws is part of the state: rewinding takes it back, resuming finds it."""

    def model():
        rng = generator(0, "test")
        layers = nn.Flatten(), nn.QLinear(64, 16, rng=rng), nn.ReLU(), nn.Dropout(0.3, rng=rng)
        return nn.Sequential(*layers, nn.Linear(16, 3, rng=rng))

    at_once, _ = run(tmp_path / "a", levels=2, model=model())
    run(tmp_path / "b", levels=0, model=model())
    in_parts, _ = run(tmp_path / "b", levels=2, model=model())
    assert timeless(in_parts) == timeless(at_once)


def test_a_finished_search_answers_from_its_record(tmp_path, monkeypatch):
    records, model = run(tmp_path)
    monkeypatch.setattr(LEVEL, "train_steps", no_training)
    again, same = run(tmp_path)
    assert again == records
    assert files.digest(same.state_dict()) == files.digest(model.state_dict())
    fewer, at_1 = run(tmp_path, levels=1)
    assert fewer == records[:2]
    assert files.digest(at_1.state_dict()) == records[1].trained
    assert read_records(tmp_path) == records  # level 2 is still there
    assert run(tmp_path)[0] == records


def test_a_network_that_does_not_fit_its_directory_is_refused(tmp_path):
    run(tmp_path, 0, "real")
    with pytest.raises((RunError, ValueError), match=r"does not fit|is not what"):
        run(tmp_path, 1, "quaternion")


# ---------------------------------------------------------------------------- the end


def accuracies(monkeypatch, values):
    """A `train_steps` that does nothing and ends each level with the next of the accuracies."""
    values = iter(values)

    def fake(*args, **kwargs):
        yield TrainState([Epoch(1.0, 0.5, 1.0, next(values), 0.0)])

    monkeypatch.setattr(LEVEL, "train_steps", fake)


@pytest.mark.parametrize(
    ("values", "floor", "ran"),
    [
        ([0.9, 0.8, 0.1, 0.1, 0.1], 0.2, 5),
        ([0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1], 0.2, 5),
        ([0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9], 0.2, 6),
        ([0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2], 0.2, 7),
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 0.2, 3),  # it never stood above
        ([0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1], 0.2, 6),
        ([0.1, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1], 0.2, 5),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.0, 7),
    ],
)
def test_it_ends_two_levels_after_the_accuracy_fell_below_the_floor(
    tmp_path, monkeypatch, values, floor, ran
):
    assert LEVELS_BELOW_FLOOR == 2
    accuracies(monkeypatch, values)
    records, _ = run(tmp_path, levels=6, stop_accuracy=floor)
    assert [r.accuracy for r in records] == values[:ran]
    monkeypatch.setattr(LEVEL, "train_steps", no_training)
    assert run(tmp_path, levels=6, stop_accuracy=floor)[0] == records


def test_what_a_command_answers_does_not_depend_on_the_commands_before(tmp_path, monkeypatch):
    """With a floor of 0 a run goes further; with the old floor it answers as it did."""
    values = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    accuracies(monkeypatch, values)
    short, _ = run(tmp_path, levels=5, stop_accuracy=0.2)
    long, _ = run(tmp_path, levels=5, stop_accuracy=0.0)
    assert (len(short), len(long)) == (4, 6)
    again, model = run(tmp_path, levels=5, stop_accuracy=0.2)
    assert again == short
    assert read_records(tmp_path) == long
    assert files.digest(model.state_dict()) == short[-1].trained


def test_what_an_earlier_version_trained_counts_though_it_never_reached_the_floor(
    tmp_path, monkeypatch
):
    accuracies(monkeypatch, [0.1] * 6)
    long, _ = run(tmp_path, levels=4, stop_accuracy=0.0)  # as if there had been no such end
    again, _ = run(tmp_path, levels=5, stop_accuracy=0.2)
    assert again == long
    assert ended(tmp_path) == (4, "5 levels never reached the accuracy of 0.2")
    other, _ = run(tmp_path / "other", levels=5, stop_accuracy=0.2, stages=tmp_path / "stages")
    assert len(other) == 3  # a new search has them not on record, whoever trained its stages


def ended(directory):
    """(level, why) on record."""
    found = Ended.read(directory / "ended.json")
    return found.level, found.why


@pytest.mark.parametrize(("how", "level"), [
    ({"keep": 0.1}, 3), ({"keep": 0.1, "scope": "global"}, 4), ({"keep": 0.99}, 1),
    ({"keep": 0.1, "score_from": "dense"}, 3), ({"keep": 0.1, "mask_source": "finetuned"}, 3),
    ({"keep": 0.01, "granularity": "filter", "exclude": "5"}, 2), ({"exclude": "1,3,5"}, 1),
])  # fmt: skip
def test_it_ends_when_nothing_is_left_to_prune(tmp_path, monkeypatch, capsys, how, level):
    """One weight of each component is left, or none may go: the masks stay, and that is all."""
    accuracies(monkeypatch, [0.5] * 40)
    records, _ = run(tmp_path, levels=9, **how)
    left = [r.weights_left for r in records]
    assert len(left) - 1 == level
    assert left[-2] == left[-1]
    assert sorted(set(left), reverse=True) == left[:-1]
    where = tmp_path / "finetuned" if "mask_source" in how else tmp_path
    assert ended(where) == (level, "nothing is left to prune")
    assert f"ends with level {level}: nothing is left to prune" in capsys.readouterr().err
    again, _ = run(tmp_path, levels=9, **how)
    assert again == records
    less, _ = run(tmp_path, levels=1, **how)
    assert less == records[:2]
    assert not (tmp_path / "ended.json").exists()  # it has all its levels


def test_find_tickets_ends_when_nothing_is_left_to_prune():
    recipe = Recipe(epochs=1, batch_size=64, lr=0.1)
    levels = list(find_tickets(lenet("real"), dataset(), recipe, Rule(0.1), 9))
    left = [level.ticket.weights_left for level in levels]
    assert sorted(set(left), reverse=True) == left[:-1]
    assert left[-1] == left[-2] == 3


def test_no_bar_is_drawn_where_nobody_looks(tmp_path, capsys):
    assert not sys.stderr.isatty()
    run(tmp_path, 0, progress=True)
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------- the same loop in memory


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"score": "random", "granularity": "quaternion"},
        {"score": "sensitivity", "scope": "global"},
        {"score": "synflow", "scope": "erk"},
        {"score": "movement", "exclude": "1"},
    ],
    ids=str,
)
def test_find_tickets_is_the_search_in_memory_bit_for_bit(tmp_path, algebra, choice):
    records, _ = run(tmp_path, 2, algebra, **choice)
    model, rule = lenet(algebra), Rule(0.6, **choice)
    levels = list(find_tickets(model, dataset(), RECIPE, rule, 2))
    assert len(levels) == len(records) == 3
    for record, (ticket, accuracy, state) in zip(records, levels, strict=True):
        assert record.ticket == ticket.digest()
        assert record.accuracy == accuracy
        assert record.trained == files.digest(state)


def test_find_tickets_of_another_seed_and_of_validation_images(tmp_path):
    images = dataset().split_validation(0.25, 0)
    search = search_of(tmp_path, 1, lenet(seed=3), 3, progress=False)
    records = replace(search, dataset=images).run()
    levels = list(find_tickets(lenet(seed=3), images, RECIPE, Rule(0.6), 1, seed=3))
    assert [r.ticket for r in records] == [x.ticket.digest() for x in levels]
    assert [r.validation_accuracy for r in records] == [x.accuracy for x in levels]
