"""What a run would do: its stages, which are on record, and the hours and bytes to expect."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np

from quatgrad.data import Dataset, batches, num_batches
from quatgrad.lth.experiment.experiment import Clock, duration, prepare, run_path, searches
from quatgrad.lth.experiment.garbage import size
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.search.search import Search
from quatgrad.lth.store.stage import Stage
from quatgrad.nn import Module
from quatgrad.parallel import cost
from quatgrad.train import Recipe, TrainStep, evaluate

#: Steps that are timed; the one before them, which compiles, is not.
STEPS = 3

HOW = (
    f"hours: the median of {STEPS} training steps on this machine, and a test of one batch; bytes: "
    "masks and the weights left, uncompressed, and the optimizer's memory where it is kept"
)


def plan(options: Options) -> dict[str, Any]:
    """Every stage once, in the order of their training; nothing is trained or written."""
    datasets = prepare(options)
    directory = run_path(options, datasets[options.model.networks[0]])
    stages: dict[str, dict[str, Any]] = {}
    measured: dict[str, float] = {}
    for trial, search in searches(options, datasets, directory, Clock(options)):
        network = search.directory.name.partition("-")[0]
        first_pass = search.first_pass.plan() if search.first_pass else []
        for stage in [*first_pass, *search.plan()]:
            if network not in measured and not stage.done:
                measured[network] = of_many(options, search)
            where = {"trial": trial, "network": search.directory.name}
            expected = _expected(stage, search, measured.get(network, 0.0), options)
            stages.setdefault(stage.name, where | expected)
    to_go = [s for s in stages.values() if not s["done"]]
    total = {"stages": len(to_go)} | {k: sum(s[k] for s in to_go) for k in ("hours", "bytes")}
    how = HOW
    if options.run.processes > 1:
        how += (
            f"; {options.run.processes} processes: each as fast as this one here, on its share, "
            f"and then the sum of gradients on paper, over {link_name(options)}"
        )
    return {"run": str(directory), "stages": stages, "to go": total, "how": how}


def link_name(options: Options) -> str:
    """What lies between the processes: a node has eight GPUs."""
    gpus, nodes, cores = cost.LINKS
    return cores if options.run.backend != "cupy" else gpus if options.run.processes <= 8 else nodes


def of_many(options: Options, search: Search) -> float:
    """Seconds of an epoch of all processes together, one of which is measured here."""
    recipe, n = options.recipe, options.run.processes
    mine = replace(recipe, batch_size=max(recipe.batch_size // n, 2))
    alone = seconds_per_epoch(search.model, search.dataset, mine) / n
    nbytes = sum(p.data.nbytes for p in search.model.parameters())
    steps = num_batches(len(search.dataset.train), recipe.batch_size)
    return alone + steps * cost.sum_seconds(nbytes, n, cost.LINKS[link_name(options)])


def _expected(stage: Stage, search: Search, epoch: float, options: Options) -> dict[str, Any]:
    """Hours and bytes of a stage; `epoch`: the seconds of one epoch. On record: its real bytes."""
    level, control = stage.level, search.control
    if stage.done:
        return {"level": level, "done": True, "hours": 0.0, "bytes": size(stage.path)}
    from_start = level == 0 or (control is not None and control.from_scratch)
    epochs = options.recipe.epochs - (0 if from_start else options.protocol.rewind_epoch)
    hours, count = epochs * epoch / 3600, stage_bytes(search.model, level, options)
    return {"level": level, "done": False, "hours": hours, "bytes": count}


def stage_bytes(model: Module, level: int, options: Options) -> int:
    """At most: start (dense alone) + early + end + optimizer state + masks, uncompressed.

    Compression takes about a tenth off.
    """
    state = sum(a.nbytes for a in model.state_dict().values())
    weights = sum(w.data.nbytes for _, w in model.weight_parameters())
    pruned = int(weights * (1 - options.protocol.rule.keep**level))
    moments = 1 if options.recipe.optimizer == "sgd" else 2
    memory = moments * sum(p.data.nbytes for p in model.parameters())
    kept = memory if level == 0 or options.protocol.optimizer_state == "kept" else 0
    early = state + memory if level == 0 and options.protocol.rewind_epoch else 0
    start = state if level == 0 else 0
    return start + early + state - pruned + kept + weights // 32


def seconds_per_epoch(model: Module, dataset: Dataset, recipe: Recipe) -> float:
    """Seconds that an epoch will take; trains the model for a few steps."""
    step = TrainStep(model, recipe.make_optimizer(model), recipe, dataset.task)
    model.train()
    times = []
    for _, batch in zip(range(STEPS + 1), batches(dataset, recipe.batch_size, 0, 0), strict=False):
        began = time.perf_counter()
        step(*batch, recipe.lr * 1e-3)  # a rate that no network diverges at
        step.take()  # waits for the device
        times.append(time.perf_counter() - began)
    training = statistics.median(times[1:] or times)
    images = dataset.eval_split[1]
    some = images.take(np.arange(min(len(images), recipe.batch_size)))
    began = time.perf_counter()
    evaluate(model, some, dataset, recipe.batch_size)
    testing = (time.perf_counter() - began) / len(some)
    steps = num_batches(len(dataset.train), recipe.batch_size)
    return training * steps + testing * len(images)


def text(told: dict[str, Any]) -> str:
    """The plan as lines."""
    lines = [f"{told['run']}:"]
    for name, s in told["stages"].items():
        expected = "on record" if s["done"] else f"about {duration(3600 * s['hours'])}"
        lines.append(f"  {name:<52} {expected:>16} {amount(s['bytes']):>10}")
    left = told["to go"]
    to_go = f"{left['stages']} of {len(told['stages'])} stages"
    rest = f"{duration(3600 * left['hours'])}, {amount(left['bytes'])}"
    return "\n".join([*lines, f"to go: {to_go}, about {rest}", f"({told['how']})"])


def amount(count: float) -> str:
    """12 kB, 3.4 MB, ..."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"
