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
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from beyond_draw import draw
from beyond_record import COSTS, VARIANTS, Level, Trials, about_task, collect, on_record, trial_of

from quatgrad.errors import RunError
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.results import compare
from quatgrad.lth.results.curve import area, matching, sparsest
from quatgrad.lth.store import files
from quatgrad.paper.experiments import BEYOND

OUT = Path(__file__).parent / "results" / "beyond"


# --------------------------------------------------------------------------------- who is ahead


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


def gaps(trials: Trials, one: str, other: str) -> dict[str, Difference | None]:
    """What is COMPARED of two networks."""
    along_tickets = (along(trials, one, other, attrgetter(s)) for s in ("weights_left", *COSTS))
    return dict(zip(COMPARED, (dense(trials, one, other), *along_tickets), strict=True))


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
    for what, d in gaps(trials, one, other).items():
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
    """The trials of a task; of a variant, with the other networks of what it is a variant of.

    Its "equal" network is left out where the variant has many more weights, or fewer.
    """
    base = {trial_of(t): t for t in tasks.get(VARIANTS.get(task, ""), [])}
    both = [base[trial_of(t)] | t for t in tasks[task] if trial_of(t) in base]
    return [_of_one_size(t) for t in both] or tasks[task]


def _of_one_size(trial: dict[str, list[Level]]) -> dict[str, list[Level]]:
    """A trial without an "equal" network that has not as many weights as the quaternion one."""
    sizes = {name: levels[0].weights_left for name, levels in trial.items()}
    unequal = abs(sizes.get("equal", 0) / sizes["quaternion"] - 1) > 0.1
    return {name: levels for name, levels in trial.items() if not (unequal and name == "equal")}


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
