"""Controls differ from their ticket in one thing, and in nothing else."""

import csv
import os

import msgspec
import numpy as np
import pytest
from tiny_runs import lenet, network, random_masks, run, search_of, timeless

from quatgrad.errors import RunError
from quatgrad.lth import Ticket
from quatgrad.lth.command.cli import main
from quatgrad.lth.search.search import ControlOf
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Stage, read_start
from quatgrad.lth.ticket.controls import CONTROLS


@pytest.fixture(params=["real", "quaternion"])
def case(request):
    """A ticket, the components of its weights, and another network's first state."""
    model = network(request.param)
    components = {name: w.components for name, w in model.weight_parameters()}
    fresh = network(request.param, seed=1).state_dict()
    return Ticket(random_masks(model, 0.3), model.state_dict()), components, fresh


def control(name, case, seed=0):
    return CONTROLS[name](*case, np.random.default_rng(seed))


def test_reinitialised_has_the_mask_and_other_weights(case):
    ticket, _, fresh = case
    new = control("reinitialised", case)
    assert files.digest(new.masks) == files.digest(ticket.masks)
    assert files.digest(new.state) == files.digest(fresh) != files.digest(ticket.state)


def test_shuffled_has_the_weights_and_a_mask_of_the_same_counts_in_each_component(case):
    ticket, components, _ = case
    new = control("shuffled", case)
    assert files.digest(new.state) == files.digest(ticket.state)
    for name, c in components.items():
        before, after = (m[name].reshape(c, -1) for m in (ticket.masks, new.masks))
        np.testing.assert_array_equal(before.sum(axis=1), after.sum(axis=1))
        assert (before != after).any() or before.size < 20
    assert files.digest(control("shuffled", case, 1).masks) != files.digest(new.masks)
    assert files.digest(control("shuffled", case).masks) == files.digest(new.masks)


def test_shuffled_whole_moves_quaternions_as_they_are(case):
    ticket, components, _ = case
    new = control("shuffled-whole", case)
    assert files.digest(new.state) == files.digest(ticket.state)
    for name, c in components.items():
        before, after = (sorted(map(tuple, m[name].reshape(c, -1).T.tolist()))
                         for m in (ticket.masks, new.masks))  # fmt: skip
        assert before == after
    assert files.digest(new.masks) != files.digest(ticket.masks)


def test_shuffled_is_uniform_over_all_masks_of_its_counts():
    """2 of 4 alive: each of the 6 masks equally often, so it is the random mask of equal counts."""
    ticket = Ticket({"w": np.array([[True, True], [False, False]])}, {})
    rng, seen = np.random.default_rng(0), {}
    for _ in range(3000):
        mask = CONTROLS["shuffled"](ticket, {"w": 1}, {}, rng).masks["w"].tobytes()
        seen[mask] = seen.get(mask, 0) + 1
    assert len(seen) == 6
    assert all(abs(n - 500) < 5 * np.sqrt(500 * 5 / 6) for n in seen.values())


def test_transplanted_has_the_weights_of_one_seed_and_the_masks_of_another(tmp_path, capsys):
    """A trial takes those of the one before it, the first those of the second."""
    command = ["--preset", "smoke", "--quiet", "--levels", "1", "--algebra", "quaternion",
               "--out", str(tmp_path), "--trials"]  # fmt: skip
    assert main([*command, "2", "--control", "transplanted"]) == 0
    assert "quaternion-transplanted, trial 1" in capsys.readouterr().out
    (folder,) = tmp_path.glob("digits-*")

    def level(trial, name):
        return Stage.load((folder / f"trial{trial}" / name / "level_01").resolve())

    for trial, donor in ((0, 1), (1, 0)):
        ours, other = level(trial, "quaternion-transplanted"), level(donor, "quaternion")
        masks = [files.digest(s.end().masks) for s in (ours, other, level(trial, "quaternion"))]
        assert masks[0] == masks[1] != masks[2]
        assert ours.parents["dense"] == level(trial, "quaternion").parents["dense"]
        ticket = Ticket(ours.end().masks, read_start(ours.parent("dense")))
        assert ours.record().ticket == ticket.digest()
    two = {path: os.readlink(path) for path in folder.glob("trial*/*/level_*")}
    assert main([*command, "3", "--control", "transplanted"]) == 0
    assert {path: os.readlink(path) for path in two} == two
    assert files.digest(level(2, "quaternion-transplanted").end().masks) == files.digest(
        level(1, "quaternion").end().masks
    )
    assert main(["verify", folder.name, "--out", str(tmp_path)]) == 0
    assert main(["plan", *command, "3", "--control", "transplanted"]) == 0
    assert "to go: 0 of 9 stages" in capsys.readouterr().out


def test_transplanted_needs_another_trial(capsys):
    assert main(["--preset", "smoke", "--control", "transplanted"]) == 2
    assert "takes the masks of another trial: give --trials 2 or more" in capsys.readouterr().err


