"""Stages: named by what they are, trained once, shared by whoever needs the same."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tiny_runs import RECIPE, dataset, files_of, lenet, run, search_of, timeless

from quatgrad import backend
from quatgrad.backend import use_backend
from quatgrad.errors import OptionError, RunError
from quatgrad.files import HOST
from quatgrad.kernels.registry import kernels_of
from quatgrad.lth import Search
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.search import checkpoint
from quatgrad.lth.search.search import ControlOf
from quatgrad.lth.search.signals import Interrupted
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Checks
from quatgrad.lth.store.stage import Stage, read_end, read_record, read_records
from quatgrad.train import Recipe, train, train_steps

ROOT = Path(__file__).parents[2]


class Named:
    """A dataset that is nothing but its name."""

    def fingerprint(self):
        return "0123456789abcdef"


def plan(options, network="real", **others):
    """The stages of an experiment, without its images."""
    return Search(None, Named(), options.recipe, Path("runs/x"), options.protocol,
                  options.run.seed, what=options.what(network), stages=Path("runs/stages"),
                  **others).plan()  # fmt: skip


def smoke(**given):
    return resolve({"preset": "smoke"} | given)


# ---------------------------------------------------------------------------- keys


def test_keys_stay_what_they_are():
    """A new option has a default, and leaves these alone: else all runs would be run again."""
    assert [s.name for s in plan(smoke())] == [
        "dense-lenet-300-100-real-c5d86ef8b40a",
        "level_01-lenet-300-100-real-cb2072dbf3f3",
        "level_02-lenet-300-100-real-1e0ac4325729",
    ]
    many = smoke(model="resnet8", width=16, seed=3, optimizer="adam", warmup=1.0, score="movement",
                 granularity="quaternion", scope="global", rewind="weights",
                 optimizer_state="kept", rewind_epoch=1, init="xavier",
                 encoder="blocks", real_head=True)  # fmt: skip
    assert plan(many, "quaternion")[1].name == "level_01-resnet8-quaternion-bd009c08a554"
    source = search_of(Path("x"), 2, None)
    source = replace(source, dataset=Named(), stages=Path("runs/stages"))
    control = replace(source, control=ControlOf(source, name="shuffled"))
    assert control.plan()[1].name == "control_01-7ac62ffc0d16"


@pytest.mark.parametrize("choice", [
    {"keep": 0.7}, {"score": "random"}, {"granularity": "pooled"}, {"scope": "global"},
    {"rewind": "none"}, {"rewind_epoch": 1}, {"optimizer_state": "kept"},
    {"mask_source": "finetuned"},
], ids=str)  # fmt: skip
def test_rules_and_rewinding_share_the_dense_stage_and_nothing_else(choice):
    here, there = plan(smoke()), plan(smoke(**choice))
    assert here[0].path == there[0].path
    assert all(a.key != b.key for a, b in zip(here[1:], there[1:], strict=True))


@pytest.mark.parametrize("choice", [
    {"epochs": 3}, {"lr": 0.2}, {"seed": 1}, {"width": 80}, {"init": "xavier"},
    {"batch_size": 40}, {"optimizer": "adam"}, {"encoder": "blocks"}, {"real_head": True},
], ids=str)  # fmt: skip
def test_another_training_is_another_stage_on_every_level(choice):
    keys = {s.key for s in plan(smoke())} & {s.key for s in plan(smoke(**choice))}
    assert not keys


def test_where_it_is_computed_is_not_in_a_key_but_precision_is(monkeypatch):
    with use_backend("numpy"):
        assert plan(smoke(backend="numpy", quiet=True, out="y")) == plan(smoke())
    known = plan(smoke())[0].key
    monkeypatch.setattr(backend, "_precision", "tf32")  # as on a GPU
    assert plan(smoke())[0].key != known


def test_more_levels_continue_and_half_a_network_is_a_real_one():
    assert plan(smoke(levels=1)) == plan(smoke(levels=5))[:2]
    half, real = plan(smoke(), "half"), plan(smoke(width=30))
    assert [s.key for s in half] == [s.key for s in real]


def test_a_key_depends_on_the_keys_of_parents_and_not_on_labels():
    parent = Stage(Path("a"), "dense", {"lr": 0.1})
    child = Stage(Path("a"), "level", {"level": 1}, {"dense": parent.name})
    same = replace(parent, label="resnet8")
    assert replace(child, parents={"dense": same.name}).key == child.key
    other = replace(parent, parameters={"lr": 0.2})
    assert replace(child, parents={"dense": other.name}).key != child.key


# ---------------------------------------------------------------------------- sharing


def test_who_shares_stages_says_of_what(tmp_path):
    with pytest.raises(OptionError, match="say in `what` which network"):
        run(tmp_path / "a", 0, stages=tmp_path / "stages", what={})
    records, _ = run(tmp_path / "b", 1, mask_source="finetuned", what={})
    assert len(records) == 2  # its own are its own


def count_trainings(monkeypatch):
    """A list of how many epochs each training took."""
    done = []

    def counted(*args, **options):
        done.append(0)
        for state in train_steps(*args, **options):
            done[-1] += state.batch == 0
            yield state

    monkeypatch.setattr("quatgrad.lth.search.level.train_steps", counted)
    monkeypatch.setattr("quatgrad.lth.search.search.train_steps", counted)
    return done


def test_the_dense_level_is_trained_once_for_all_rules(tmp_path, monkeypatch):
    trained = count_trainings(monkeypatch)
    shared = {"stages": tmp_path / "stages"}
    run(tmp_path / "a", 1, **shared)
    for name, choice in (("b", {"score": "random"}), ("c", {"optimizer_state": "kept"}),
                         ("d", {"rewind": "none"})):  # fmt: skip
        records, _ = run(tmp_path / name, 1, **choice, **shared)
        alone, _ = run(tmp_path / f"{name}-alone", 1, **choice)
        assert timeless(records) == timeless(alone)
    assert trained == [2, 2] + [2, 2, 2] * 3  # a; then a level, and both levels again
    dense = [p for p in (tmp_path / "stages").iterdir() if p.name.startswith("dense")]
    assert len(dense) == 1


def test_a_rewind_point_nobody_kept_is_trained_again_that_far(tmp_path, monkeypatch):
    shared = {"stages": tmp_path / "stages"}
    run(tmp_path / "a", 0, **shared)
    trained = count_trainings(monkeypatch)
    records, _ = run(tmp_path / "b", 1, rewind_epoch=1, **shared)
    assert trained == [1, RECIPE.epochs - 1]
    assert timeless(records) == timeless(run(tmp_path / "alone", 1, rewind_epoch=1)[0])
    trained.clear()
    run(tmp_path / "c", 1, rewind_epoch=1, score="random", **shared)
    assert trained == [RECIPE.epochs - 1]


def test_a_rewind_point_that_comes_out_otherwise_is_refused(tmp_path, monkeypatch):
    """As on another processor: the epochs behind it would not be those of the dense record."""
    shared = {"stages": tmp_path / "stages"}
    run(tmp_path / "a", 0, **shared)
    kernels = kernels_of("numba_cpu")
    product = kernels["matmul"]
    monkeypatch.setitem(kernels, "matmul", lambda a, b: product(a, b) * np.float32(1 + 1e-6))
    with pytest.raises(RunError, match=r"dense-.*trained again up to `rewind_epoch`, and came"):
        run(tmp_path / "b", 1, rewind_epoch=1, **shared)
    with pytest.raises(OptionError, match="`rewind_epoch` 3 "):
        run(tmp_path / "c", 1, rewind_epoch=3)


def test_a_directory_links_to_its_stages_and_a_stage_says_what_it_is(tmp_path):
    run(tmp_path, 1)
    links = [tmp_path / "level_00", tmp_path / "level_01"]
    assert all(p.is_symlink() for p in links)
    dense, level = (p.resolve() for p in links)
    assert sorted(os.listdir(level)) == [
        "checks.json", "done", "end.npz", "record.json", "stage.json",
    ]  # fmt: skip
    assert sorted(set(os.listdir(dense)) - set(os.listdir(level))) == [
        "network.json", "start.npz",
    ]  # fmt: skip
    said = json.loads((level / "stage.json").read_text())
    assert said["parents"] == {"before": dense.name, "dense": dense.name}
    assert said["parameters"] == {"keep": 0.6, "level": 1}
    assert json.loads((level / "done").read_text()).keys() == set(os.listdir(level)) - {"done"}


def test_checks_say_what_when_and_how_often(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    run(tmp_path, 1)
    checks = json.loads((tmp_path / "level_01" / "checks.json").read_text())
    meaning = checks.pop("meaning")
    steps = RECIPE.epochs * 3  # 48 images in batches of 16, saved after each
    assert checks == {
        "start": {"pruning": 1, "start": 1},
        "checkpoint": {"pruned": steps + RECIPE.epochs - 1},
        "end": {"pruned": 1, "unchanged": 1},
    }
    assert meaning.keys() == {"pruning", "start", "pruned", "unchanged"}
    assert all(len(text) > 20 for text in meaning.values())
    dense = json.loads((tmp_path / "level_00" / "checks.json").read_text())
    assert dense["start"] == {"start": 1}


# ------------------------------------------------------------- going on in the middle of an epoch


class Killed(BaseException):
    """What nothing catches: the process is gone."""


def die_after(monkeypatch, steps):
    """The process dies after so many steps; returns the list that counts them."""
    from quatgrad.train import TrainStep

    taken = []
    honest = TrainStep.__call__

    def counted(self, *args):
        if len(taken) == steps:
            raise Killed
        honest(self, *args)
        taken.append(1)

    monkeypatch.setattr(TrainStep, "__call__", counted)
    return taken


CHOICES = [
    {},
    {"optimizer_state": "kept", "rewind": "weights"},
    {"rewind_epoch": 1, "score": "random"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_killed_after_any_step_it_goes_on_with_the_next(tmp_path, monkeypatch, choice):
    whole, _ = run(tmp_path / "whole", 2, **choice)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    with monkeypatch.context() as m:
        total = len(run_counted(m, tmp_path / "count", choice))
    for steps in range(1, total, 2):
        directory = tmp_path / f"{steps}"
        with monkeypatch.context() as m:
            die_after(m, steps)
            with pytest.raises(Killed):
                run(directory, 2, **choice)
        with monkeypatch.context() as m:
            assert len(run_counted(m, directory, choice)) == total - steps
        assert files_of(directory) == files_of(tmp_path / "whole"), steps
    assert timeless(read_records(directory)) == timeless(whole)


def run_counted(m, directory, choice):
    taken = die_after(m, None)
    run(directory, 2, **choice)
    return taken


def test_partial_sums_of_an_epoch_are_part_of_a_checkpoint():
    """Loss and accuracy of an epoch that was interrupted are those of all its batches."""
    recipe = Recipe(2, 16, 0.05)
    whole = train(lenet(), dataset(), recipe, progress=False)
    model = lenet()
    optimizer = recipe.make_optimizer(model)
    for state in train_steps(model, dataset(), recipe, optimizer):
        if (state.epoch, state.batch) == (1, 2):
            break
    state = replace(state, sums=state.sums.copy())
    *_, end = train_steps(model, dataset(), recipe, optimizer, state=state)
    assert [replace(e, seconds=0) for e in end.history] == [replace(e, seconds=0) for e in whole]


# ---------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_after_the_step_and_stops(tmp_path, monkeypatch, number):
    whole, _ = run(tmp_path / "whole", 1)
    before = signal.getsignal(number)
    with monkeypatch.context() as m:
        signal_after(m, number, steps=8)  # in the second epoch of level 1
        with pytest.raises(Interrupted, match=str(int(number))) as stopped:
            run(tmp_path / "run", 1)
    assert stopped.value.saved.startswith("level_01-")
    assert stopped.value.saved.endswith("in epoch 1, after 2 batches")
    assert signal.getsignal(number) == before
    with monkeypatch.context() as m:
        taken = die_after(m, None)
        records, _ = run(tmp_path / "run", 1)
    assert len(taken) == 12 - 8
    assert timeless(records) == timeless(whole)


def signal_after(monkeypatch, number, steps):
    from quatgrad.train import TrainStep

    taken, honest = [], TrainStep.__call__

    def counted(self, *args):
        honest(self, *args)
        taken.append(1)
        if len(taken) == steps:
            signal.raise_signal(number)

    monkeypatch.setattr(TrainStep, "__call__", counted)


def test_a_second_signal_does_not_wait(tmp_path, monkeypatch):
    from quatgrad.train import TrainStep

    def twice(self, *args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainStep, "__call__", twice)
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, 0)
    assert (stopped.value.number, stopped.value.saved) == (signal.SIGTERM, "")
    assert not (tmp_path / "level_00" / "checkpoint.npz").exists()


def test_a_signal_while_a_level_is_written_lets_it_finish(tmp_path, monkeypatch):
    honest = files.finalize

    def signalled(directory):
        signal.raise_signal(signal.SIGTERM)
        honest(directory)

    monkeypatch.setattr(files, "finalize", signalled)
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, 1)
    assert stopped.value.saved == "a finished level"
    assert len(read_records(tmp_path)) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_as_a_process_it_says_so_and_ends_with_the_code_of_the_signal(tmp_path, number, code):
    command = [sys.executable, ROOT / "experiments" / "lth.py", "--preset", "smoke", "--epochs",
               "3000", "--levels", "0", "--quiet", "--out", tmp_path]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob("stages/*/start.npz")):
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert "interrupted; saved dense-lenet-300-100-real-" in err
    assert err.endswith("the same command goes on from there\n")
    assert list(tmp_path.glob("stages/*/checkpoint.npz"))


def test_a_thread_has_no_signals_and_runs_all_the_same(tmp_path):
    from threading import Thread

    thread = Thread(target=run, args=(tmp_path, 0))
    thread.start()
    thread.join()
    assert len(read_records(tmp_path)) == 1


# ---------------------------------------------------------------------------- a full disk


def test_a_full_disk_is_one_error_and_nothing_is_lost(tmp_path, monkeypatch):
    """Every write of a run fails once; then there is room again, and it goes on."""
    import errno

    run(tmp_path / "whole", 1)
    fsync, count = os.fsync, 0
    while True:
        directory, left = tmp_path / f"{count}", count

        def full(f):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(f)

        with monkeypatch.context() as m:
            m.setattr(os, "fsync", full)
            try:
                run(directory, 1)
            except RunError as error:
                assert "No space left" in str(error)  # noqa: PT017
                assert "go on" in str(error)  # noqa: PT017
            else:
                break
        finished = [read_record(p.parent) for p in directory.glob("level_*/done")]
        records, _ = run(directory, 1)
        assert all(f in records for f in finished)
        assert files_of(directory) == files_of(tmp_path / "whole"), f"write {count}"
        count += 1
    assert count == 3 + 2 * 6


def test_a_process_that_may_write_no_more_says_so_and_goes_on_later(tmp_path):
    """RLIMIT_FSIZE: writes of more than some bytes fail as they do on a disk that fills up."""
    code = """
