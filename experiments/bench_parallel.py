"""Measure two processes with a thread each beside one process with two threads.

    python experiments/bench.py --suite parallel --quick      a look
    python experiments/bench.py --suite parallel --record     to results/bench-parallel.json

A step is one of a training: the next batch is read, moved and encoded, and the network trained on
it, by one process, or by two that take half of it each and sum the gradients. "sum" is that sum
alone. Rounds and turns as in bench.py; mpirun starts the two, which talk through memory.
"""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import mpi_here
import numpy as np
from bench import (
    LR,
    QUICK_ROUNDS,
    REST,
    TURN,
    Call,
    Case,
    Worker,
    about,
    ask,
    parsed,
    parser_of,
    start_worker,
)  # fmt: skip

from quatgrad import data, generator, models
from quatgrad.backend import set_backend
from quatgrad.data.augment import pad_crop_flip
from quatgrad.optim import SGD
from quatgrad.parallel import ALONE, Processes, processes, start, use_processes
from quatgrad.parallel.mpi import launched
from quatgrad.parallel.processes import Several, Stopped
from quatgrad.train import TrainStep

SCRIPT = Path(__file__).resolve()
ROUNDS, THREADS = 9, 2
SETTLE = 0.1  # s of each turn that are not counted
IMAGES = 2048
#: name -> what makes the images, network, width, batch
NETS: dict[str, tuple[Callable[[], data.Dataset], str, int, int]] = {
    "digits, resnet8": (lambda: data.load("digits"), "resnet8", 16, 64),
    "32x32, resnet8": (lambda: made(32, 3, 100, "rgb_gray"), "resnet8", 16, 64),
    "32x32, resnet8, batch 256": (lambda: made(32, 3, 100, "rgb_gray"), "resnet8", 16, 256),
    "28x28, lenet-300-100": (lambda: made(28, 1, 10, "consecutive"), "lenet-300-100", 300, 64),
    "28x28, lenet-300-100, batch 256": (
        *(lambda: made(28, 1, 10, "consecutive"), "lenet-300-100", 300, 256),
    ),
}  # fmt: skip


def made(side: int, colours: int, classes: int, encoder: str) -> data.Dataset:
    """Images of noise, which are moved and mirrored if they have colours."""
    rng = generator(0, "images")
    x = rng.integers(0, 256, (IMAGES, side, side, colours), np.uint8)
    y, move = np.arange(IMAGES) % classes, pad_crop_flip if colours == 3 else None
    z = rng.integers(0, 256, (classes, side, side, colours), np.uint8)
    return data.from_arrays(
        x, y, z, np.arange(classes), name="noise", encoder=encoder, augment=move
    )


