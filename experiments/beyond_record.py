"""The numbers beyond images on record: which tasks there are, from finished runs, read again."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import bench

from quatgrad.lth.experiment.experiment import options_of
from quatgrad.lth.experiment.trained import describe, trained
from quatgrad.lth.results import compare
from quatgrad.lth.results.curve import matching, sparsest
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.task import Attitude, Detection, Task, Text


@dataclass(frozen=True)
class Published:
    """What others have reached on a task: a score, or a `loss`; `fair`: by the same task."""

    value: float
    by: str
    loss: bool = False
    fair: bool = True


@dataclass(frozen=True)
class About:
    """A task: its title, what its score is, and what others have published."""

    title: str
    score: str = Task.score
    published: tuple[Published, ...] = ()


KIM = "a CNN with random embeddings, github.com/harvardnlp/sent-conv-torch"
TAY = "a transformer, Tay et al., arXiv:1906.04393"
#: In the order of the table; of others, the name.
TASKS = {
    "shakespeare": About(
        "Shakespeare, next character: GPT",
        "right characters",
        (Published(1.88, "nanoGPT's recipe for a CPU", loss=True),),
    ),
    "shakespeare-qkv": About(
        "the same, quaternions in queries, keys and values", "right characters"
    ),
    "sst2": About(
        "SST-2, sentences: transformer",
        published=(
            Published(0.789, f"{TAY}, trained on phrases too", fair=False),
            Published(0.835, f"{KIM}, on phrases too", fair=False),
        ),
    ),
    "trec": About("TREC, questions: transformer", published=(Published(0.882, KIM),)),
    "fsdd-speakers": About("spoken digits, speakers apart: GRU"),
    "fsdd": About(
        "spoken digits, official split: GRU",
        published=(Published(0.97, "a CNN, on three of the speakers", fair=False),),
    ),
    "natops": About(
        "NATOPS, gestures: FCN",
        published=(Published(0.972, "an FCN, github.com/Navidfoumani/Disjoint-CNN"),),
    ),
    "bccd": About(
        "BCCD, boxes: detector",
        Detection.score,
        (Published(0.854, "an older CNN, on pictures 16 times as large", fair=False),),
    ),
    "broad": About("BROAD, attitude of a sensor: GRU", Attitude.score),
    "cora": About(
        "Cora, public split: GCN", published=(Published(0.815, "GCN, arXiv:1609.02907"),)
    ),
    "cora-global": About("Cora, layers pruned together: GCN"),
    "cora-80": About(
        "Cora, 80 % in training: GCN", published=(Published(0.852, "GCN, arXiv:2502.06136"),)
    ),
}


def about_task(name: str) -> About:
    """What is known of a task."""
    return TASKS.get(name, About(name))


#: A task with another network of its own in the place of the quaternion one -> the panel it is in.
VARIANTS = {"shakespeare-qkv": "shakespeare"}


COSTS = ("multiply_adds", "bytes")


@dataclass(frozen=True)
class Level:
    """A row of seeds.csv: what the analysis wants of a `Record`, under the same names."""

    trial: int
    network: str
    level: int
    weights_left: int
    weights_total: int
    accuracy: float
    loss: float
    multiply_adds: int | None
    bytes: int | None
    trained: str
    selection: ClassVar[None] = None  # `compare.mean` asks for it

    @classmethod
    def of(cls, trial: int, network: str, record: Record) -> Level:
        """What there is to keep of a record."""
        same = ("level", "weights_left", "weights_total", "accuracy", "loss")
        known = {name: getattr(record, name) for name in same}
        known |= {name: record.costs and getattr(record.costs, name) for name in COSTS}
        return cls(trial, network, **known, trained=record.trained[:16])

    @classmethod
    def read(cls, row: dict[str, str]) -> Level:
        """A row of the file; no costs where they were not counted."""
        whole = {k: int(row[k]) for k in ("trial", "level", "weights_left", "weights_total")}
        costs = {k: int(row[k]) if row[k] else None for k in COSTS}
        known = {k: float(row[k]) for k in ("accuracy", "loss")}
        texts = {k: row[k] for k in ("network", "trained")}
        return cls(**whole, **known, **texts, **costs)


Trials = list[dict[str, list[Level]]]  # network -> its levels, for each trial


def trial_of(networks: dict[str, list[Level]]) -> int:
    """The number of a trial."""
    return next(iter(networks.values()))[0].trial


# ------------------------------------------------------------------------- from runs to the record


def task_of(run: Run) -> str:
    """The name of its task: its dataset, and what is not as the preset has it."""
    options = run.config.options
    qkv = "-qkv" * (options.get("real_parts") == "out,ff")
    return f"{options['dataset']}{qkv}" + "-global" * (options.get("scope") == "global")


def finished(run: Run) -> Trials:
    """The trials of which every network has all levels, or has ended."""
    options = options_of(run)
    found = []
    for number, trial in run.trials.items():
        ends = {
            name: len(trial.get(name, [])) == options.protocol.levels + 1
            or files.exists(run.search_path(number, name) / "ended.json")
            for name in options.model.networks
        }
        if all(ends.values()):
            rows = {n: [Level.of(number, n, r) for r in trial[n]] for n in ends}
            found.append(rows)
    return found


def collect(run: Run, out: Path, commit: str) -> None:
    """seeds.csv, comparison.csv, record.json of a run with two finished trials: one says little."""
    trials = finished(run)
    if len(trials) < 2:
        print(f"{run.path.name}: {len(trials)} finished, left out")
        return
    folder = out / task_of(run)
    files.prepare_directory(folder)
    write(trials, folder / "seeds.csv")
    files.write_csv(folder / "comparison.csv", compare.rows(compare.mean(trials)))
    (folder / "record.json").write_text(json.dumps(record(run, trials, commit), indent=1) + "\n")
    if str(run.config.options["model"]) in Text.networks:
        (folder / "samples.md").write_text(samples(run, trials[0]))
    print(f"{run.path.name}: {len(trials)} trials")


def write(trials: Trials, path: Path) -> None:
    """A row for each level, as `read` takes them."""
    rows = [asdict(x) for trial in trials for levels in trial.values() for x in levels]
    files.write_csv(path, rows)


BEGINNING, LENGTH, TEMPERATURE = "ROMEO:\n", 300, 0.8


def samples(run: Run, first: dict[str, list[Level]]) -> str:
    """What each network of the first trial writes: dense, last that matches, and sparsest."""
    parts = [
        f"# Samples\n\nWhat comes after {BEGINNING.strip()!r}, temperature {TEMPERATURE}, with the "
        "same draws for all:\ndense, the last level within a point of it, and the sparsest."
    ]
    for name, levels in first.items():
        matched = sparsest(matching([levels])).level
        for level in sorted({0, matched, levels[-1].level}):
            net = trained(run, name, level, levels[0].trial)
            said = net.write(BEGINNING, LENGTH, TEMPERATURE)
            parts.append(f"## {describe(net.said)}\n\n```text\n{said}\n```")
    return "\n\n".join(parts) + "\n"


def _words(option: str, value: Any) -> list[str]:
    """An option as it is typed: alone, where it is on, and once for each of a list."""
    if isinstance(value, list):
        return [f"{option} {v}" for v in value]
    return [option if value is True else f"{option} {value}"]


def record(run: Run, trials: Trials, commit: str) -> dict[str, Any]:
    """What a reader of the numbers wants to know of a run."""
    first = run.config.first_run
    assert first is not None  # `options_of` has read it
    given = {k: v for k, v in first.overrides.items() if k not in ("out", "quiet", "data_dir")}
    given["trials"] = len(trials)  # those that have finished
    dataset = {"dataset": run.config.options["dataset"]} | given
    words = [word for k, v in dataset.items() for word in _words(f"--{k.replace('_', '-')}", v)]
    known = bench.about(0, 1)
    seconds = sum(r.seconds for r in run.measured)
    return {
        "command": " ".join(
            ["python experiments/lth.py --preset", first.preset, *words, "--data-dir DIR"]
        ),
        "commit": commit,
        "config": {"first run as": {"preset": first.preset, "overrides": given}}
        | {"options": run.config.options},
        "task": run.config.task,
        "chance": run.config.chance,
        "score": run.config.measure,
        "setting": run.setting,
        "seeds": [trial_of(trial) for trial in trials],
        "minutes of training": round(seconds / 60),
        "machine": known["machine"] | {"threads of each process": 1},
        "versions": {k: v for k, v in known["versions"].items() if k in VERSIONS},
    }


VERSIONS = ("python", "numpy", "numba", "quatgrad")


# ------------------------------------------------------------------------------------- read again


def read(folder: Path, name: str = "seeds.csv") -> Trials:
    """The trials of a task on record."""
    trials: dict[int, dict[str, list[Level]]] = {}
    with (folder / name).open(newline="") as file:
        for row in csv.DictReader(file):
            level = Level.read(row)
            trials.setdefault(level.trial, {}).setdefault(level.network, []).append(level)
    return [*trials.values()]


def on_record(out: Path) -> dict[str, Trials]:
    """All tasks of a folder, in the order of `TASKS`."""
    names = {p.parent.name for p in out.glob("*/seeds.csv")}
    order = [*TASKS, *sorted(names - TASKS.keys())]
    return {name: read(out / name) for name in order if name in names}
