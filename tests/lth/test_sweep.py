"""Sweeps: combinations, engines that are there or not, and a worker that dies."""

import json
import os
import signal
import threading
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec

import pytest
from tiny_runs import timeless

from quatgrad.errors import OptionError
from quatgrad.lth.command import cli
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment import runs, sweep
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.search.signals import at_once, handled
from quatgrad.lth.store.stage import read_records

needs_dask = pytest.mark.skipif(not find_spec("distributed"), reason="Dask is not installed")
needs_submitit = pytest.mark.skipif(not find_spec("submitit"), reason="submitit is not installed")


def test_combinations():
    assert sweep.combinations(["seed=0,1", "score=magnitude,random"]) == [
        ["--seed", "0", "--score", "magnitude"], ["--seed", "0", "--score", "random"],
        ["--seed", "1", "--score", "magnitude"], ["--seed", "1", "--score", "random"],
    ]  # fmt: skip
    for wrong in ("seed", "seed=", "=1"):
        with pytest.raises(OptionError, match="`vary` is NAME=A,B"):
            sweep.combinations([wrong])


def call(capsys, *arguments):
    try:
        code = main(["sweep", "--preset", "smoke", *map(str, arguments)])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize(("arguments", "word"), [
    (["--vary", "score=magnitude,size"], "'size'"),
    (["--vary", "keep=0.5,1.5"], "1.5"),
    (["--vary", "seed"], "--vary is NAME=A,B"),
    (["--vary", "colour=red"], "--colour"),
    (["--vary", "seed=0,1", "--parallel", "mpi"], "leave out --parallel and --processes"),
    (["--vary", "seed=0,1", "--processes", "2"], "leave out --parallel and --processes"),
    ([], "--vary"),
])  # fmt: skip
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, capsys, monkeypatch, arguments, word):
    monkeypatch.setattr(sweep, "find_spec", lambda name: True)
    code, _, err = call(capsys, *arguments, "--out", tmp_path)
    assert code == 2
    assert word in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", sweep.ENGINES)
def test_an_engine_that_is_not_installed(capsys, monkeypatch, engine):
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    code, _, err = call(capsys, "--vary", "seed=0", "--engine", engine)
    assert code == 2
    assert f"--engine {engine} needs" in err
    assert "pip install 'quatgrad[sweep]'" in err


def test_no_workers():
    how = Namespace(engine="dask", workers=0)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(sweep, "find_spec", lambda name: True)
        with pytest.raises(OptionError, match=r"`workers` is a number from 1 .*; got 0"):
            sweep.sweep([], how)


def test_a_job_says_where_it_ran_or_what_is_wrong(tmp_path, capsys):
    options = resolve({"preset": "smoke", "levels": 0, "out": str(tmp_path), "quiet": True})
    (directory,) = [sweep.Job(options)()["run"]]
    assert [str(p) for p in [r.path for r in runs.runs_in(tmp_path)]] == [directory]
    assert capsys.readouterr().out == ""
    wrong = resolve({"preset": "smoke", "lr": 1e10, "out": str(tmp_path), "quiet": True})
    assert "training diverged" in sweep.Job(wrong)()["error"]


@pytest.mark.parametrize(("vary", "rounds"), [
    (["seed=0,1,2"], [[0, 1, 2]]),
    (["control=shuffled,signs"], [[0], [1]]),
    (["levels=1,2,3"], [[0], [1], [2]]),
    (["trials=1,2", "seed=0,5"], [[0, 1], [2, 3]]),
    (["algebra=real,quaternion"], [[0, 1]]),
    (["algebra=real,both,quaternion"], [[0], [1], [2]]),
    (["stop-accuracy=0.1,0.2"], [[0], [1]]),
    (["seed=1,1"], [[0], [1]]),
])  # fmt: skip
def test_runs_that_share_a_folder_are_in_different_rounds(vary, rounds):
    chosen = [cli.parser().parse_args(c) for c in sweep.combinations(vary)]
    assert sweep.rounds([resolve({"preset": "smoke"} | vars(given)) for given in chosen]) == rounds


@pytest.mark.parametrize(("error", "word"), [
    (MemoryError("Unable to allocate 2 TiB"), "out of memory"),
    (OSError(28, "No space left on device", "runs/a"), "runs/a: No space left"),
    (RuntimeError("first\nsecond"), "RuntimeError: first; second"),
    (ValueError("x" * 10_000), "ValueError: xxx"),
])  # fmt: skip
def test_whatever_ends_a_run_is_a_line_and_the_others_go_on(tmp_path, monkeypatch, error, word):
    def failing(options):
        if options.run.seed == 1:
            raise error
        return tmp_path, []

    monkeypatch.setattr(sweep.experiment, "run", failing)
    jobs = [sweep.Job(resolve({"preset": "smoke", "seed": seed})) for seed in (0, 1, 2)]
    answers = [job() for job in jobs]
    assert answers[0] == answers[2] == {"run": str(tmp_path)}
    assert word in answers[1]["error"]
    assert "\n" not in answers[1]["error"]
    assert len(answers[1]["error"]) < 500