def test_reinitialised_has_no_epochs_and_no_memory_behind_it(tmp_path):
    """Rewound to epoch 1 with its momentum, the ticket has one epoch to go; a control has both."""
    ours = {"rewind_epoch": 1, "optimizer_state": "restored"}
    records, _ = run(tmp_path / "run", 1, **ours)
    fresh, seen = lenet(seed=9).state_dict(), []

    def change(ticket, level):
        new = CONTROLS["reinitialised"](ticket, {}, fresh, None)
        seen.append((bool(ticket.optimizer_state), bool(new.optimizer_state)))
        return new

    source = search_of(tmp_path / "run", 1, lenet(), how=ours)
    change_all = ControlOf(source, change, from_scratch=True)
    more = {"control": change_all, "stages": tmp_path / "run" / "stages"}
    control, _ = run(tmp_path / "control", 1, **more, **ours)
    assert seen == [(True, False)]
    assert control[1].epochs[0] != records[0].epochs[0] == records[1].epochs[0]
    assert len(control[1].epochs) == len(records[1].epochs)


def test_signs_have_one_size_in_each_tensor(case):
    ticket, components, _ = case
    new = control("signs", case)
    assert files.digest(new.masks) == files.digest(ticket.masks)
    for name, w in ticket.state.items():
        if name in components:
            np.testing.assert_array_equal(np.sign(new.state[name]), np.sign(w))
            size = np.sqrt(np.mean(w.astype(np.float64) ** 2))
            np.testing.assert_allclose(abs(new.state[name]), size, rtol=1e-6)
            assert new.state[name].dtype == w.dtype
        else:
            np.testing.assert_array_equal(new.state[name], w)


def test_a_search_with_the_masks_of_another_shares_its_dense_level(tmp_path):
    records, _ = run(tmp_path / "run", 2)
    seen = []

    def change(ticket, level):
        seen.append((level, files.digest(ticket.masks)))
        return ticket

    source = search_of(tmp_path / "run", 2, lenet("quaternion"))
    more = {"control": ControlOf(source, change), "stages": tmp_path / "run" / "stages"}
    same, _ = run(tmp_path / "control", 3, **more)  # 3: there are no more than 2
    assert timeless(same[:1]) == timeless(records[:1])
    assert [level for level, _ in seen] == [1, 2]
    assert [r.trained for r in same] == [r.trained for r in records]  # nothing was changed


def test_a_source_without_a_level(tmp_path):
    control = ControlOf(search_of(tmp_path / "nothing", 1, lenet()))
    with pytest.raises(RunError, match="no finished level"):
        run(tmp_path / "control", 1, control=control)


def test_the_command_trains_controls_and_keeps_them_beside_the_run(tmp_path, capsys):
    command = ["--preset", "smoke", "--quiet", "--levels", "1", "--out", str(tmp_path)]
    assert main([*command, "--control", "shuffled", "--control", "signs"]) == 0
    printed = capsys.readouterr().out
    assert "real-shuffled: % left" in printed
    widths = [len(line) for line in printed.splitlines() if " | " in line]
    assert len(set(widths[:3])) == 1
    (folder,) = tmp_path.glob("digits-*")
    tickets = {
        name: files.load_ticket(folder / "trial0" / name / "level_01" / "end.npz")
        for name in ("quaternion", "quaternion-shuffled", "quaternion-signs")
    }
    digests = [files.digest(t.masks) for t in tickets.values()]
    assert digests[0] == digests[2] != digests[1]
    with open(folder / "comparison.csv") as f:
        assert "real-signs_accuracy" in next(csv.reader(f))
    assert main(command) == 0  # they are on record, and drawn again
    assert capsys.readouterr().out.count("from the record") == 4


@pytest.mark.parametrize("name", ["reinitialised", "shuffled", "shuffled-whole"])
def test_verify_finds_a_control_with_other_masks_of_the_same_count(tmp_path, capsys, name):
    """Two layers that trade a weight: as many are left, and they lie where the control has none."""
    command = ["--preset", "smoke", "--quiet", "--levels", "1", "--algebra", "quaternion",
               "--out", str(tmp_path), "--control", name]  # fmt: skip
    assert main(command) == 0
    (folder,) = tmp_path.glob("digits-*")
    assert main(["verify", folder.name, "--out", str(tmp_path)]) == 0
    stage = Stage.load((folder / "trial0" / f"quaternion-{name}" / "level_01").resolve())
    end, record = stage.end(), stage.record()
    masks = {n: m.copy() for n, m in end.masks.items()}
    first, last = (masks[n].reshape(4, -1) for n in list(masks)[:2])
    first[0, first[0].argmax()] = False
    last[1, last[1].argmin()] = True
    state = {n: a * masks[n] if n in masks else a for n, a in end.state.items()}
    wrong = Ticket(masks, state, end.optimizer_state)
    assert wrong.weights_left == end.weights_left
    stage.path.joinpath("end.npz").unlink()
    files.save_ticket(stage.path / "end.npz", wrong)
    said = msgspec.structs.replace(record, end=wrong.digest(), trained=files.digest(wrong.state))
    said.write(stage.path / "record.json")
    files.finalize(stage.path)
    capsys.readouterr()
    assert main(["verify", folder.name, "--out", str(tmp_path)]) == 1
    assert "its masks are not those that it took" in capsys.readouterr().out
