"""What masks, invariants and checkpoints add to a training step.

    python experiments/lth_overhead.py [--rounds 600]

Two copies of a network, one with half of its weights pruned, take one step on the same batch in
turn. What a level adds to the step of the pruned one is timed by itself: to ask whether a
checkpoint is due, after each step; to assert the invariants, after each epoch (here of 100 steps);
and to write a checkpoint, once a minute. All in seconds of one core; the least of all rounds
counts, since other programs share the machine. Writes experiments/results/lth-overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before they are loaded

import numpy as np

from quatgrad import __version__, models
from quatgrad.lth import Ticket, check_pruned, prune_by_magnitude, rewind
from quatgrad.lth.prune.rule import full_masks
from quatgrad.lth.search.checkpoint import INTERVAL, Checkpoint
from quatgrad.lth.store import files
from quatgrad.train import Recipe, TrainState, TrainStep

RESULT = Path(__file__).parent / "results" / "lth-overhead.json"
RECIPE = Recipe(epochs=1, batch_size=64, lr=0.01)
EPOCH = 100  # steps
#: model, algebra, width, and the side of its images
NETWORKS = [
    ("lenet-300-100", "real", 300, 14),
    ("lenet-300-100", "quaternion", 300, 14),
    ("resnet8", "real", 16, 4),
    ("resnet8", "quaternion", 16, 4),
    ("resnet8", "real", 16, 32),
    ("resnet8", "quaternion", 16, 32),
]


def ms(work: Callable[[], Any]) -> float:
    """Milliseconds of the processor."""
    began = time.process_time()
    work()
    return 1e3 * (time.process_time() - began)


def measure(model: str, algebra: str, width: int, size: int, rounds: int) -> dict[str, Any]:
    """Steps of both copies, and what a level adds to them."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(RECIPE.batch_size, size, size, 4)).astype(np.float32)
    labels = rng.integers(0, 10, RECIPE.batch_size)
    nets, steps = [], []
    for _ in range(2):
        net = models.create(model, algebra, 10, 4, width, image_size=(size, size), seed=0)
        nets.append(net)
        steps.append(TrainStep(net, RECIPE.make_optimizer(net)))
    weights = dict(nets[1].weight_parameters())
    ticket = Ticket(prune_by_magnitude(weights, full_masks(weights), 0.5), nets[1].state_dict())
    rewind(nets[1], ticket)
    rounds = max(5, rounds // (size // 4))
    times = [[ms(lambda s=s: s(images, labels, 1e-4)) for s in steps] for _ in range(rounds + 1)]
    plain, pruned = np.array(times[1:]).min(axis=0)
    optimizer = steps[1].optimizer
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.npz", "")
        due = min(ms(checkpoint.due) for _ in range(1000))
        state, masks = TrainState(sums=np.zeros(2)), ticket.masks
        saving = min(
            ms(lambda: checkpoint.save(nets[1], masks, optimizer, state, {}, {})) for _ in range(5)
        )
    checks = min(ms(lambda: check_pruned(nets[1], ticket, optimizer)) for _ in range(20))
    added = {
        "masks": pruned - plain,
        "asking for checkpoints": due,
        "invariants": checks / EPOCH,
        "checkpoints": saving / (1e3 * INTERVAL) * plain,
    }
    return {
        "network": f"{model} {algebra}, width {width}, images {size} x {size} x 4",
        "step in ms": round(plain, 3),
        "added in %": {k: round(100 * v / plain, 3) for k, v in added.items()},
        "overhead in %": round(100 * sum(added.values()) / plain, 2),
        "invariants once in ms": round(checks, 3),
        "checkpoint in ms": round(saving, 2),
    }


def main() -> None:
    """Measure, print, write down."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--rounds", type=int, default=600)
    rounds = p.parse_args().rounds
    rows = [measure(*network, rounds) for network in NETWORKS]
    result = {"rounds": rounds, "batch size": RECIPE.batch_size, "steps of an epoch": EPOCH,
              "rows": rows, "machine": platform.machine(), "python": platform.python_version(),
              "numpy": np.__version__, "quatgrad": __version__}  # fmt: skip
    files.write_json(RESULT, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
