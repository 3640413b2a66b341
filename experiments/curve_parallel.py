"""Fifty steps of a ResNet-8 by one, two and four processes: do they compute the same?

    python experiments/curve_parallel.py [--data-dir DIR]

On CIFAR-100, 2,000 images of it, or where it is not there on the digits; with synchronised norms,
real and quaternion, in batches of 64. Two runs of two must have the same bits. Two and four differ
from one by rounding, and a training of a network with norms makes that larger at every step. So
the loss of the first step is compared by itself, and all 50 beside "nudged": one process whose
first weights are the next larger numbers of float32. Writes
experiments/results/curve-parallel.json; exits with 1 if more differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import mpi_here
import numpy as np
from bench import about

from quatgrad import data, models
from quatgrad.backend import set_backend
from quatgrad.errors import DataError
from quatgrad.lth.experiment.several import help_training
from quatgrad.lth.store import files
from quatgrad.parallel import start
from quatgrad.parallel.mpi import launched
from quatgrad.tensor_file import digest
from quatgrad.train import Recipe, train_steps

RESULT = Path(__file__).parent / "results" / "curve-parallel.json"
STEPS, SUBSET, ALGEBRAS = 50, 2000, ("real", "quaternion")
#: By how much of itself the first loss may differ from that of one process; and any loss in terms
#: of the nudged one's farthest, unless it is as near.
NEAR, TIMES = 1e-6, 10


def curve(dataset: data.Dataset, algebra: str, nudge: bool) -> dict[str, Any]:
    """The loss of every step, those of the last epoch, and the digest of the end."""
    (H, W, C), classes = dataset.input_shape, dataset.num_classes
    net = models.create("resnet8", algebra, classes, C, 8, image_size=(H, W), seed=0)
    for p in net.parameters() if nudge else ():
        p.data = np.nextafter(p.numpy(), np.float32(np.inf))
    recipe = Recipe(epochs=4, batch_size=64, lr=0.02, weight_decay=1e-4)
    losses, before = list[float](), 0.0
    args = net, dataset, recipe, recipe.make_optimizer(net), (1, 2)
    with closing(train_steps(*args)) as steps:
        for state in steps:
            if not state.batch:
                before = 0.0
                continue
            losses.append(float(state.sums[0]) - before)
            before = float(state.sums[0])
            if len(losses) == STEPS:
                break
    last = state.history[-1]
    told = [last.train_loss, last.test_loss]
    return {"losses": losses, "epoch": told, "end": digest(net.state_dict())}


def one(given: argparse.Namespace) -> None:
    """The life of a process: alone, or one of several."""
    set_backend(given.backend)
    try:
        dataset = data.load("cifar100", given.data_dir, subset=SUBSET)
    except DataError:
        dataset = data.load("digits")

    def work() -> None:
        told = {"dataset": dataset.name, **curve(dataset, given.algebra, given.nudge)}
        given.one.write_text(json.dumps(told))

    if launched():
        group = start.group("mpi", sync_norm=True)
        start.lead(group, {}, lambda: [dataset], help_training, work)
    else:
        work()


def by(n: int, *words: str, start: tuple[str, ...] = ()) -> dict[str, Any]:
    """What n processes compute; `start`: words before their command."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "curve.json")
        program = [str(Path(__file__).resolve()), "--one", str(file), *words]
        command = [sys.executable, *program] if n == 1 else mpi_here.command(n, *program)
        subprocess.run([*start, *command], env=mpi_here.environment(), check=True)
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def compare(algebra: str, *words: str, start: tuple[str, ...] = ()) -> dict[str, Any]:
    """How far two and four are from one, beside one that is nudged; and whether two are two."""
    how = "--algebra", algebra, *words
    alone, two, again, four = (by(n, *how, start=start) for n in (1, 2, 2, 4))
    others = {"2": two, "4": four, "nudged": by(1, *how, "--nudge", start=start)}

    def far(what: str, count: int) -> dict[str, float]:
        one = np.array(alone[what][:count])
        return {k: float(np.max(np.abs(m[what][:count] / one - 1))) for k, m in others.items()}

    return {
        "algebra": algebra, "dataset": alone["dataset"],
        "steps": len(alone["losses"]), "loss": [alone["losses"][0], alone["losses"][-1]],
        "first step": far("losses", 1),
        "farthest of all steps": far("losses", STEPS),
        "farthest of an epoch": far("epoch", 2),
        "two runs of two have the same bits": two == again,
    }  # fmt: skip


def is_right(row: dict[str, Any]) -> bool:
    """Is it as it must be?"""
    first = row["first step"]
    later = [row["farthest of all steps"], row["farthest of an epoch"]]
    return (
        row["two runs of two have the same bits"]
        and max(first["2"], first["4"]) <= NEAR
        and all(far[n] <= max(NEAR, TIMES * far["nudged"]) for far in later for n in ("2", "4"))
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--data-dir", help="the folder with cifar-100-python")
    p.add_argument("--result", type=Path, default=RESULT, help="where it is written")
    p.add_argument("--backend", default="numba", choices=("numba", "numpy"))
    p.add_argument("--algebra", default="real", help=argparse.SUPPRESS)
    p.add_argument("--nudge", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = p.parse_args(argv)
    if given.one:
        one(given)
        return 0
    where = ["--data-dir", given.data_dir] if given.data_dir else []
    words = [*where, "--backend", given.backend]
    record = about(1, None)
    record["versions"] |= mpi_here.versions()
    record["results"] = rows = [compare(algebra, *words) for algebra in ALGEBRAS]
    files.write_json(given.result, record)
    print(json.dumps(record, indent=2))
    return int(not all(map(is_right, rows)))


if __name__ == "__main__":
    sys.exit(main())
