"""What the command tells of runs: plan, branch, list, show, compare, plot, verify, gc."""

import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from level_records import record
from tiny_runs import end_of, run

import quatgrad
from quatgrad.files import lock
from quatgrad.lth import Ticket
from quatgrad.lth.command.cli import COMMANDS, main
from quatgrad.lth.experiment import experiment, garbage, runs
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.plan import amount
from quatgrad.lth.experiment.verify import verify
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Stage, read_records

SMOKE = ["--preset", "smoke", "--quiet", "--levels", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs, one with a control, that share their dense stages."""
    out = tmp_path_factory.mktemp("made") / "runs"
    assert main([*SMOKE, "--control", "shuffled", "--out", str(out)]) == 0
    assert main([*SMOKE, "--score", "random", "--algebra", "real", "--out", str(out)]) == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "runs", symlinks=True))


@pytest.fixture
def call(out, capsys):
    """Call the command with --out: (exit code, stdout, stderr), or with --json the value."""

    def call(*arguments):
        code = main([*map(str, arguments), "--out", str(out)])
        printed = capsys.readouterr()
        if "--json" in arguments:
            return code, json.loads(printed.out)
        return code, *printed

    return call


def first(out):
    """The run with the control."""
    found = (run.path for run in runs.runs_in(out))
    return next(p for p in found if (p / "trial0" / "real-shuffled").exists())


def second(out):
    return next(p for p in [r.path for r in runs.runs_in(out)] if p != first(out))


# ---------------------------------------------------------------------------- plan and branch


def test_the_two_runs_share_their_dense_stage(out):
    names = [p.name.partition("-")[0] for p in (out / "stages").iterdir()]
    assert sorted(names) == ["control_01", "control_01", "dense", "dense", *["level_01"] * 3]


def test_plan_tells_what_is_on_record_and_writes_nothing(call, out):
    before = sorted(out.rglob("*"))
    code, told = call("plan", *SMOKE, "--control", "shuffled", "--json")
    assert (code, told["to go"]) == (0, {"stages": 0, "hours": 0, "bytes": 0})
    assert told["run"] == str(first(out))
    assert told["stages"].keys() == {p.resolve().name for p in Run(first(out)).links}
    code, told = call(
        "plan", *SMOKE, "--levels", 2, "--optimizer-state", "kept", "--rewind-epoch", 1, "--json"
    )
    assert told["to go"]["stages"] == 4  # a level 1 and 2 of both networks: dense ones are there
    assert 0 < told["to go"]["hours"] < 0.01
    assert sorted(out.rglob("*")) == before
    code, printed, _ = call("plan", *SMOKE, "--score", "increase")
    assert code == 0
    assert "to go: 2 of 4 stages" in printed
    assert printed.count("on record") == 2


def test_a_plan_comes_true(call, out):
    """The stages that were planned are those that are made, and the bytes are about right."""
    options = [*SMOKE, "--seed", "5", "--optimizer-state", "kept", "--rewind-epoch", "1"]
    options += ["--masks", "finetuned"]
    _, told = call("plan", *options, "--json")
    call("run", *options)
    _, again = call("plan", *options, "--json")
    assert again["stages"].keys() == told["stages"].keys()
    assert len(told["stages"]) == 6
    assert again["to go"]["stages"] == 0
    for name, stage in told["stages"].items():
        extra = sum((out / "stages" / name / f).stat().st_size for f in
                    ("record.json", "checks.json", "stage.json", "done"))  # fmt: skip
        assert stage["bytes"] == pytest.approx(again["stages"][name]["bytes"] - extra, rel=0.35)


def test_branch_trains_a_control_beside_a_run(call, out):
    directory = second(out)
    code, printed, err = call("branch", directory.name, "--control", "signs", "--quiet")
    assert (code, err) == (0, "")
    assert printed.count("from the record") == 3  # the network's two levels, and the dense again
    assert read_records(directory / "trial0" / "real-signs")[1].weights_left
    assert [r.path for r in runs.runs_in(out)] == sorted([first(out), directory])


def test_branch_says_what_it_needs(call, out):
    assert "--control reinitialised|shuffled|" in call("branch", second(out))[2]
    code, _, err = call("branch", second(out), "--control", "signs", "--keep", "0.9")
    assert code == 2
    assert "these options are not those of" in err
    assert "is no run" in call("branch", "nothing", "--control", "signs")[2]


@pytest.mark.parametrize("given", [
    {}, {"levels": 0, "lr": 0.05, "control": ("signs", "shuffled")},
    {"model": "resnet8", "width": 8, "trials": 2},
])  # fmt: skip
def test_the_options_of_a_run_can_be_read_back(tmp_path, given):
    options = resolve({"preset": "smoke", "out": str(tmp_path)} | given)
    directory = experiment.open_directory(options, experiment.load(options, "real"))
    again = experiment.options_of(Run(directory))
    assert list(again.run.control) == list(options.run.control)
    assert again.config("") == options.config("")
    assert again.protocol == options.protocol
    assert again.run.trials == options.run.trials


# ---------------------------------------------------------------------------- reading


def test_list_and_show(call, out):
    code, found = call("list", "--json")
    assert code == 0
    assert {s["run"]: s["networks"].keys() for s in found} == {
        first(out).name: {"real", "quaternion", "real-shuffled", "quaternion-shuffled"},
        second(out).name: {"real"},
    }
    assert {s["networks"]["real"]["accuracy"] for s in found} == {
        read_records(first(out) / "trial0" / "real")[0].accuracy
    }
    _, printed, _ = call("list")
    assert len(printed.splitlines()) == 7  # two runs, and their networks
    assert max(map(len, printed.splitlines())) <= 80
    for s in found:
        shown = f"{s['run']}  {s['date'].replace('T', ' ')}  trained "
        assert shown in printed
        assert s["versions"] == [quatgrad.__version__]
        assert abs(datetime.fromisoformat(s["date"]).timestamp() - time.time()) < 3600
    _, told = call("show", first(out).name, "--json")
    records = read_records(first(out) / "trial0" / "real")
    assert told["trials"][0]["real"] == [r.plain() for r in records]
    assert set(told["stages"].values()) <= {p.name for p in (out / "stages").iterdir()}
    _, printed, _ = call("show", first(out))
    assert "real-shuffled: % left" in printed
    assert f"\n{found[0]['date'].replace('T', ' ')}, trained " in printed
    assert "trial0/real/level_01  level_01-lenet-300-100-real-" in printed


def test_a_level_in_training_is_listed(call, out):
    (out / "stages" / second(out).joinpath("trial0/real/level_01").resolve().name / "done").unlink()
    assert "unfinished: level_01-lenet" in call("list")[1]
    assert "not finished: level_01-lenet" in call("verify", second(out).name)[1]
    assert call("verify", second(out).name)[0] == 0


def test_a_run_without_levels_is_listed(call, out):
    for path in Run(second(out)).links:
        path.unlink()
    assert f"{second(out).name}\n  no level is finished" in call("list")[1]
    assert call("show", second(out))[0] == 0


def test_no_runs(tmp_path, capsys):
    assert main(["list", "--out", str(tmp_path / "nothing")]) == 0
    assert capsys.readouterr().out == "no runs here\n"
    assert main(["list", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_compare_says_how_runs_differ(call, out):
    code, printed, _ = call("compare", first(out), second(out))
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == f"1: {first(out).name}"
    assert lines[1] == f"2: {second(out).name} (score random)"
    assert "1 real: % left" in printed
    assert "2 real: % left" in printed
    _, rows = call("compare", first(out), second(out), "--json")
    assert [row["level"] for row in rows] == [0, 1]
    assert rows[0]["1 real_accuracy"] == rows[0]["2 real_accuracy"]
    assert rows[1]["1 real_accuracy"] != rows[1]["2 real_accuracy"]


def test_plot_draws_the_same_again(call, out, tmp_path):
    picture = first(out) / "accuracy.svg"
    before = picture.read_bytes()
    picture.unlink()
    assert call("plot", first(out))[0] == 0
    assert picture.read_bytes() == before
    assert call("plot", first(out), "--plot", tmp_path / "a.svg")[0] == 0
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert ".png or .svg" in call("plot", first(out), "--plot", tmp_path / "a.pdf")[2]


@pytest.mark.parametrize("command", ["show", "compare", "plot", "verify", "branch"])
def test_a_run_that_is_none_is_one_line(call, command):
    more = ["--control", "signs"] if command == "branch" else []
    code, _, err = call(command, "nowhere", *more)
    assert code == 2
    assert err.startswith("quatgrad-lth: error: nowhere is no run, and there is none of that name")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_run_answers_in_json(call, out, capsys):
    assert main(["run", *SMOKE, "--algebra", "real", "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["run"] == str(first(out))
    records = read_records(first(out) / "trial0" / "real")
    assert told["trials"][0]["real"] == [r.plain() for r in records]
    assert "from the record" in printed.err


# ---------------------------------------------------------------------------- verify


CHOICES = [
    {"score_from": "dense", "scope": "erk"}, {"score_from": "start", "score": "synflow",
     "pruning_steps": 3},
    {"rewind_epoch": 1, "optimizer_state": "restored", "order": "fresh", "exclude": "5"},
    {}, {"rewind": "weights", "optimizer_state": "kept"}, {"rewind_epoch": 1},
    {"rewind": "none", "optimizer_state": "kept"}, {"mask_source": "finetuned", "scope": "global"},
    {"granularity": "quaternion", "score": "random"},
]  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_verify_proves_every_rule_and_rewinding(tmp_path, choice):
    run(tmp_path / "trial0" / "real", 2, **choice)
    told = verified(tmp_path)
    assert told["wrong"] == []
    stages = 3 + 2 * ("mask_source" in choice)
    counts = dict(told["right"])
    assert counts.pop("files with the checksum they were finished with") >= 4 * stages
    searches = 1 + ("mask_source" in choice)
    assert counts.pop("tables that say what the records say") == searches
    assert counts.pop("links to stages that are made from one another") == 3 * searches
    assert set(counts.values()) == {stages}
    assert len(counts) == 5


def verified(directory):
    config = directory / "config.json"
    if not config.exists():
        options = {"data": "", "dataset": "blobs", "model": "lenet"}
        first = {"preset": "smoke", "overrides": {}}
        known = {"options": options, "first run as": first, "classes": 3}
        files.write_json(config, known)
    wrong = f"{config} is not that of a run of this name"
    told = verify(Run(directory))
    return told | {"wrong": [w for w in told["wrong"] if w != wrong]}


@pytest.fixture
def searched(tmp_path):
    run(tmp_path / "trial0" / "real", 2)
    return tmp_path


def reseal(path, end=None, **record):
    """Write a stage as a liar would: every checksum is right."""
    if end:
        files.save_ticket(path / "end.npz", end)
        record |= {"end": end.digest(), "trained": files.digest(end.state),
                   "weights_left": end.weights_left}  # fmt: skip
    said = json.loads((path / "record.json").read_text())
    files.write_json(path / "record.json", said | record)
    files.finalize(path)


def lie_a_revived_weight(path, end):
    name, mask = next(iter(end.masks.items()))
    state = {n: a.copy() for n, a in end.state.items()}
    state[name][np.nonzero(~mask)[0][0], ...] = 1
    reseal(path, Ticket(end.masks, state))


def lie_a_mask_that_grows(path, end):
    reseal(path, Ticket({n: np.ones_like(m) for n, m in end.masks.items()}, end.state))


def lie_one_weight_too_few(path, end):
    masks = {n: m.copy() for n, m in end.masks.items()}
    name = next(iter(masks))
    masks[name][tuple(np.argwhere(masks[name])[0])] = False
    state = {n: np.where(masks[n], a, 0) if n in masks else a for n, a in end.state.items()}
    reseal(path, Ticket(masks, {n: a.astype(np.float32) for n, a in state.items()}))


def lie_another_start(path, end):
    reseal(path, ticket="0" * 64)


def lie_another_parent(path, end):
    reseal(path, **{"made from": {"dense": "0", "before": "0"}})


def lie_another_end(path, end):
    reseal(path, trained="0" * 64)


def lie_another_rule(path, end):
    said = json.loads((path / "stage.json").read_text())
    said["parameters"]["keep"] = 0.7
    files.write_json(path / "stage.json", said)
    files.finalize(path)


def lie_something_missing(path, end):
    record = json.loads((path / "record.json").read_text())
    del record["made from"]
    files.write_json(path / "record.json", record)
    files.finalize(path)


def lie_no_lie_but_damage(path, end):
    (path / "checks.json").write_text("{}")


LIES = [
    (lie_a_revived_weight, "a pruned entry has a value that is not 0"),
    (lie_a_mask_that_grows, "a weight came back|came back|the rule says"),
    (lie_one_weight_too_few, "the rule says"),
    (lie_another_start, "did not start from mask x rewind state"),
    (lie_another_parent, "its parents ended otherwise"),
    (lie_another_end, "is not what record.json was written of"),
    (lie_another_rule, "is not that of a stage of this name"),
    (lie_something_missing, "Object missing required field 'made from'"),
    (lie_no_lie_but_damage, "checks.json is damaged"),
]


@pytest.mark.parametrize(("lie", "match"), LIES, ids=[f.__name__ for f, _ in LIES])
def test_verify_finds_a_lie_though_every_checksum_is_right(searched, lie, match):
    end = end_of(searched / "trial0" / "real", 2)
    lie(end.parent.resolve(), files.load_ticket(end))
    wrong = [line for line in verified(searched)["wrong"] if "levels.csv" not in line]
    assert len(wrong) == 1
    assert any(part in wrong[0] for part in match.split("|")), wrong


def test_verify_ends_with_1_if_anything_is_wrong(call, out):
    code, told = call("verify", first(out), second(out), "--json")
    assert code == 0
    assert [t["wrong"] for t in told] == [[], []]
    (first(out) / "trial0" / "real" / "level_00" / "start.npz").resolve().write_bytes(b"")
    code, printed, _ = call("verify", first(out))
    assert code == 1
    assert "2 wrong" in printed  # the dense stage, and the level that started from it
    assert printed.count("start.npz is damaged") == 2
    (first(out) / "config.json").write_text('{"options": {}}')
    assert "is not that of a run of this name" in call("verify", first(out))[1]


# ---------------------------------------------------------------------------- gc


def test_gc_removes_what_no_run_needs_and_only_if_told(call, out):
    stages = {p.name for p in (out / "stages").iterdir()}
    assert call("gc", "--json") == (0, {"garbage": {}, "left": []})
    other = second(out)
    needed = {p.resolve().name for p in Run(other).links}
    shutil.rmtree(first(out))
    for dry in ((), ("--dry-run",)):
        code, printed, _ = call("gc", *dry)
        assert code == 0
        assert f"{len(stages - needed)} that no run needs" in printed
        assert "nothing was removed; gc --delete removes them" in printed
        assert {p.name for p in (out / "stages").iterdir()} == stages
    assert f"{len(stages - needed)} removed" in call("gc", "--delete")[1]
    assert {p.name for p in (out / "stages").iterdir()} == needed
    assert call("verify", other)[0] == 0


def test_gc_keeps_the_parents_of_what_is_needed(out):
    """The network of a control is deleted by hand: its masks are still those of a parent."""
    shutil.rmtree(first(out) / "trial0" / "real")
    assert garbage.garbage(out) == []


def test_gc_leaves_a_stage_in_which_somebody_is_at_work(call, out):
    shutil.rmtree(first(out))
    (busy,) = (out / "stages").glob("control_01-*-real-*")
    with lock(busy):
        assert "1 in use" in call("gc", "--delete")[1]
    assert busy.exists()
    assert call("gc", "--delete")[1].endswith("1 removed\n")
    assert not busy.exists()


def test_gc_removes_old_temporary_files_and_no_young_ones(call, out):
    paths = [first(out) / ".comparison.csv.1.tmp", first(out) / "trial0/real/.levels.csv.2.tmp",
             next((out / "stages").iterdir()) / ".end.npz.3.tmp"]  # fmt: skip
    for path in paths:
        path.write_bytes(b"half")
    assert call("gc", "--delete")[1].startswith("0 that no run needs")
    for path in paths:
        os.utime(path, (time.time() - 7200,) * 2)
    assert "3 removed" in call("gc", "--delete")[1]
    assert not any(path.exists() for path in paths)


def test_a_stage_is_read_back_from_its_folder(out):
    for path in (out / "stages").iterdir():
        stage = Stage.load(path)
        assert stage.path == path
        assert stage.done


def test_sizes_for_people():
    assert [amount(n) for n in (0, 999, 1000, 12_345_678, 5e15)] == [
        "0 B", "999 B", "1 kB", "12.3 MB", "5e+03 TB",
    ]  # fmt: skip
    assert [experiment.duration(s) for s in (3, 59.9, 100, 7500)] == [
        "3 s", "60 s", "2 min", "2 h 05 min",
    ]  # fmt: skip


def test_the_time_to_go_is_that_of_the_levels_still_to_come(capsys):
    """Two networks, three levels each and a control's: 12 reports; the mean of those trained."""
    options = resolve({"preset": "smoke", "control": ("signs",)})
    clock = experiment.Clock(options, print)
    for seconds, resumed in ((400.0, False), (0.0, True), (200.0, False)):
        clock.report("real", record(0, 10, 20, 0.5, seconds=seconds), resumed)
    assert clock.left() == (12 - 3) * 300
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("400.0 s, at most 1 h 13 min to go")
    assert lines[1].endswith("from the record, at most 1 h 07 min to go")
    assert lines[2].endswith("200.0 s, at most 45 min to go")
    clock.reported = 12
    clock.report("real", record(0, 10, 20, 0.5, seconds=1.0), False)
    assert capsys.readouterr().out.endswith("1.0 s\n")
