"""Validation images choose, test images are looked at when all is chosen; killed or not."""

import csv
from dataclasses import asdict, replace

import pytest
from tiny_runs import RECIPE, dataset, files_of, lenet, search_of

from quatgrad import train as loop
from quatgrad.lth import Ticket, rewind
from quatgrad.lth.command.cli import main
from quatgrad.lth.results import compare
from quatgrad.lth.search import checkpoint, selection
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_records
from quatgrad.train import Epoch, TrainState, TrainStep, evaluate, train_steps

LONG = replace(RECIPE, epochs=5, lr=0.3)


def held_out():
    return dataset().split_validation(0.25, 0)


def run(directory, levels=1, recipe=LONG, **how):
    search = search_of(directory, levels, lenet(), how=how, recipe=recipe, progress=False)
    return replace(search, dataset=held_out()).run()


def epochs(*pairs):
    """Epochs of these validation accuracies and losses."""
    return [Epoch(1.0, 0.5, validation_accuracy=a, validation_loss=x) for a, x in pairs]


def test_points_are_the_first_of_the_best():
    history = epochs((0.9, 0.1), (0.5, 0.8), (0.7, 0.4), (0.7, 0.3), (0.6, 0.3))
    assert selection.select_epochs(history) == {"last": 5, "best": 1, "early-stop": 1}
    assert selection.select_epochs(history, start_epoch=1) == {
        "last": 5,
        "best": 3,
        "early-stop": 4,
    }


def test_points_are_what_training_by_hand_finds(tmp_path):
    """Every epoch's network kept, and tested: those of the points are on record."""
    (record,) = run(tmp_path, 0)
    model, images, states = lenet(), held_out(), []
    for end in train_steps(model, images, LONG, LONG.make_optimizer(model)):
        if end.batch == 0:
            states.append(model.state_dict())
    history = end.history
    tested = []
    for state in states:
        model.load_state_dict(state)
        tested.append(evaluate(model, images.test, images, 16))
    best = max(range(5), key=lambda e: history[e].validation_accuracy)
    stop = min(range(5), key=lambda e: history[e].validation_loss)
    for point, e in (("last", 4), ("best", best), ("early-stop", stop)):
        found = record.selection[point]
        assert found.epoch == e + 1
        assert (found.loss, found.accuracy) == tested[e]
        assert found.validation_accuracy == history[e].validation_accuracy
        assert found.validation_loss == history[e].validation_loss
    assert {best, stop} != {4}  # or the test would show nothing
    assert record.accuracy == record.selection["last"].accuracy
    assert record.validation_accuracy == history[4].validation_accuracy
    assert record.trained == files.digest(states[-1])
    assert all("test_accuracy" not in e for e in record.plain()["epochs"])


def test_test_images_are_looked_at_when_all_is_chosen_and_once_a_point(tmp_path, monkeypatch):
    seen, honest = [], evaluate

    def watched(model, split, data, *how):
        seen.append("test" if len(split) == len(data.test) else "validation")
        return honest(model, split, data, *how)

    monkeypatch.setattr(loop, "evaluate", watched)
    monkeypatch.setattr(selection, "evaluate", watched)
    (record,) = run(tmp_path, 0)
    different = {p.epoch for p in record.selection.values()}
    assert seen == ["validation"] * 5 + ["test"] * len(different)


def test_without_validation_images_a_record_is_as_it_was(tmp_path):
    (record,) = search_of(tmp_path, 0, lenet(), progress=False).run()
    plain = record.plain()
    assert not {"points", "validation_accuracy"} & plain.keys()
    assert {*plain["epochs"][0]} == {"train_loss", "train_accuracy", "test_loss",
                                      "test_accuracy", "seconds"}  # fmt: skip


def test_epochs_behind_a_late_rewinding_are_not_chosen(tmp_path):
    for record in run(tmp_path, 2, rewind_epoch=3)[1:]:
        assert {p.epoch for p in record.selection.values()} <= {4, 5}


class Killed(BaseException):
    pass


