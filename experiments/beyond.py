"""Tasks beyond images, all in one table and one picture: who is ahead at equal weights?

    python experiments/beyond.py                    anew from the numbers on record
    python experiments/beyond.py RUNS --commit C    first those of the runs in this folder

Of each run of a preset that `reproduce.py list` calls "beyond", the finished trials go to
results/beyond/TASK: seeds.csv (a row for each trial, network and level), comparison.csv,
record.json and accuracy.png. What is there of other tasks stays. Then table.csv, README.md and
scores.png are of all tasks on record. Nothing is trained.

Differences are of one trial, both networks with its seed; intervals are their mean's at 95 %,
Student's t. Along the tickets a difference is the mean over log(weights), where both networks have
weights; or over log(multiply-adds), or log(bytes).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import bench
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from quatgrad.errors import RunError
from quatgrad.lth.experiment.experiment import options_of
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.experiment.trained import describe, trained
from quatgrad.lth.results import compare, plot
from quatgrad.lth.results.curve import area, matching, sparsest
from quatgrad.lth.results.drawing import (
    Percent,
    band,
    draw_reference,
    legend_below,
    log_axis,
    set_title,
)
from quatgrad.lth.results.run import Run, seeds
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.paper.experiments import BEYOND
from quatgrad.paper.figures import count
from quatgrad.task import Text

OUT = Path(__file__).parent / "results" / "beyond"


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
    score: str = "accuracy"
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
        "SST-2, sentences: transformer", published=(Published(0.789, TAY), Published(0.835, KIM))
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
        "mAP at 0.5",
        (Published(0.854, "an older CNN, on pictures 16 times as large", fair=False),),
    ),
    "broad": About("BROAD, attitude of a sensor: GRU", "1 - error / 90 degrees"),
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
NEAR = 0.1  # a guess is drawn where it is at most so far below a curve
VARIANT_STYLE = {"color": "#E69F00", "marker": "v", "label": "quaternions in Q, K, V"}


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
    rows = [asdict(x) for trial in trials for levels in trial.values() for x in levels]
    files.write_csv(folder / "seeds.csv", rows)
    files.write_csv(folder / "comparison.csv", compare.rows(compare.mean(trials)))
    (folder / "record.json").write_text(json.dumps(record(run, trials, commit), indent=1) + "\n")
    if str(run.config.options["model"]) in Text.networks:
        (folder / "samples.md").write_text(samples(run, trials[0]))
    print(f"{run.path.name}: {len(trials)} trials")


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


def record(run: Run, trials: Trials, commit: str) -> dict[str, Any]:
    """What a reader of the numbers wants to know of a run."""
    first = run.config.first_run
    assert first is not None  # `options_of` has read it
    given = {k: v for k, v in first.overrides.items() if k not in ("out", "quiet", "data_dir")}
    dataset = {"dataset": run.config.options["dataset"]} | given
    words = [f"--{k.replace('_', '-')} {v}" for k, v in dataset.items() if not isinstance(v, list)]
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
        "setting": run.setting,
        "seeds": [trial_of(trial) for trial in trials],
        "minutes of training": round(seconds / 60),
        "machine": known["machine"] | {"threads of each process": 1},
        "versions": {k: v for k, v in known["versions"].items() if k in VERSIONS},
    }


VERSIONS = ("python", "numpy", "numba", "quatgrad")


# -------------------------------------------------------------------------- what the record says


def read(folder: Path) -> Trials:
    """The trials of a task on record."""
    trials: dict[int, dict[str, list[Level]]] = {}
    with (folder / "seeds.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            level = Level.read(row)
            trials.setdefault(level.trial, {}).setdefault(level.network, []).append(level)
    return [*trials.values()]


@dataclass(frozen=True)
class Difference:
    """The mean over trials of one network's score less another's, +- `half` at 95 %."""

    mean: float
    half: float | None

    def ahead(self, one: str, other: str) -> str:
        """Who is, if the interval says so."""
        if self.half is None or abs(self.mean) <= self.half:
            return "not shown"
        return one if self.mean > 0 else other

    def __str__(self) -> str:
        half = "" if self.half is None else f" ± {100 * self.half:.1f}"
        return f"{100 * self.mean:+.1f}{half}"


def difference(trials: Trials, gaps: Sequence[float], network: str) -> Difference:
    """Of one gap for each trial."""
    return Difference(
        statistics.fmean(gaps), compare.half_width(gaps, [t[network][0] for t in trials])
    )


def dense(trials: Trials, one: str, other: str) -> Difference:
    """Of the networks before pruning."""
    gaps = [t[one][0].accuracy - t[other][0].accuracy for t in trials]
    return difference(trials, gaps, one)


def along(
    trials: Trials, one: str, other: str, size: Callable[[Any], float] = attrgetter("weights_left")
) -> Difference | None:
    """Along the tickets, where both have such sizes; None where they share none, or none is known.

    Of a trial, the mean over log(size) of the difference of scores.
    """
    gaps = []
    for t in trials:
        sizes = [[size(x) for x in t[name]] for name in (one, other)]
        if any(n is None for known in sizes for n in known):
            return None
        low, high = max(map(min, sizes)), min(map(max, sizes))
        if low >= high:
            return None
        a, b = (area(t[name], low, high, size) for name in (one, other))
        gaps.append(a - b)
    return difference(trials, gaps, one)


def matched(trials: Trials, one: str, other: str) -> list[dict[str, Any]]:
    """At each level of `one`, the difference to `other` at its number of weights.

    `other` is interpolated linearly in log(weights); levels that it does not span in every trial
    are left out.
    """
    found: dict[int, list[float]] = {}
    for t in trials:
        pair = {other: t[other], "quaternion": t[one]}
        for weights, theirs, ours in compare.equal_weights(pair, other):
            found.setdefault(weights, []).append(ours - theirs)
    rows = []
    for weights, gaps in found.items():
        if len(gaps) == len(trials):
            d = difference(trials, gaps, one)
            rows.append({"weights": weights, "difference": d.mean, "interval": d.half})
    return rows


COMPARED = ("dense", "at equal weights", "at equal multiply-adds", "at equal bytes")


def line(task: str, trials: Trials, one: str, other: str) -> dict[str, Any]:
    """The row of table.csv for two networks of a task."""
    found: dict[str, Any] = {"task": task, "network": one, "against": other, "seeds": len(trials)}
    means = compare.mean(trials)
    for name, role in ((one, "network"), (other, "against")):
        first, best = means[name][0], sparsest(matching([t[name] for t in trials]))
        found |= {
            f"{role} weights": first.weights_left,
            f"{role} score": first.accuracy,
            f"{role} interval": first.interval,
            f"{role} loss": statistics.fmean(t[name][0].loss for t in trials),
            f"{role} weights of the last level within a point": best.weights_left,
        }
    gaps = (
        dense(trials, one, other),
        along(trials, one, other),
        *(along(trials, one, other, attrgetter(cost)) for cost in COSTS),
    )
    for what, d in zip(COMPARED, gaps, strict=True):
        found[f"difference {what}"] = d and d.mean
        found[f"interval {what}"] = d and d.half
        found[f"ahead {what}"] = d and d.ahead(one, other)
    last = {"weights": None, "difference": None, "interval": None}
    for key, value in (matched(trials, one, other) or [last])[-1].items():
        found[f"fewest {key}"] = value
    return found


def lines(task: str, trials: Trials) -> list[dict[str, Any]]:
    """The rows of a task: the quaternion network against every other."""
    if "quaternion" not in trials[0]:
        return []
    return [line(task, trials, "quaternion", o) for o in ("equal", "real") if o in trials[0]]


def with_partner(task: str, tasks: dict[str, Trials]) -> Trials:
    """The trials of a task; of a variant, with the other networks of what it is a variant of."""
    base = {trial_of(t): t for t in tasks.get(VARIANTS.get(task, ""), [])}
    both = [base[trial_of(t)] | t for t in tasks[task] if trial_of(t) in base]
    return both or tasks[task]


def trial_of(networks: dict[str, list[Level]]) -> int:
    """The number of a trial."""
    return next(iter(networks.values()))[0].trial


# --------------------------------------------------------------------------------------- pictures


def levels(trials: Trials) -> compare.Curves:
    """The mean curves, in the order of pictures."""
    means = compare.mean(trials)
    return {name: means[name] for name in plot.STYLE if name in means}


def draw_task(folder: Path) -> None:
    """accuracy.png of a task."""
    about, curves = json.loads((folder / "record.json").read_text()), levels(read(folder))
    caption = f"{about['setting']}; {seeds(curves)}"
    picture = plot.figure(curves, f"{about['task']}: lottery tickets", about["chance"], caption)
    plot.save(picture, folder / "accuracy.png")


@context("quatgrad.style")
def draw_all(out: Path, tasks: dict[str, Trials]) -> None:
    """scores.png: a panel for each task."""
    shown = [t for t in tasks if VARIANTS.get(t) not in tasks]
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    fig = Figure(figsize=(max(4 * columns, 6), 3 * rows + 0.6))
    grid = fig.subplots(rows, columns, squeeze=False)
    for ax, task in zip(grid.flat, shown, strict=False):
        chance = json.loads((out / task / "record.json").read_text())["chance"]
        variants = [tasks[t] for t, base in VARIANTS.items() if base == task and t in tasks]
        panel(ax, task, tasks[task], variants, chance)
    for ax in grid.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in grid.flat[len(shown) - columns : len(shown)]:
        ax.set_xlabel("weights remaining")
    handles = {x.get_label(): x for ax in grid.flat for x in ax.lines}
    legend_below(fig, handles.values(), "bands: 95 % interval of the mean over seeds", 4)
    plot.save(fig, out / "scores.png")


def panel(ax: Axes, task: str, trials: Trials, variants: Sequence[Trials], chance: float) -> None:
    """Score against weights, fewer to the right."""
    curves = [(levels, plot.STYLE[name]) for name, levels in levels(trials).items()]
    curves += [(compare.mean(v)["quaternion"], VARIANT_STYLE) for v in variants]
    for members, style in curves:
        x, y = ([getattr(m, k) for m in members] for k in ("weights_left", "accuracy"))
        ax.plot(x, y, markersize=4, **style)
        band(ax, x, y, [m.interval for m in members], style["color"])
    low, high = (f(m.accuracy for members, _ in curves for m in members) for f in (min, max))
    if chance > low - NEAR:
        draw_reference(ax, chance, "chance", "left")
        low = min(low, chance)
    margin = 0.06 * (high - low) + 0.005
    ax.set_ylim(max(low - margin, 0), high + margin)
    log_axis(ax, 30, (1, 3), count)
    ax.yaxis.set_major_formatter(Percent())
    ax.tick_params(labelsize=8)
    about = about_task(task)
    set_title(ax, about.title, f"{about.score}, {len(trials)} seed{'s' * (len(trials) > 1)}")


# ------------------------------------------------------------------------------------------ text

INTRODUCTION = """\
# Beyond images

