"""The analysis of a run: what its tickets look like, share and compute, as numbers and pictures.

    analyse("runs/digits-resnet8-1a2b3c4d")

reads the levels of every trial and network, and writes analysis.json and pictures beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quatgrad.errors import OptionError, RunError
from quatgrad.lth.analysis import mask_stats, plots
from quatgrad.lth.analysis.connectivity import Line
from quatgrad.lth.analysis.overlap import Overlap, expanded, overlap
from quatgrad.lth.prune.flow import connected
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.results.curve import area, matching, sparsest
from quatgrad.lth.results.plot import save
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.lth.store.stage import read_end
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import Module

#: A network and the shape (H, W, C) of its images: whose paths tell which weights compute anything.
Network = tuple[Module, tuple[int, int, int]]
Levels = list[tuple[Record, Masks]]  # one for each finished level


def read(run: Run) -> list[dict[str, Levels]]:
    """For each trial of a run, the levels of each network and control by name."""
    trials = [
        {
            name: [
                (record, read_end(files.level_path(run.search_path(number, name), level)).masks)
                for level, record in enumerate(records)
            ]
            for name, records in sorted(trial.items())
        }
        for number, trial in run.trials.items()
    ]
    if not trials:
        raise RunError(f"{run.path} has no finished level to analyse; run it first")
    return trials


def analyse(
    run: str | Path | Run,
    networks: Mapping[str, Network] | None = None,
    tolerance: float = 0.01,
    lines: Mapping[str, Line] | None = None,
) -> dict[str, Any]:
    """Numbers and pictures of a run, also written to its folder analysis/.

    With `networks` by name ("real", "quaternion"), the weights alive that compute nothing are
    counted as well. `tolerance` is how far below the dense accuracy a level may be and match it.
    `lines` between trained networks, by what they are called, go into numbers and pictures.

        levels    of each network, of its first trial: `describe`
        warnings  of layers that collapsed: `collapses`
        overlaps  of trials, and of real and quaternion tickets, at each level: `overlaps`
        curves    of each network: area, and the sparsest level that matches
        lines     those given, each with its barrier
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    trials = read(run)
    names = dict.fromkeys(name for runs in trials for name in runs)
    first = {name: next(runs[name] for runs in trials if name in runs) for name in names}
    described = {
        name: [
            describe(record.level, masks, (networks or {}).get(name)) for record, masks in levels
        ]
        for name, levels in first.items()
    }
    found = {
        "levels": described,
        "warnings": collapses(described),
        "overlaps": overlaps(trials),
        "curves": curves(trials, tolerance),
        "lines": {name: asdict(x) | {"barrier": x.barrier} for name, x in (lines or {}).items()},
    }
    folder = run.path / "analysis"
    files.prepare_directory(folder)
    files.write_json(folder / "analysis.json", found)
    about = run.about if files.exists(run.path / "config.json") else run.path.name
    drawn = {"lines": plots.line(lines, about)} if lines else {}
    for name, figure in (pictures(found, trials, about) | drawn).items():
        save(figure, folder / f"{name}.png")
        save(figure, folder / f"{name}.svg")
    return found


def _connected(network: Network, masks: Masks) -> Masks | None:
    """The weights alive on a path; None for layers through which paths are not followed."""
    try:
        return connected(*network, masks)
    except OptionError:
        return None


def describe(level: int, masks: Masks, network: Network | None = None) -> dict[str, Any]:
    """One ticket in numbers.

    effective     weights alive on a path from a pixel to a class; None without the network, and for
                  layers that have none, such as recurrent ones
    cut           no such path is left: the network is a constant
    empty         weights of which nothing is left
    densities     of the component tensors of each weight
    components    alive of the quaternion weights: how many are real parts, i, j, k
    quaternions   how many have 0 ... 4 components alive, found and by chance
    togetherness  of their components: `mask_stats.co_survival`
    """
    ticket = Ticket(masks, {})
    alive = _connected(network, masks) if network else None
    effective = Ticket(alive, {}).weights_left if alive else None
    return {
        "level": level,
        "weights_left": ticket.weights_left,
        "density": ticket.density,
        "effective": effective,
        "cut": None if effective is None else effective == 0,
        "empty": mask_stats.empty(masks),
        "densities": mask_stats.densities(masks),
        "components": mask_stats.components(masks),
        "quaternions": mask_stats.incomplete(masks),
        "togetherness": mask_stats.co_survival(masks),
    }


