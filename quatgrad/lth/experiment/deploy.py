"""The levels of runs as one would deploy them: what each takes on the disk, and in time, here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quatgrad import sparse
from quatgrad.costs import costs
from quatgrad.errors import OptionError, RunError
from quatgrad.lth.experiment.trained import trained
from quatgrad.lth.results.compare import LevelMean, Trial
from quatgrad.lth.results.offers import Offer
from quatgrad.lth.results.run import Run
from quatgrad.network import Build, Network
from quatgrad.sparse.predict import image_shape

Call = Callable[[], Any]
ROUNDS = 5
BLOCK = 0.01  # s


def offers(runs: Sequence[Run], trial: int = 0, build: Build | None = None) -> list[Offer]:
    """All levels of the networks of runs, without their controls.

    The accuracy is the mean of the trials; size and time are of one `trial`. `build` as of
    `trained`. Raises `RunError` where no level is finished, `OptionError` for a trial that is not
    there.
    """
    found, calls = list[Offer](), list[Call | None]()
    for number, run in enumerate(runs, 1):
        if not run.curves:
            raise RunError(f"{run.path}: no level is finished, nothing to deploy")
        for name, levels in run.curves.items():
            for level in levels if "-" not in name else ():
                net = trained(run, name, level.level, trial, build)
                label = str(number) if len(runs) > 1 else ""
                judged = [t[name][level.level].steering_accuracy for t in trials_of(run, name)]
                found.append(offer(net, label, level, float(np.mean(judged))))
                calls.append(call_of(net))
    times = milliseconds(calls)
    return [replace(o, milliseconds=ms) for o, ms in zip(found, times, strict=True)]


def trials_of(run: Run, name: str) -> list[Trial]:
    """The trials that have a network."""
    return [trial for trial in run.trials.values() if name in trial]


def offer(net: Network, run: str, level: LevelMean, judged: float) -> Offer:
    """A level with what it costs, but its time."""
    sizes = kilobytes(net)
    return Offer(
        run=run,
        network=net.said["network"],
        level=level.level,
        accuracy=level.accuracy,
        interval=level.interval,
        judged=judged,
        weights=level.weights_left,
        multiply_adds=costs(net.model, image_shape(net), net.masks).multiply_adds,
        kilobytes=sizes["float32"],
        int8_kilobytes=sizes["int8"],
        milliseconds=None,
    )


def kilobytes(net: Network) -> dict[str, float]:
    """1000 bytes of its ticket without dead weights, by the type of the others."""
    net = sparse.without_dead(net)
    with TemporaryDirectory() as folder:
        sizes = {}
        for weights in ("float32", "int8"):
            path = Path(folder) / "net.ticket"
            sparse.save(path, net, weights)
            sizes[weights] = path.stat().st_size / 1000
        return sizes


def call_of(net: Network) -> Call | None:
    """A call of its plan with one image; None where no plan can be made."""
    try:
        shape = image_shape(net)
        plan = sparse.prepare(net.model, shape, net.masks)
    except OptionError:
        return None
    x = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    return lambda: plan(x)


def milliseconds(calls: Sequence[Call | None]) -> list[float | None]:
    """Of each call the median of blocks, in which its weights are in the caches; in turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, own in zip(calls, times, strict=True):
            if call is not None:
                own.append(block(call))
    return [1e3 * float(np.median(own)) if own else None for own in times]


def block(call: Call) -> float:
    """Seconds of a call, the median of those of a block."""
    return float(np.median(times_of(call, BLOCK)))


def times_of(call: Call, seconds: float, least: int = 1) -> list[float]:
    """Seconds of each call, again and again for so long and so often; the first does not count."""
    call()
    times = list[float]()
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
