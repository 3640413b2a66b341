"""Shares and sums of several processes, which here are threads."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from quatgrad import Tensor, data, nn
from quatgrad.autograd import Parameter
from quatgrad.backend import use_backend
from quatgrad.data import batch_sizes, batches
from quatgrad.data.augment import pad_crop_flip
from quatgrad.errors import InvariantError, OptionError
from quatgrad.kernels.parts import parts, synchronised
from quatgrad.kernels.registry import kernels_of
from quatgrad.parallel import ALONE, WHOLE, Share, processes
from quatgrad.parallel.processes import Several, running_statistics


class Threads(Several):
    """Processes that are threads: a board on which each leaves what it has."""

    def __init__(self, rank, board, sync_norm=False):
        super().__init__(board["size"], rank, sync_norm)
        self.board = board

    def gather(self, a):
        self.board["barrier"].wait(20)
        self.board[self.rank] = a.copy()
        self.board["barrier"].wait(20)
        return np.stack([self.board[r] for r in range(self.size)])


def by_all(n, work, sync_norm=False):
    """work(group) in n threads: what each gives."""
    board, found = {"size": n, "barrier": threading.Barrier(n)}, [None] * n

    def one(rank):
        try:
            found[rank] = work(Threads(rank, board, sync_norm))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=one, args=(r,)) for r in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    return found


def test_all_agree_or_none_does():
    assert by_all(3, lambda group: group.agree(True)) == [True] * 3
    assert by_all(3, lambda group: group.agree(group.rank != 1)) == [False] * 3
    assert ALONE.agree(True)
    assert not ALONE.agree(False)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batch", [14, 29, 64])
def test_shares_are_the_batch_in_order(n, batch):
    shares = [Several(n, r, False).share(batch) for r in range(n)]
    rows = [range(batch)[s.rows] for s in shares]
    assert [i for part in rows for i in part] == list(range(batch))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert sum(s.weight for s in shares) == pytest.approx(1)
    assert all(s.counts and not s.whole for s in shares)


def test_of_a_batch_too_small_to_share_all_compute_everything_and_one_counts():
    shares = [Several(4, r, False).share(7) for r in range(4)]
    assert [range(7)[s.rows] for s in shares] == [range(7)] * 4
    assert [s.counts for s in shares] == [True, False, False, False]
    assert {s.weight for s in shares} == {0.25}


def test_one_process_shares_nothing():
    assert processes() is ALONE
    assert ALONE.share(5) is WHOLE
    assert np.arange(5)[WHOLE.rows].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_gradients_are_summed_in_the_order_of_processes(n):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n, 23)).astype(np.float32) * 10.0 ** rng.integers(-4, 4, (n, 1))
    values = values.astype(np.float32)

    def work(group):
        p, q = Parameter(np.zeros((4, 5), np.float32)), Parameter(np.zeros(3, np.float32))
        p.grad, q.grad = (
            values[group.rank, :20].reshape(4, 5).copy(),
            values[group.rank, 20:].copy(),
        )
        group.sum_gradients([p, q], nn.Sequential(), Share(slice(None), 1 / n))
        return np.append(p.grad, q.grad)

    expected = values[0].copy()
    for row in values[1:]:
        expected += row
    for found in by_all(n, work):
        assert found.tobytes() == expected.tobytes()


def test_running_statistics_of_own_norms_become_their_mean():
    def work(group):
        norm = nn.BatchNorm2d(2)
        norm.running_mean.update(lambda r: r.__setitem__(..., group.rank * 2.0))
        group.sum_gradients([], norm, group.share(8))
        return [t.numpy().tolist() for t in running_statistics(norm)]

    assert by_all(2, work) == [[[1, 1], [1, 1]]] * 2


def test_what_dropout_has_drawn_is_no_statistic():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5, rng=0))
    assert [t.shape for t in running_statistics(net)] == [(2,), (2,)]


def test_metrics_are_summed_and_a_whole_batch_counts_once():
    def work(group):
        share = group.share(3)
        return group.sum_metrics(np.array([1.5, 2.0]), share).tolist()

    assert by_all(2, work) == [[1.5, 2.0]] * 2


def test_networks_that_differ_are_found():
    def work(group):
        net = nn.Linear(3, 2, rng=np.random.default_rng(group.rank // 2))
        group.compare(net)

    *same, other = by_all(3, work)
    assert all(isinstance(e, InvariantError) for e in (*same, other))
    assert "process 2 of 3 has another network" in str(other)


@pytest.mark.parametrize("rung", ["reference", "numba_cpu"])
@pytest.mark.parametrize("n", [2, 3])
def test_norms_of_parts_are_the_norm_of_the_whole(rung, n):
    rng = np.random.default_rng(1)
    x, g = (rng.standard_normal((7, 4, 4, 6)).astype(np.float32) + 3 for _ in range(2))
    scale, shift = (rng.standard_normal(6).astype(np.float32) for _ in range(2))
    forward, backward = (kernels_of(rung)[k] for k in ("batch_norm", "batch_norm_dx"))
    y, mean, var = forward(x, scale, shift, 1e-5)
    dx, dscale, dshift = backward(g, x, mean, var, scale, 1e-5)

    def work(group):
        mine = group.share(7).rows
        y, mean, var = forward(x[mine], scale, shift, 1e-5, group.gather)
        return y, *backward(g[mine], x[mine], mean, var, scale, 1e-5, group.gather), mean, var

    found = [*zip(*by_all(n, work), strict=True)]
    near = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(np.concatenate(found[0]), y, **near)
    np.testing.assert_allclose(np.concatenate(found[1]), dx, **near)
    np.testing.assert_allclose(sum(found[2]), dscale, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(sum(found[3]), dshift, rtol=1e-5, atol=1e-4)
    for i, expected in ((4, mean), (5, var)):
        assert all((a == b).all() for a, b in pairwise(found[i]))
        np.testing.assert_allclose(found[i][0], expected, rtol=1e-6)


def test_norms_that_cannot_be_synchronised_say_so():
    x = Tensor(np.ones((4, 2, 2, 8), np.float32))
    with use_backend("numpy"), synchronised(lambda a: a[None], 0.5):
        for norm in (nn.QVarianceNorm2d(8), nn.QBatchNorm2d(8)):
            with pytest.raises(OptionError, match="leave `sync_norm` out"):
                norm(x)
    assert parts() == (None, 1.0)


@pytest.mark.parametrize("augment", [None, pad_crop_flip, lambda x, rng: pad_crop_flip(x, rng)])
def test_parts_of_batches_are_rows_of_the_batches(augment):
    from dataclasses import replace

    digits = replace(data.load("digits", subset=50), augment=augment)
    sizes = batch_sizes(50, 16)
    for (x, y), (x1, y1), n in zip(
        batches(digits, 16, 3, 1, 4),
        batches(digits, 16, 3, 1, 4, lambda n: slice(n // 2, n)),
        sizes, strict=True,
    ):  # fmt: skip
        assert len(x) == n
        assert x[n // 2 :].tobytes() == x1.tobytes()
        assert y[n // 2 :].tobytes() == y1.tobytes()
