"""Four seeds: each moves what is drawn by it, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import dataset, lenet, search_of

from quatgrad.data.augment import pad_crop_flip
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment.verify import verify
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_end, read_start

PURPOSES = ("init", "order", "augment", "prune")


def keys(seed=0, **seeds):
    """Of the dense stage and of level 1, without their images."""
    search = replace(search_of(Path("x"), 1, lenet(), seed), seeds=seeds)
    return [stage.key for stage in search.plan()]


def test_a_seed_of_its_own_that_is_the_common_one_is_none():
    assert keys(3, **dict.fromkeys(PURPOSES, 3)) == keys(3) != keys()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_seed_is_in_the_keys_and_that_of_pruning_leaves_the_dense_stage(purpose):
    dense, level = keys(**{purpose: 1})
    assert (dense == keys()[0]) == (purpose == "prune")
    assert level != keys()[1]
    assert [dense, level] != keys(1)


class Moved:
    """The blobs, moved and mirrored, which the draws of each epoch are written down of."""

    def __init__(self):
        self.seen = []

    def images(self):
        def augment(images, draws):
            moved = pad_crop_flip(images, draws, 1)
            self.seen.append((files.digest({"": images}), files.digest({"": moved})))
            return moved

        return replace(dataset(), augment=augment)


def trained(directory, **seeds):
    """What a random pruning saw: first weights, order of the images, how they moved, masks."""
    watch = Moved()
    search = search_of(directory, 1, lenet(), how={"score": "random"},
                       progress=False)  # fmt: skip
    replace(search, dataset=watch.images(), seeds=seeds).run()
    path = files.level_path(directory, 0)
    return {
        "init": files.digest(read_start(path)),
        "order": [before for before, _ in watch.seen],
        "augment": [after for _, after in watch.seen],
        "prune": files.digest(read_end(files.level_path(directory, 1)).masks),
    }


@pytest.mark.parametrize("purpose", ["order", "augment", "prune"])
def test_a_seed_moves_its_draws_alone(tmp_path, purpose):
    one, other = trained(tmp_path / "one"), trained(tmp_path / "other", **{purpose: 7})
    moved = {drawn for drawn in PURPOSES if one[drawn] != other[drawn]}
    # Other images move otherwise even by the same draws.
    assert moved == {purpose} | ({"augment"} if purpose == "order" else set())


def test_a_rewind_point_that_nobody_kept_is_trained_again_by_the_same_seeds(tmp_path):
    search = search_of(tmp_path / "x", 0, lenet(), progress=False)
    search = replace(search, seeds={"order": 5, "augment": 6}, stages=tmp_path / "stages",
                     dataset=Moved().images())  # fmt: skip
    search.run()
    late = replace(search, protocol=replace(search.protocol, levels=1, rewind_epoch=1))
    assert len(late.run()) == 2  # else it says that the network came out otherwise


def test_a_rewind_point_of_a_training_that_was_given_up_is_gone(tmp_path, monkeypatch):
    """It was killed before its first checkpoint, and another machine trains the dense network."""
    search = search_of(tmp_path / "x", 0, lenet(), progress=False)
    search = replace(search, stages=tmp_path / "stages")
    late = replace(search, protocol=replace(search.protocol, levels=1, rewind_epoch=1))

    def killed(directory, level, history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(late, watch=killed).run()
    (stale,) = (tmp_path / "stages").glob("*/epoch_01.npz")
    files.save_ticket(stale, replace(files.load_ticket(stale), optimizer_state={}))
    there = stale.read_bytes()
    search.run()
    assert not stale.exists()
    late.run()
    assert stale.read_bytes() != there


def test_the_command_holds_a_seed_in_all_trials_and_moves_the_others(tmp_path, capsys):
    command = ["--preset", "smoke", "--quiet", "--levels", "1", "--algebra", "real", "--trials",
               "2", "--score", "random", "--control", "shuffled",
               "--out", str(tmp_path)]  # fmt: skip
    starts, masks, shuffled = {}, {}, {}
    for own in ("", "init", "prune"):
        before = set(tmp_path.glob("digits-*"))
        assert main([*command, *([f"--seed-{own}", "9"] if own else [])]) == 0
        (folder,) = set(tmp_path.glob("digits-*")) - before
        trials = [folder / f"trial{t}" for t in (0, 1)]
        starts[own] = [files.digest(read_start(t / "real" / "level_00")) for t in trials]
        masks[own] = [files.digest(read_end(t / "real" / "level_01").masks) for t in trials]
        shuffled[own] = [files.digest(read_end(t / "real-shuffled" / "level_01").masks)
                         for t in trials]  # fmt: skip
        assert verify(Run(folder))["wrong"] == []
    assert starts["init"][0] == starts["init"][1]
    assert starts["prune"] == starts[""]
    assert len({*starts[""], *starts["init"]}) == 3
    for drawn in (masks, shuffled):
        assert drawn["prune"][0] == drawn["prune"][1]
        assert drawn["init"] == drawn[""]
        assert len({*drawn[""], *drawn["prune"]}) == 3
    assert "real-shuffled, trial 1" in capsys.readouterr().out


def test_batches_augment_by_a_seed_of_their_own():
    from quatgrad.data import batches

    images = Moved().images()
    plain, same, other = (
        [np.concatenate(x) for x in zip(*batches(images, 16, 0, 0, seed), strict=True)]
        for seed in (None, 0, 1)
    )
    np.testing.assert_array_equal(plain[0], same[0])
    np.testing.assert_array_equal(plain[1], other[1])
    assert (plain[0] != other[0]).any()
