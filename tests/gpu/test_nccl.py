"""NCCL without a GPU: the calls of its binding, and a training through the whole path."""

import ctypes
import os
import sys
import threading
from types import SimpleNamespace

import cupy_on_cpu
import numpy as np
import pytest
from blobs import blobs

from quatgrad import models
from quatgrad.errors import BackendError, OptionError
from quatgrad.kernels.cupy_gpu import nccl as binding
from quatgrad.parallel import nccl as room
from quatgrad.parallel import use_processes
from quatgrad.train import Recipe, train


class Nccl:
    """As cupy.cuda.nccl for processes that are threads: it moves bytes between addresses."""

    available, NCCL_UINT8 = True, 1

    def __init__(self, size):
        self.size, self.barrier, self.posted = size, threading.Barrier(size), {}
        self.groups, self.local = 0, threading.local()

    def get_unique_id(self):
        return b"a name"

    def groupStart(self):
        self.local.open = True

    def groupEnd(self):
        self.local.open = False
        self.barrier.wait(20)
        for rank, to, count, peer in self.local.wanted:
            ctypes.memmove(to, self.posted[peer, rank], count)
        self.local.wanted = []
        self.barrier.wait(20)

    def NcclCommunicator(self, size, identity, rank):
        assert (size, identity) == (self.size, b"a name")
        return Communicator(self, rank)


class Communicator:
    def __init__(self, nccl, rank):
        self.nccl, self.rank = nccl, rank

    def allGather(self, send, receive, count, kind, stream):
        assert (kind, stream) == (1, 0)
        n = self.nccl
        n.posted[self.rank] = send
        n.barrier.wait(20)
        for peer in range(n.size):
            ctypes.memmove(receive + peer * count, n.posted[peer], count)
        n.barrier.wait(20)

    def send(self, address, count, kind, peer, stream):
        assert self.nccl.local.open
        self.nccl.posted[self.rank, peer] = address

    def recv(self, address, count, kind, peer, stream):
        wanted = self.nccl.local.__dict__.setdefault("wanted", [])
        wanted.append((self.rank, address, count, peer))


def on_gpu(a):
    """An array with an address, as CuPy's have it."""
    return SimpleNamespace(data=SimpleNamespace(ptr=a.ctypes.data), nbytes=a.nbytes)