import resource, signal, sys
from quatgrad.lth.command.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(sys.argv[1:]))
"""
    options = ["--preset", "smoke", "--quiet", "--levels", "1", "--out", str(tmp_path)]
    ended = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("quatgrad-lth: error: cannot write ")
    assert ended.stderr.count("\n") == 1
    assert "File too large" in ended.stderr
    from quatgrad.lth.command.cli import main

    assert main(options) == 0
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_for_stages_that_is_a_file(tmp_path):
    (tmp_path / "stages").write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot make .*`out`"):
        run(tmp_path, 0)


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    run(tmp_path, 0)
    stage = (tmp_path / "level_00").resolve()
    (stage / f".end.npz.{HOST}.{2**22 + 1}.tmp").write_bytes(b"half")  # no process has it
    (stage / "checkpoint.npz").write_bytes(b"old")
    run(tmp_path, 0)
    assert sorted(os.listdir(stage)) == [
        "checks.json", "done", "end.npz", "network.json", "record.json", "stage.json", "start.npz",
    ]  # fmt: skip


def test_a_stage_is_sealed_once_where_locks_lock_nothing(tmp_path):
    """Two processes have trained it; the files of the first stay together."""
    run(tmp_path, 0)
    stage = Stage.load((tmp_path / "level_00").resolve())
    before = {p.name: p.read_bytes() for p in stage.path.iterdir()}
    end, record, checks = stage.end(), stage.record(), Checks.read(stage.path / "checks.json")
    stage.finish(end, msgspec.structs.replace(record, seconds=record.seconds + 1), checks)
    assert {p.name: p.read_bytes() for p in stage.path.iterdir()} == before
    (stage.path / "done").unlink()  # and a process that is killed before that seals nothing
    stage.finish(end, msgspec.structs.replace(record, seconds=7.0), checks)
    assert stage.record().seconds == 7.0


def test_a_stage_that_another_process_trains_is_waited_for(tmp_path, capsys):
    """Two runs that share a dense level: the second finds it done."""
    script = f"""
import sys
sys.path[:0] = {[str(ROOT / "tests"), str(ROOT / "tests" / "lth")]!r}
from pathlib import Path
from tiny_runs import run
run(Path(sys.argv[1]), 1, stages=Path({str(tmp_path / "stages")!r}), score=sys.argv[2])
"""
    both = [subprocess.Popen([sys.executable, "-c", script, tmp_path / score, score],
                             stderr=subprocess.PIPE, text=True)
            for score in ("magnitude", "random")]  # fmt: skip
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    ends = [read_end(tmp_path / score / "level_00").digest() for score in ("magnitude", "random")]
    assert ends[0] == ends[1]
    assert len(list((tmp_path / "stages").glob("dense-*"))) == 1
    assert timeless(read_records(tmp_path / "random")) == timeless(
        run(tmp_path / "alone", 1, score="random")[0]
    )
