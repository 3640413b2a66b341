"""Measure how fast images come to the network, and with how much memory.

    python experiments/bench_loading.py               100,000 synthetic images of ImageNet64: 3 GB
    python experiments/bench_loading.py --record      also to experiments/results/loading.json

Every stage is a process of its own, so its peak resident memory is that of nothing else. The
`wait` stages count what loading adds to a training step during which the processor is idle, as it
is when a GPU works: with the next batches prepared ahead by a thread, and without.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import bench
import numpy as np

from quatgrad import data
from quatgrad.data.synthetic import make

RESULTS = Path(__file__).parent / "results"
STEP = 0.1  # s of a training step in which the processor is idle
STEPS = 30
EPOCHS = {"mnist": (59_940, 60), "cifar10": (50_000, 128)}  # images, and those of a batch

Numbers = dict[str, float]


def make_files(folder: Path, images: int) -> Numbers:
    """Official files of as many training images, and a twentieth of it for testing; all others."""
    make("imagenet64", folder, images, images // 20)
    for name, (count, _) in EPOCHS.items():
        make(name, folder / name, count, 100)
    return {}


def convert(folder: Path, images: int) -> Numbers:
    """What the first use does."""
    start = time.perf_counter()
    data.load("imagenet64", folder)
    return rate(images + images // 20, start)


def stream(folder: Path, images: int) -> Numbers:
    """An epoch in seeded order, then the test images: batches of 256 as fast as they come."""
    start = time.perf_counter()
    dataset = data.load("imagenet64", folder)
    epoch = data.batches(dataset, 256, seed=0, epoch=0)
    test = data.test_batches(dataset.test, dataset.encode, 256)
    return rate(sum(len(y) for batches in (epoch, test) for _, y in batches), start)


def wait_ahead(folder: Path, images: int) -> Numbers:
    """Milliseconds that a step waits for its batch, prepared by the thread."""
    return waiting(data.batches(data.load("imagenet64", folder), 256, seed=0, epoch=0))


def wait_in_turn(folder: Path, images: int) -> Numbers:
    """The same without the thread."""
    import_module("quatgrad.data.batches").LARGE = sys.maxsize
    return wait_ahead(folder, images)


def mnist(folder: Path, images: int) -> Numbers:
    """An epoch of 999 batches of 60; 60,000 synthetic images would not pass for MNIST."""
    return best_epoch("mnist", folder)


def cifar10(folder: Path, images: int) -> Numbers:
    """An epoch of augmented batches of 128."""
    return best_epoch("cifar10", folder)


STAGES = {f.__name__: f for f in (make_files, convert, stream, wait_ahead, wait_in_turn,
                                  mnist, cifar10)}  # fmt: skip


def rate(images: int, start: float) -> Numbers:
    """Seconds since `start`, and images in a second."""
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "images_per_second": images / seconds}


def waiting(batches: Iterator[Any]) -> Numbers:
    """Median over steps of the time until the next batch is there."""
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        if next(batches, None) is None:
            break
        times.append(time.perf_counter() - start)
        time.sleep(STEP)
    return {"milliseconds": 1e3 * float(np.median(times))}


def best_epoch(name: str, folder: Path) -> Numbers:
    """The quickest of five epochs; a busy machine disturbs one, but seldom all."""
    images, size = EPOCHS[name]
    dataset, found = data.load(name, folder / name), []
    for epoch in range(5):
        start = time.perf_counter()
        for _ in data.batches(dataset, size, seed=0, epoch=epoch):
            pass
        found.append(rate(images, start))
    return min(found, key=lambda numbers: numbers["seconds"])


# ---------------------------------------------------------------------------- the command


def run_stage(stage: str, folder: Path, images: int) -> Numbers:
    """A stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    answer = subprocess.run([*command, "--images", str(images)], stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout)


def line(stage: str, numbers: Numbers) -> str:
    """What is printed of a stage."""
    cells = (f"{n:,.{0 if n > 100 else 3}f} {unit}" for unit, n in numbers.items())
    return f"{stage:<14}{', '.join(cells)}".replace("_", " ")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser("bench_loading.py", description=__doc__, formatter_class=raw)
    p.add_argument("--images", type=int, default=100_000, metavar="N", help="default: 100000")
    p.add_argument("--record", action="store_true", help="write experiments/results/loading.json")
    p.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    p.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    if options.images < 200:
        p.error(f"--images is at least 200; got {options.images}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(argv)
    if options.stage:
        numbers = STAGES[options.stage](options.folder, options.images)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(numbers | {"peak_memory_mb": peak}))
        return 0
    about = bench.about(rounds=1, threads=None)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            results[stage] = run_stage(stage, Path(folder), options.images)
            print(line(stage, results[stage]), flush=True)
    if options.record:
        record = about | {"images": options.images, "step_seconds": STEP, "results": results}
        path = RESULTS / "loading.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
