"""What the sum of the gradients costs, on paper: bytes, bandwidth, latency.

    seconds = 2 (n - 1) / n  bytes / bandwidth + 2 (n - 1) latency

Each process sends 1/n of its gradients to each other one, adds up what it gets, and sends the sum
to all: twice (n - 1) / n of all bytes go out and in. On a CPU the sum follows the backward pass, so
all of its time is paid. On GPUs it runs behind it in buckets, and what goes on after it is paid.
"""

from collections.abc import Iterable
from typing import NamedTuple

from quatgrad.costs import costs
from quatgrad.flat_parameters import starts
from quatgrad.nn import Module
from quatgrad.parallel.buckets import LEAST, cut
from quatgrad.parallel.processes import running_statistics


class Link(NamedTuple):
    """Between two processes: bytes in a second that one sends, and seconds until the first."""

    bandwidth: float
    latency: float


#: Of GPUs assumed, not measured. Bandwidths are about three quarters of what the makers say: 450
#: GB/s each way (NVIDIA H200 data sheet: NVLink, 900 GB/s both ways), and 50 GB/s (ConnectX-7: 400
#: Gbit/s). Of cores measured on two of them: `bench.py --suite parallel`, 0.27 and 1.1 MB.
LINKS = {
    "GPUs of a node (NVLink 4)": Link(350e9, 4e-6),
    "GPUs of nodes (400 Gbit/s each)": Link(40e9, 8e-6),
    "cores of one machine (memory)": Link(20e9, 25e-6),
}
#: Of a training step: gradients of maps and of weights, beside the forward pass, of equal products.
BACKWARD = 2 / 3


class Sum(NamedTuple):
    """A sum of so many bytes, which are there after this share of the backward pass."""

    ready: float
    nbytes: int


def sum_seconds(nbytes: float, n: int, link: Link) -> float:
    """Seconds of the sum of so many bytes of gradients over n processes."""
    return 2 * (n - 1) / n * nbytes / link.bandwidth + 2 * (n - 1) * link.latency


def seconds_left(backward: float, sums: Iterable[Sum], n: int, link: Link) -> float:
    """Seconds for which sums that run behind a backward pass of so many seconds go on after it.

    end_k = max(ready_k backward, end_(k-1)) + sum_seconds(nbytes_k)
    """
    end = 0.0
    for ready, nbytes in sums:
        end = max(ready * backward, end) + sum_seconds(nbytes, n, link)
    return max(end - backward, 0.0)


def sums_behind(model: Module, input_shape: tuple[int, int, int], least: int = LEAST) -> list[Sum]:
    """Those of running statistics, which are there from the beginning, and of the buckets.

    A bucket is there when its first layer is, and backward takes a time for each layer that is in
    proportion to its multiply-adds.
    """
    parameters, uses = dict(model.named_parameters()), costs(model, input_shape).uses
    products = [p.size * uses.get(name, 0) for name, p in parameters.items()]
    places = starts([*parameters.values()])
    itemsize = next(iter(parameters.values())).dtype.itemsize
    sums = [Sum(0.0, sum(b.data.nbytes for b in running_statistics(model)))]
    for r in cut(places, least // itemsize):
        nbytes = (places[r.stop] - places[r.start]) * itemsize
        sums.append(Sum(sum(products[r.start :]) / sum(products), nbytes))
    return [s for s in sums if s.nbytes]


def efficiency(step: float, paid: float) -> float:
    """Of n times the speed of one process, what is left: `step` is one process's share, seconds.

    `paid`: the seconds of a step in which nothing but the sum is done.
    """
    return step / (step + paid)