def test_killed_after_any_step_it_chooses_the_same(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    assert any(r.selection["best"].epoch < 5 for r in whole)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    honest = TrainStep.__call__
    for steps in range(1, 30, 2):  # 3 steps an epoch, 5 epochs, 2 levels
        taken = []

        def counted(self, *args, taken=taken, steps=steps):
            if len(taken) == steps:
                raise Killed
            taken.append(honest(self, *args))

        with monkeypatch.context() as m:
            m.setattr(TrainStep, "__call__", counted)
            with pytest.raises(Killed):
                run(tmp_path / f"{steps}")
        run(tmp_path / f"{steps}")
        assert files_of(tmp_path / f"{steps}") == files_of(tmp_path / "whole"), steps


def test_a_checkpoint_keeps_the_states_that_may_be_chosen(tmp_path):
    model = lenet()
    masks = {n: w.data != 0 for n, w in model.weight_parameters()}
    state, other = lenet(seed=1).state_dict(), lenet(seed=2).state_dict()
    rewind(model, Ticket(masks, model.state_dict()))
    saved = checkpoint.Checkpoint(tmp_path / "checkpoint.npz", "digest")
    history = epochs((0.5, 0.5), (0.6, 0.7))
    optimizer = RECIPE.make_optimizer(model)
    saved.save(model, masks, optimizer, TrainState(history), {}, {1: state, 2: other})
    found, _, kept = saved.load(lenet(), masks, optimizer)
    assert list(map(asdict, found.history)) == list(map(asdict, history))
    assert {n: files.digest(s) for n, s in kept.items()} == {
        1: files.digest(state), 2: files.digest(other)
    }  # fmt: skip


def test_the_search_ends_by_the_accuracy_of_validation_images(tmp_path, monkeypatch):
    """Of the test images all are right, so that those would never end it."""
    perfect = lambda model, split, data, size: (0.1, 1.0 if len(split) == 30 else 0.5)  # noqa: E731
    monkeypatch.setattr(loop, "evaluate", perfect)
    monkeypatch.setattr(selection, "evaluate", perfect)
    first = [0.9, 0.1, 0.1, 0.1, 0.1]
    monkeypatch.setattr("quatgrad.lth.search.level.train_steps", falling(first))
    assert len(run(tmp_path, 4, stop_accuracy=0.2)) == 4


def falling(accuracies):
    """Training that does nothing, and ends each level with the next of the accuracies."""
    values = iter(accuracies)

    def fake(*args):
        yield TrainState(epochs((next(values), 0.5)))

    return fake


# ---------------------------------------------------------------------------- the command


@pytest.fixture
def call(tmp_path, capsys):
    def call(command, *arguments):
        smoke = ["--preset", "smoke", "--quiet", "--levels", "1", "--out", str(tmp_path)]
        code = main([command, *smoke, *arguments])
        return code, *capsys.readouterr()

    return call


def test_the_command_tells_all_points_with_intervals(call, tmp_path):
    code, printed, err = call("run", "--validation", "0.25", "--trials", "2", "--algebra", "real")
    assert (code, err) == (0, "")
    assert "150 training, 50 validation, 360 test images" in printed
    assert "epochs that validation chooses:" in printed
    (folder,) = tmp_path.glob("digits-*")
    records = [read_records(folder / f"trial{t}" / "real") for t in (0, 1)]
    mean = compare.mean([{"real": r} for r in records])["real"][1].selection["best"]
    ours = [r[1].selection["best"] for r in records]
    assert mean.accuracy == pytest.approx((ours[0].accuracy + ours[1].accuracy) / 2)
    assert mean.epoch == (ours[0].epoch + ours[1].epoch) / 2
    assert mean.interval == compare.half_width([p.accuracy for p in ours])
    assert f"{mean.accuracy:.2%} +- {mean.interval:.2%}, epoch {mean.epoch:.3g}" in printed
    with open(folder / "comparison.csv") as f:
        row = list(csv.DictReader(f))[1]
    assert float(row["real_best_accuracy"]) == mean.accuracy
    assert float(row["real_early-stop_epoch"]) >= 1
    assert main(["show", folder.name, "--out", str(tmp_path)]) == 0
    assert main(["verify", folder.name, "--out", str(tmp_path)]) == 0
    assert "to go: 0 of 4 stages" in call("plan", "--validation", "0.25", "--trials", "2",
                                          "--algebra", "real")[1]  # fmt: skip


@pytest.mark.parametrize("share", ["1", "-0.1", "nan", "0.001", "0.999"])
def test_a_share_that_cannot_be_held_out_is_one_clear_line(call, share):
    code, printed, err = call("run", "--validation", share)
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "held out" in err