Made by `python experiments/beyond.py` from the numbers in the folders beside this page; each has
the command of its run in `record.json`. Three networks with the same seeds: **real**;
**quaternion**, of the same widths, with a quarter of the weights in its quaternion layers; and
**equal**, a real network so narrow that it has as many weights as the quaternion one. Scores are in
%, on test data, of the last epoch; ± is the 95 % interval of the mean over seeds (Student's t).
Differences are paired by seed, in points; their intervals are not corrected for how many there are.

Each layer is pruned by itself, as in the paper. So where few weights are left, a narrow last layer
can be what fails: on Cora, the equal network tells 7 classes apart by 4 of its 224 last weights,
the wide ones by 15 of 896. That is of width, and not of the algebra: where all weights are ranked
together, on the same Cora, the equal network does not fail, and no lead is left.

![score against weights, all tasks](scores.png)
"""


def percent(row: dict[str, Any], role: str) -> str:
    """ "96.5 ± 0.3 (73,728)": score and weights."""
    half = row[f"{role} interval"]
    text = "" if half is None else f" ± {100 * half:.1f}"
    return f"{100 * row[f'{role} score']:.1f}{text} ({row[f'{role} weights']:,})"


def markdown(head: str, rows: Sequence[Sequence[str]]) -> str:
    """A table, numbers to the right."""
    columns = head.split(" | ")
    marks = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, marks, *rows]) + "\n"


def reached(row: dict[str, Any], task: str) -> list[str]:
    """What others have on a task, and whether our real network has reached it."""
    told = []
    for theirs in about_task(task).published:
        ours, half = row["against score"], row["against interval"] or 0.0
        if theirs.loss:
            number, found = f"loss {theirs.value:g}", row["against loss"] <= theirs.value
            text = f"{number} ({theirs.by}), ours {row['against loss']:.3f}: "
            told.append(text + ("reached" if found else "not reached"))
            continue
        text = f"{100 * theirs.value:.1f} ({theirs.by}): "
        if not theirs.fair:
            told.append(text + "another task, does not compare")
        elif ours >= theirs.value:
            told.append(text + "reached")
        else:
            near = ", within the interval" if ours + half >= theirs.value else ""
            told.append(text + f"not reached, {100 * (theirs.value - ours):.2f} points below{near}")
    return told


def said(row: dict[str, Any], what: str) -> str:
    """ "+1.2 ± 0.4, quaternion"."""
    mean = row[f"difference {what}"]
    if mean is None:
        return "share none"
    return f"{Difference(mean, row[f'interval {what}'])}, {row[f'ahead {what}']}"


def fewest(row: dict[str, Any]) -> str:
    """ "+23.0 ± 5.5 at 787"."""
    if row["fewest weights"] is None:
        return "share none"
    d = Difference(row["fewest difference"], row["fewest interval"])
    return f"{d} at {row['fewest weights']:,}"


def text(table: Sequence[dict[str, Any]]) -> str:
    """README.md."""
    by_task: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table:
        by_task.setdefault(row["task"], {})[row["against"]] = row
    scores, gaps = [], []
    for task, found in by_task.items():
        any_row = next(iter(found.values()))
        title = f"[{about_task(task).title}]({task}/comparison.csv)"
        own = [percent(found[o], "against") if o in found else "" for o in ("real", "equal")]
        theirs = "; ".join(reached(found["real"], task)) if "real" in found else ""
        scores.append(
            [title, str(any_row["seeds"]), own[0], percent(any_row, "network"), own[1], theirs]
        )
        for other, row in found.items():
            last = "weights of the last level within a point"
            gaps.append(
                [
                    f"{title}, against {other}",
                    *(said(row, what) for what in COMPARED),
                    fewest(row),
                    f"{row[f'network {last}']:,} / {row[f'against {last}']:,}",
                ]
            )
    head = "task | seeds | real, dense (weights) | quaternion | equal | published, and our real one"
    differences = (
        "quaternion less the other | dense | tickets, equal weights | equal multiply-adds | "
        "equal bytes | at the fewest equal weights | weights of the sparsest within a point"
    )
    return (
        f"{INTRODUCTION}\n## Before pruning\n\n{markdown(head, scores)}\n## Who is ahead\n\n"
        "Along the tickets a difference is the mean over log(weights), log(multiply-adds) or\n"
        "log(bytes stored), where both networks have such numbers. Who is named is ahead: the\n"
        "interval is without 0.\n"
        f"\n{markdown(differences, gaps)}\nLevel by level: `matched.csv` in each folder. What a "
        "GPT writes before and after pruning: `samples.md`.\n"
    )


# ----------------------------------------------------------------------------------------- command


def on_record(out: Path) -> dict[str, Trials]:
    """All tasks of a folder, in the order of `TASKS`."""
    names = {p.parent.name for p in out.glob("*/seeds.csv")}
    order = [*TASKS, *sorted(names - TASKS.keys())]
    return {name: read(out / name) for name in order if name in names}


def draw(out: Path) -> None:
    """All pictures of a folder."""
    tasks = on_record(out)
    for name in tasks:
        draw_task(out / name)
    if tasks:
        draw_all(out, tasks)


def conclude(out: Path) -> None:
    """table.csv, README.md, matched.csv and the pictures of all tasks on record."""
    tasks = on_record(out)
    if not tasks:
        raise SystemExit(f"{out} has no task on record: name a folder of runs")
    table = []
    for name in tasks:
        trials = with_partner(name, tasks)
        table += lines(name, trials)
        others = [o for o in ("equal", "real") if {o, "quaternion"} <= trials[0].keys()]
        rows = [{"against": o, **r} for o in others for r in matched(trials, "quaternion", o)]
        if rows:
            files.write_csv(out / name / "matched.csv", rows)
    if table:
        files.write_csv(out / "table.csv", table)
    (out / "README.md").write_text(text(table))
    draw(out)
    print(f"{len(tasks)} task{'s' * (len(tasks) > 1)}: {out / 'README.md'}, table.csv, scores.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="beyond.py", description=__doc__, formatter_class=raw)
    p.add_argument("runs", nargs="?", type=Path, metavar="RUNS", help="a folder of runs")
    p.add_argument("--commit", help="what the runs were made with; asked for with RUNS")
    p.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: results/beyond")
    given = p.parse_args(argv)
    if given.runs and not given.commit:
        p.error("give --commit: it goes on record with the numbers of the runs")
    for run in runs_in(given.runs) if given.runs else []:
        try:
            first = run.config.first_run
            if first and first.preset in BEYOND:
                collect(run, given.out, given.commit)
        except RunError as error:
            print(f"left out: {error}")
    conclude(given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