@pytest.mark.parametrize("n", [1, 3])
def test_what_each_has_goes_to_all_and_to_each_its_part(n, monkeypatch):
    nccl = Nccl(n)
    monkeypatch.setattr(binding, "_binding", lambda: nccl)
    monkeypatch.setattr(binding.Wire, "_stream", lambda self: 0)
    given = np.arange(n * n * 2, dtype=np.float32).reshape(n, n, 2)
    gathered, parts = np.zeros((n, n, n, 2), np.float32), np.zeros((n, n, 2), np.float32)

    def work(rank):
        wire = binding.Wire(n, rank, binding.unique_id())
        wire.all_gather(on_gpu(given[rank]), on_gpu(gathered[rank]))
        wire.all_to_all(on_gpu(given[rank]), on_gpu(parts[rank]))

    threads = [threading.Thread(target=work, args=(r,)) for r in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert (gathered == given).all()
    assert (parts == given.swapaxes(0, 1)).all()


class Copying:
    """A wire of one process, for CuPy's stand-in, whose arrays have no address."""

    def __init__(self):
        self.sent = []  # (name of the message, its stream, whether it is recorded, numbers)

    def all_gather(self, a, every):
        self.sent.append(("gather", cupy_on_cpu.streams[-1], cupy_on_cpu.tape is not None, a.size))
        every[...] = a.reshape(every.shape)

    def all_to_all(self, flat, parts):
        self.sent.append(
            ("parts", cupy_on_cpu.streams[-1], cupy_on_cpu.tape is not None, flat.size)
        )
        parts[...] = flat.reshape(parts.shape)


def trained(group=None):
    net = models.create("resnet8", "quaternion", 3, 4, 4, image_size=(4, 4), seed=0)
    dataset = blobs()
    recipe = Recipe(epochs=2, batch_size=16, lr=0.05)
    if group is None:
        return train(net, dataset, recipe, progress=False), net.state_dict()
    group.wire, group.datasets = Copying(), [dataset]
    with use_processes(group):
        return train(net, dataset, recipe, progress=False), net.state_dict()


@pytest.mark.parametrize("sync", [False, True])
def test_one_process_on_one_gpu_computes_the_same_by_the_whole_path(solved, sync):
    history, alone = trained()
    same, state = trained(room.One(sync))
    for a, b in zip(history, same, strict=True):
        assert (a.train_loss, a.test_accuracy) == pytest.approx((b.train_loss, b.test_accuracy))
    for name, value in alone.items():
        near = {"rtol": 1e-4, "atol": 1e-5} if sync else {"rtol": 0}  # the same bits
        np.testing.assert_allclose(state[name], value, **near)


def test_sums_behind_backward_are_a_branch_of_the_recorded_step_and_give_the_same_bits(
    solved, monkeypatch
):
    with monkeypatch.context() as after:
        after.setattr(room.One, "buckets", lambda self, optimizer: None)
        _, expected = trained(room.One(False))
    group = room.One(False)
    group.least = 4096
    _, state = trained(group)
    for name, value in expected.items():
        assert state[name].tobytes() == value.tobytes(), name
    beside, sizes = group.cut.beside.stream, [g.size for g in group.cut.gradients]
    assert len(sizes) > 2
    assert sum(sizes) == group.cut.flat.g.size
    assert beside.non_blocking
    recorded = [(stream, n) for what, stream, is_recorded, n in group.wire.sent
                if is_recorded and what == "parts"]  # fmt: skip
    assert {stream for stream, _ in recorded} == {beside}
    assert [n for _, n in recorded][-len(sizes) :] == sizes
    step = next(stream for stream, by in reversed(cupy_on_cpu.waited) if by is beside)
    assert step is not cupy_on_cpu.streams[0]  # the one on which it is recorded
    waited = [w for w in cupy_on_cpu.waited if step in w]
    assert waited == [(beside, step)] * (1 + len(sizes)) + [(step, beside)]


@pytest.mark.parametrize("available", [None, False])
def test_without_nccl_there_is_one_line(stand_in, monkeypatch, available):
    found = None if available is None else SimpleNamespace(available=available)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", found)
    assert not binding.is_installed()
    with pytest.raises(BackendError, match=r"quatgrad\[nccl12\]"):
        binding.unique_id()


def test_the_module_is_found_that_cupy_does_not_import_by_itself(stand_in, monkeypatch, tmp_path):
    cuda = tmp_path / "cupy" / "cuda"
    cuda.mkdir(parents=True)
    for path in (cuda.parent / "__init__.py", cuda / "__init__.py"):
        path.touch()
    (cuda / "nccl.py").write_text("available = True\ndef get_unique_id(): return 'a name'\n")
    for name in ("cupy", "cupy.cuda", "cupy.cuda.nccl"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert binding.is_installed()
    assert binding.unique_id() == "a name"


def test_a_message_that_fails_leaves_no_group_of_messages_open(monkeypatch):
    nccl = Nccl(1)
    monkeypatch.setattr(binding, "_binding", lambda: nccl)
    monkeypatch.setattr(binding.Wire, "_stream", lambda self: 0)
    monkeypatch.setattr(Communicator, "recv", lambda *a: 1 / 0)
    wire, numbers = binding.Wire(1, 0, b"a name"), np.zeros((1, 2), np.float32)
    nccl.local.wanted = []
    with pytest.raises(ZeroDivisionError):
        wire.all_to_all(on_gpu(numbers), on_gpu(numbers))
    assert not nccl.local.open


@pytest.mark.parametrize(("visible", "number", "taken"), [
    (None, 2, "2"), ("", 2, "2"), ("5", 2, "5"), ("4,7", 1, "7"), ("GPU-a,GPU-b,", 0, "GPU-a"),
])  # fmt: skip
def test_each_process_of_a_machine_takes_its_gpu(monkeypatch, visible, number, taken):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    room.take_gpu(number)
    room.take_gpu(number)  # taken is taken
    assert os.environ["CUDA_VISIBLE_DEVICES"] == taken


def test_the_gpu_is_taken_before_mpi_starts_and_a_missing_one_said_when_all_are_there(monkeypatch):
    seen = []
    monkeypatch.setattr(room, "launched", lambda: True)
    monkeypatch.setattr(room, "world", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setattr(room, "Nccl", lambda comm, sync_norm: comm)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    for number in ("1", "2"):
        monkeypatch.setenv("SLURM_LOCALID", number)
        room.nccl(False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert seen == ["7", "4,7"]
    with pytest.raises(OptionError, match="process 3 of this machine has no GPU"):
        room.take_gpu(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"