@needs_dask
def test_no_scheduler_answers(capsys, monkeypatch):
    monkeypatch.setattr(sweep, "CONNECT", 0.5)
    code, _, err = call(capsys, "--vary", "seed=0", "--scheduler", "tcp://127.0.0.1:1")
    assert (code, err.count("\n")) == (2, 1)
    assert "no Dask scheduler answers there" in err


@needs_submitit
@pytest.mark.parametrize(("how", "word"), [
    (["--engine", "slurm"], "srun"),
    (["--engine", "local", "--slurm", "foo"], "KEY=VALUE"),
    (["--engine", "local", "--slurm", "no_such_parameter=1"], "no_such_parameter"),
])  # fmt: skip
def test_what_submitit_cannot_use_is_one_line(tmp_path, capsys, how, word):
    code, _, err = call(capsys, "--vary", "seed=0", *how, "--out", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert word in err


def test_a_worker_takes_one_gpu(monkeypatch):
    for visible, found in ((None, "1"), ("4,7", "7")):
        sweep._take_gpu.cache_clear()
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        for _ in range(2):  # the second job of a worker leaves it there
            sweep._take_gpu(1)
            assert os.environ["CUDA_VISIBLE_DEVICES"] == found
    sweep._take_gpu.cache_clear()


@needs_dask
def test_a_worker_with_several_threads_runs_one_at_a_time(monkeypatch):
    """A process has one backend and one precision."""
    monkeypatch.setattr("distributed.get_worker", lambda: Namespace(name="w"))
    running, most = [], []

    def job():
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return {}

    jobs = [sweep.Job(resolve({"preset": "smoke"}))] * 3
    monkeypatch.setattr(sweep.Job, "__call__", lambda self: job())
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(sweep._on_worker, jobs)) == [{}] * 3
    assert most == [1, 1, 1]


@needs_submitit
def test_a_gpu_is_asked_for_if_any_run_wants_one(monkeypatch):
    asked = []
    monkeypatch.setattr(sweep, "_on_submitit", lambda *given: asked.append(given[-1]))
    how = Namespace(engine="slurm", workers=1, slurm=[])
    for backends, gpus in ((["numba", "numpy"], None), (["numba", "cupy"], 1)):
        sweep.sweep([resolve({"preset": "smoke", "backend": b}) for b in backends], how)
        assert asked.pop().get("gpus_per_node") == gpus


OPTIONS = ["--levels", "2", "--epochs", "20"]
VARY = ["--vary", "seed=0,1", "--vary", "algebra=real,quaternion"]


def searches(out):
    """Every search of every run: its records without times, and its last end."""
    return {
        str(path.relative_to(out)): timeless(read_records(path))
        for run in [r.path for r in runs.runs_in(out)]
        for path in run.glob("trial*/*")
    }


@needs_dask
def test_four_runs_on_two_workers_of_which_one_dies(tmp_path, capsys):
    """Dask starts another worker, and the run goes on there; the ends are those of single runs."""
    killed = []

    def kill_a_worker():
        import psutil

        while not list((tmp_path / "swept").glob("stages/level_01-*/done")):
            time.sleep(0.005)
        workers = []
        for p in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # another child that has just ended
                workers += [p] if "spawn_main" in " ".join(p.cmdline()) else []
        os.kill(workers[-1].pid, signal.SIGKILL)
        killed.append(workers[-1].pid)

    thread = threading.Thread(target=kill_a_worker, daemon=True)
    thread.start()
    code, printed, err = call(capsys, *VARY, "--workers", 2, *OPTIONS, "--out", tmp_path / "swept",
                              "--json")  # fmt: skip
    assert code == 0, err
    assert len(killed) == 1
    found = json.loads(printed)
    assert len(found) == 4
    assert all("run" in f for f in found)
    for choice in sweep.combinations(VARY[1::2]):
        arguments = ["--preset", "smoke", "--quiet", *OPTIONS, *choice]
        assert main([*arguments, "--out", str(tmp_path / "single")]) == 0
    assert searches(tmp_path / "swept") == searches(tmp_path / "single")
    assert len(searches(tmp_path / "single")) == 2 * 2
    assert main(["verify", *(f["run"] for f in found), "--out", str(tmp_path / "swept")]) == 0


@needs_submitit
def test_local_processes_by_submitit(tmp_path, capsys):
    code, printed, err = call(capsys, "--vary", "seed=0,1", "--engine", "local", "--levels", 0,
                              "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    assert "2 of 2 runs are finished" in printed
    assert len([r.path for r in runs.runs_in(tmp_path)]) == 2


@needs_submitit
def test_a_job_whose_time_is_up_is_queued_again():
    job = sweep.Job(resolve({"preset": "smoke"}))
    assert job.checkpoint().function == job


def test_in_a_job_of_slurm_sigterm_is_left_to_submitit(monkeypatch):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    with handled(at_once):
        assert signal.getsignal(signal.SIGTERM) is before[0]
        assert signal.getsignal(signal.SIGINT) is not before[1]
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    with handled(at_once):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
