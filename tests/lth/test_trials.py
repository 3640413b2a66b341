"""Trials that are one network have no interval; trials of unequal numbers are told apart."""

import json
import shutil

import pytest
from level_records import record, records
from test_edited_runs import call

from quatgrad.errors import OptionError
from quatgrad.lth.experiment.experiment import check_trials_differ
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.results.compare import mean, rows, text_table
from quatgrad.lth.results.curve import matching

TINY = "--preset smoke --subset 40 --epochs 1 --width 24 --levels 1 --backend numpy --quiet"
FIXED = {"seed_init": 1, "seed_order": 2}


def trial(*trained):
    return {"real": [record(i, 9 - i, 9, 0.5 + i / 9, trained=t) for i, t in enumerate(trained)]}


@pytest.mark.parametrize(("trials", "intervals"), [
    ([trial("a", "b"), trial("a", "b"), trial("a", "b")], [None, None]),
    ([trial("a", "b"), trial("c", "d"), trial("a", "e")], [None, 0.0]),
    ([trial("a", "b"), trial("c", "d")], [0.0, 0.0]),
    ([trial("a", "b")], [None, None]),
])  # fmt: skip
def test_trials_with_the_same_bits_have_no_interval(trials, intervals):
    assert [level.interval for level in mean(trials)["real"]] == intervals
    assert [m.interval for m in matching([t["real"] for t in trials])] == intervals


@pytest.mark.parametrize(("more", "augmented", "named"), [
    ({}, False, "`seed_init`, `seed_order`"),
    ({"seed_augment": 3}, True, "`seed_augment`, `seed_init`, `seed_order`"),
    ({"score": "random", "seed_prune": 3}, False, "`seed_init`, `seed_order`, `seed_prune`"),
    ({"control": ("shuffled",), "seed_prune": 3}, False, "`seed_prune`"),
])  # fmt: skip
def test_trials_in_which_every_draw_is_fixed_are_refused(more, augmented, named):
    options = resolve({"preset": "smoke", "trials": 3} | FIXED | more)
    with pytest.raises(OptionError, match=f"3 `trials` with .*{named} would be one network 3"):
        check_trials_differ(options, augmented)


@pytest.mark.parametrize(("more", "augmented"), [
    ({"trials": 1}, False), ({}, True), ({"score": "random"}, False), ({"seed_init": None}, False),
    ({"control": ("shuffled-whole",)}, False),
])  # fmt: skip
def test_trials_that_differ_in_one_draw_are_welcome(more, augmented):
    check_trials_differ(resolve({"preset": "smoke", "trials": 3} | FIXED | more), augmented)


def test_the_command_refuses_them_before_it_trains(tmp_path):
    seeds = ["--trials", "3", "--seed-init", "1", "--seed-order", "2"]
    code, _, err = call(["run", *TINY.split(), *seeds, "--out", str(tmp_path / "runs")])
    assert code == 2
    assert "3 --trials with --seed-init, --seed-order would be one network" in err
    assert not (tmp_path / "runs").exists()


def test_a_table_says_how_many_trials_each_network_has():
    runs = mean([{"real": records(9, (9, 0.5)), "half": records(5, (5, 0.4))},
                 {"real": records(9, (9, 0.7))}])  # fmt: skip
    head, _, line = text_table(runs).splitlines()
    assert "real (2 trials): % left" in head
    assert "half (1 trial): % left" in head
    assert line.rstrip().endswith("40.00%       -")
    assert (rows(runs)[0]["real_trials"], rows(runs)[0]["half_trials"]) == (2, 1)
    assert "real_trials" not in rows(mean([{"real": records(9, (9, 0.5))}] * 2))[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "runs"
    assert call(["run", *TINY.split(), "--trials", "2", "--out", str(out)])[0] == 0
    return out


@pytest.mark.parametrize("lost", [
    "trial0", "trial1/real", "trial0/quaternion", "trial0/real/level_00", "trial1/real/level_01",
])  # fmt: skip
def test_every_command_reads_a_run_whose_trials_are_not_all_there(made, tmp_path, lost):
    out = shutil.copytree(made, tmp_path / "runs", symlinks=True)
    (run,) = runs_in(out)
    path = run.path / lost
    path.unlink() if path.is_symlink() else shutil.rmtree(path)
    for verb in ("list", "show", "compare", "plot", "analyse"):
        code, _, err = call([verb, *([] if verb == "list" else [str(run.path)]), "--out", str(out)])
        assert (code, err) == (0, ""), verb
    networks = {"real", "quaternion"}
    found = json.loads((run.path / "analysis" / "analysis.json").read_text())
    assert found["levels"].keys() == found["curves"].keys() == networks
