"""What the sum of the gradients costs, on paper: bytes, bandwidth, latency.

    seconds = 2 (n - 1) / n  bytes / bandwidth + 2 (n - 1) latency

Each process sends 1/n of its gradients to each other one, adds up what it gets, and sends the sum
to all: twice (n - 1) / n of all bytes go out and in. The sum follows the backward pass, so all of
its time is paid.
"""

from typing import NamedTuple


class Link(NamedTuple):
    """Between two processes: bytes in a second that one sends, and seconds until the first."""

    bandwidth: float
    latency: float


#: Assumed, not measured: about three quarters of what the makers say.
LINKS = {
    "GPUs of a node (NVLink 4)": Link(350e9, 4e-6),
    "GPUs of nodes (400 Gbit/s each)": Link(40e9, 8e-6),
    "cores of one machine (memory)": Link(4e9, 2e-6),
}


def sum_seconds(nbytes: float, n: int, link: Link) -> float:
    """Seconds of the sum of so many bytes of gradients over n processes."""
    return 2 * (n - 1) / n * nbytes / link.bandwidth + 2 * (n - 1) * link.latency


def efficiency(step: float, nbytes: float, n: int, link: Link) -> float:
    """Of n times the speed of one process, what is left: `step` is one process's share, seconds."""
    return step / (step + sum_seconds(nbytes, n, link))
