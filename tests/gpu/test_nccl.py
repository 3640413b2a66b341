"""NCCL without a GPU: the calls of its binding, and a training through the whole path."""

import ctypes
import threading
from types import SimpleNamespace

import cupy_on_cpu
import numpy as np
import pytest
from blobs import blobs

from quatgrad import models
from quatgrad.errors import BackendError
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


def test_without_nccl_there_is_one_line(stand_in):
    with pytest.raises(BackendError, match="pip install nvidia-nccl"):
        binding.unique_id()