def collapses(levels_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A warning for each network that collapsed: its first level with an empty weight, or a cut."""
    lines = []
    for name, levels in levels_of.items():
        for level in levels:
            if level["cut"] or level["empty"]:
                empty, more = ", ".join(level["empty"][:3]), len(level["empty"]) - 3
                empty += f" and {more} more" if more > 0 else ""
                what = "no path leads from input to output"
                what = what if level["cut"] else f"nothing is left of {empty}"
                lines.append(f"{name}, level {level['level']}: {what}")
                break
    return lines


def overlaps(trials: Sequence[Mapping[str, Levels]]) -> dict[str, list[dict[str, Any]]]:
    """Overlaps of tickets, level by level, as means over pairs.

    name                  of that network's tickets in two trials, that is with two seeds
    "real and quaternion" of the two in one trial, the quaternion one as its real block matrix:
                          of the weights that have one shape there
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys(name for runs in trials for name in runs):
        members = [runs[name] for runs in trials if name in runs]
        pairs = [
            [overlap(a, b) for (_, a), (_, b) in zip(one, other, strict=False)]
            for one, other in combinations(members, 2)
        ]
        if pairs:
            found[name] = _means(pairs)
    both = [runs for runs in trials if {"real", "quaternion"} <= runs.keys()]
    if both:
        found["real and quaternion"] = _means([_across(runs) for runs in both])
    return found


def _across(runs: Mapping[str, Levels]) -> list[Overlap]:
    """Real against quaternion at each level, where the expanded shapes agree."""
    found = []
    for (_, real), (_, quaternion) in zip(runs["real"], runs["quaternion"], strict=False):
        blocks = expanded(quaternion)
        names = [n for n, m in real.items() if n in blocks and blocks[n].shape == m.shape]
        if not names:
            return []
        found.append(overlap({n: real[n] for n in names}, {n: blocks[n] for n in names}))
    return found


def _means(pairs: Sequence[Sequence[Overlap]]) -> list[dict[str, Any]]:
    rows = []
    for level, members in enumerate(zip(*pairs, strict=False)):
        row: dict[str, Any] = {"level": level, "pairs": len(members)}
        for key in ("jaccard", "corrected", "deviations"):
            values = [v for o in members if (v := getattr(o, key)) is not None]
            row[key] = sum(values) / len(values) if values else None
        rows.append(row)
    return rows


def curves(trials: Sequence[Mapping[str, Levels]], tolerance: float) -> dict[str, Any]:
    """Area under accuracy over log(weights), and the matching levels, of each network.

    Areas are means over trials, between the limits of the network's own curve (`limits`): those of
    two networks compare where the limits agree.
    """
    found = {}
    for name in dict.fromkeys(name for runs in trials for name in runs):
        members = [[r for r, _ in runs[name]] for runs in trials if name in runs]
        low = max(min(r.weights_left for r in records) for records in members)
        high = min(records[0].weights_left for records in members)
        matches = matching(members, tolerance)
        areas = [area(records, low, high) for records in members] if low < high else []
        found[name] = {
            "limits": [low, high],
            "area": sum(areas) / len(areas) if areas else None,
            "tolerance": tolerance,
            "matching": [asdict(m) for m in matches],
            "sparsest": asdict(sparsest(matches)),
        }
    return found


def pictures(
    found: Mapping[str, Any], trials: Sequence[Mapping[str, Levels]], about: str = ""
) -> dict[str, Figure]:
    """Every picture that the numbers allow, by name; `about` says what was run."""
    count = len(trials)
    first = f"{about}; " + (f"first of {count} seeds" if count > 1 else "1 seed")
    shown = {
        f"densities-{n}": plots.densities(n, levels, first)
        for n, levels in found["levels"].items()
        if "-" not in n
    }
    shown |= {
        f"quaternions-{n}": plots.quaternions(n, levels, first)
        for n, levels in found["levels"].items()
        if any(level["togetherness"] is not None for level in levels)
    }
    if any(level["effective"] is not None for ls in found["levels"].values() for level in ls):
        shown["effective"] = plots.effective(found["levels"], first)
    if any(row["corrected"] is not None for rows in found["overlaps"].values() for row in rows):
        shown["overlaps"] = plots.overlaps(
            found["overlaps"], found["levels"], f"{about}; means over pairs of tickets"
        )
    accuracies = {
        n: [[r for r, _ in runs[n]] for runs in trials if n in runs] for n in found["levels"]
    }
    seeds = f"{count} seeds, band: paired 95 % interval of the mean" if count > 1 else "1 seed"
    shown["matching"] = plots.matching(found["curves"], accuracies, f"{about}; {seeds}")
    return shown