@lru_cache(maxsize=2)
def calls(net: str, algebra: str) -> dict[str, Call]:
    """A step with its batch, and the sum of the gradients alone, which gives their bytes."""
    make, name, width, batch = NETS[net]
    dataset, group = make(), processes()
    (H, W, C), classes = dataset.input_shape, dataset.num_classes
    model = models.create(name, algebra, classes, C, width, image_size=(H, W), seed=0)
    step = TrainStep(model, SGD(model.parameters(), 0.9, True, 5e-4))
    share = group.share(batch)

    def given() -> Iterator[tuple[Any, Any]]:
        for epoch in itertools.count():
            every = data.batches(dataset, batch, 0, epoch, part=lambda n: group.share(n).rows)
            yield from itertools.islice(every, len(dataset.train) // batch)  # whole ones

    several, parameters = given(), model.parameters()
    gradients = [np.ones_like(p.data) for p in parameters]

    def sum_gradients() -> int:
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g  # as backward gives it
        group.sum_gradients(parameters, model, share)
        return sum(g.nbytes for g in gradients)

    return {"step": lambda: step(*next(several), LR, share), "sum": sum_gradients}


def turn(group: Processes, request: str) -> tuple[float, int]:
    """Seconds of a call, the median over `TURN` s, and what the last gave; all do it together."""
    what, case = json.loads(request)
    if isinstance(group, Several):
        group.send(request.encode())
    call, times, answer = calls(**case)[what], list[float](), None
    began = time.perf_counter()
    while sum(times) < TURN:
        start = time.perf_counter()
        group.go_on()
        answer = call()
        if times or start - began > SETTLE or what == "sum":
            times.append(time.perf_counter() - start)
    if isinstance(group, Several):
        group.send(b"enough")
    return float(np.median(times)), answer or 0


def follow(group: Several, request: bytes) -> None:
    """What the other process does in the turn of the first."""
    what, case = json.loads(request)
    call = calls(**case)[what]
    with suppress(Stopped):
        while True:
            group.go_on()
            call()


def serve() -> int:
    """The life of a worker, as in bench.py; under mpirun the first one leads."""
    set_backend("numba")
    group = start.group("mpi", False) if launched() else ALONE
    with use_processes(group):
        if group.rank == 0:
            while (request := sys.stdin.readline()).strip():
                print(*turn(group, request), flush=True)
        if isinstance(group, Several):
            if group.rank == 0:
                group.end()
            else:
                while request := group.receive():
                    follow(group, request)
    return 0


def start_two() -> Worker:
    """Two processes with a thread each; the first reads and answers."""
    threads = {f"{p}_NUM_THREADS": "1" for p in ("OPENBLAS", "OMP", "MKL", "NUMBA")}
    words, pipe = mpi_here.command(THREADS, SCRIPT, "--serve"), subprocess.PIPE
    return subprocess.Popen(
        words, stdin=pipe, stdout=pipe, text=True, env=mpi_here.environment(**threads)
    )


def measure(name: str, case: Case, workers: dict[str, Worker], rounds: int) -> dict[str, Any]:
    """A line of the record: seconds, quartiles, the median of the ratio, bytes of gradients."""
    times: dict[str, list[float]] = {"one": [], "two": [], "sum": []}
    nbytes = 0
    for k in range(rounds):
        for engine in [*workers][:: 1 if k % 2 else -1]:
            time.sleep(REST)
            times[engine].append(ask(workers[engine], json.dumps(["step", case]))[0])
            if engine == "two":
                seconds, nbytes = ask(workers[engine], json.dumps(["sum", case]))
                times["sum"].append(seconds)
    q = {e: np.percentile(t, (25, 50, 75)).tolist() for e, t in times.items()}
    return {
        "name": name, "case": case, "bytes": nbytes,
        "seconds": {e: q[e][1] for e in q}, "quartiles": {e: q[e][::2] for e in q},
        "least": {e: min(t) for e, t in times.items()},
        "speed of two": float(np.median(np.divide(times["one"], times["two"]))),
    }  # fmt: skip


def line(row: dict[str, Any] | None = None) -> str:
    """A line of the table, or its header."""
    if row is None:
        return (
            f"{'parallel':<44}{'1 x 2, ms':>11}{'2 x 1, ms':>11}{'speed':>8}{'sum, ms':>9}{'MB':>7}"
        )
    one, two, alone = (1e3 * row["seconds"][e] for e in ("one", "two", "sum"))
    speed, mb = row["speed of two"], row["bytes"] / 1e6
    return f"{row['name']:<44}{one:>11.2f}{two:>11.2f}{speed:>8.2f}{alone:>9.3f}{mb:>7.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parsed(parser_of("parallel", __doc__, ROUNDS), argv, "parallel")
    if options.serve:
        return serve()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    rows = []
    with ExitStack() as stack:
        workers = {"one": stack.enter_context(start_worker(THREADS, SCRIPT))}
        workers["two"] = stack.enter_context(start_two())
        print(line())
        for net in NETS:
            for algebra in ("real", "quaternion"):
                case = {"net": net, "algebra": algebra}
                rows.append(measure(f"{algebra} {net}", case, workers, rounds))
                print(line(rows[-1]), flush=True)
        for worker in workers.values():  # mpirun does not tell its processes that nothing follows
            print(file=worker.stdin, flush=True)
    print(
        "1 x 2: one process, two threads; 2 x 1: two processes, one each; speed: of two, by one's"
    )
    if options.out:
        record = about(rounds, THREADS) | {"results": rows}
        record["versions"] |= mpi_here.versions()
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
