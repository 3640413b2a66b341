"""Processes of one machine that the first starts, and that talk through pipes: without MPI."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from quatgrad.backend import use_backend
from quatgrad.errors import DataError, RunError
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment import experiment
from quatgrad.lth.experiment.options import resolve
from quatgrad.parallel import nccl, pipes
from quatgrad.parallel.pipes import Pipes

SMOKE = {"preset": "smoke", "backend": "numpy", "quiet": True, "model": "resnet8", "width": 8,
         "algebra": "quaternion", "levels": 1, "parallel": "mpi", "processes": 2,
         "sync_norm": True}  # fmt: skip


def test_a_whole_run_of_two_with_norms_over_the_whole_batch(tmp_path):
    options = resolve(SMOKE | {"out": str(tmp_path)})
    group = pipes.start(2, Pipes, True, experiment.share, options)
    with use_backend("numpy"):
        experiment.share(group, options)
    (run,) = tmp_path.glob("digits-*")
    assert main(["verify", str(run)]) == 0
    stages = [json.loads(path.read_text()) for path in tmp_path.glob("stages/*/record.json")]
    assert [(r["processes"], r["sync_norm"]) for r in stages] == [(2, True)] * 2
    for _ in range(100):
        if group.others[0].exitcode is not None:
            break
        time.sleep(0.1)
    assert group.others[0].exitcode == 0


@pytest.fixture
def unwatched(monkeypatch):
    """Nobody ends this process because another one has died."""
    monkeypatch.setattr(pipes, "_watch_others", lambda others: None)


def say(group, what):
    """What another process does: it says its number, and then does what it is told."""
    group.gather(np.array([group.rank]))
    if what == "bug":
        raise ZeroDivisionError("of a newcomer")
    if what == "hangs at its end":
        atexit.register(time.sleep, 60)
        return
    if what == "fault":
        raise DataError("these images are damaged")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    assert group.tell(None) == {"a": 1}
    group.gather(np.arange(6.0).reshape(2, 3) * group.rank)
    group.send(group.receive()) if what == "echo" else time.sleep(60)


def test_what_each_has_goes_to_all_and_what_the_first_says_to_the_others(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    group = pipes.start(3, nccl.OnNode, False, say, "echo")
    assert group.gather(np.array([0])).tolist() == [[0], [1], [2]]
    assert group.tell({"a": 1}) == {"a": 1}
    every = group.gather(np.zeros((2, 3)))
    assert (every == np.arange(3)[:, None, None] * np.arange(6.0).reshape(2, 3)).all()
    group.send(b"word")
    assert [group._hear(i) for i in range(2)] == [b"word"] * 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_one_that_is_killed_is_named(unwatched):
    group = pipes.start(2, Pipes, False, say, "kill")
    group.gather(np.array([0]))
    with pytest.raises(RunError, match="process 1 of 2 has died"):
        group.gather(np.array([0]))


def test_of_one_that_has_said_what_is_wrong_nothing_more_is_said(unwatched, capfd):
    group = pipes.start(2, Pipes, False, say, "fault")
    group.gather(np.array([0]))
    with pytest.raises(SystemExit) as ended:
        group.gather(np.array([0]))
    assert ended.value.code == pipes.SAID
    assert "error: these images are damaged" in capfd.readouterr().err


def test_one_that_has_done_its_work_ends_whatever_its_end_would_wait_for(unwatched):
    """As NCCL's end waits for process 0, which waits for it at its own."""
    group = pipes.start(2, Pipes, False, say, "hangs at its end")
    group.gather(np.array([0]))
    group.others[0].join(20)
    assert group.others[0].exitcode == 0


def test_of_a_bug_the_whole_is_said(unwatched, capfd):
    group = pipes.start(2, Pipes, False, say, "bug")
    group.gather(np.array([0]))
    group.others[0].join(20)
    assert group.others[0].exitcode == 1
    assert "ZeroDivisionError: of a newcomer" in capfd.readouterr().err


FIRST = """
import sys, time
import numpy as np
from test_pipes import nccl, pipes, say
if __name__ == "__main__":
    group = pipes.start(2, nccl.OnNode, False, say, "wait")
    group.gather(np.array([0]))
    group.tell({"a": 1})
    group.gather(np.zeros((2, 3)))
    print(group.others[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def first(tmp_path):
    """A process, and the number of the one that it has started."""
    file = tmp_path / "first.py"
    file.write_text(FIRST)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=environment) as process:  # fmt: skip
        yield process, int(process.stdout.readline())
        process.kill()


def test_the_others_end_when_the_first_is_killed(first):
    process, other = first
    process.kill()
    for _ in range(100):
        try:
            os.kill(other, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it is there after 10 s")


def test_the_first_ends_when_another_is_killed_whatever_it_does(first):
    process, other = first
    os.kill(other, signal.SIGKILL)
    assert process.wait(10) == pipes.SAID
    assert process.stderr.read().startswith("error: process 1 of 2 has died, and the others end")
