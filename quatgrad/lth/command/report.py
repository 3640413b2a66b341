"""What the command tells of a run's analysis: networks and images are made from its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quatgrad.backend import set_backend, set_precision
from quatgrad.data import Dataset, num_batches
from quatgrad.errors import OptionError, RunError
from quatgrad.lth.analysis.analysis import analyse
from quatgrad.lth.analysis.connectivity import Line, stability
from quatgrad.lth.experiment.experiment import create, load, options_of, run_path
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.start import protocol_of, start_of
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Stage, read_record
from quatgrad.nn import Module
from quatgrad.option_fields import replaced
from quatgrad.train import Epoch


def report(
    run: Run, tolerance: float = 0.01, connectivity: Sequence[int] = (), **where: Any
) -> dict[str, Any]:
    """`analyse` of a run on record; `where`: a data_dir and a backend that are not the run's.

    For each level of `connectivity` and each network of the first trial, its ticket is trained
    twice, in two orders of the images: `stability`. Raises `OptionError` for a level that is not
    finished, `RunError` where the images are not those of the run.
    """
    if not tolerance >= 0:
        raise OptionError(f"`tolerance` is a difference of accuracies, at least 0; got {tolerance}")
    options = replaced(options_of(run), **where)
    set_backend(options.run.backend)
    set_precision(options.run.precision)
    names = list(run.records(0))
    seen = {network: load(options, network) for network in {n.partition("-")[0] for n in names}}
    for dataset in seen.values():
        if run_path(options, dataset).name != run.path.resolve().name:
            raise RunError(
                f"the images that were found are not those that {run.path} was trained "
                "on: say where they are with `data_dir`"
            )
    networks = {}
    for name in names:
        kind = name.partition("-")[0]
        dataset = seen[kind]
        networks[name] = (create(options, kind, dataset, options.run.seed), dataset.input_shape)
    lines = {
        f"{name}, level {level}": two_orders(
            options, run.search_path(0, name), level, networks[name][0], seen[name]
        )
        for level in connectivity
        for name in names
        if "-" not in name
    }
    return analyse(run, networks, tolerance, lines)


def two_orders(
    options: Options, directory: Path, level: int, model: Module, dataset: Dataset
) -> Line:
    """The line between two trainings of the ticket of a level in the directory of its search."""
    path = files.level_path(directory, level)
    if level < 0 or not files.is_final(path):
        raise OptionError(
            f"`connectivity` {level}: {directory} has no finished level {level}; "
            "quatgrad-lth show lists those there are"
        )
    stage, recipe, history = Stage.load(path.resolve()), options.recipe, list[Epoch]()
    ticket = start_of(stage, stage.end().masks)
    if level:
        protocol = protocol_of(stage)
        batches = num_batches(len(dataset.train), recipe.batch_size)
        recipe = protocol.recipe(recipe, level, batches)
        history = read_record(stage.parent("dense")).epochs[: protocol.rewind_epoch]
    return stability(model, ticket, dataset, recipe, history=history)


# ------------------------------------------------------------------------------- for people

LEGEND = """\
Of the first trial's tickets. on a path: the share of weights left that lie on a path from a pixel
to a class; overlap: what the tickets of two trials share beyond chance, 1 if equal; whole, dead:
quaternions with 4 and 0 components left, and by chance; together: 1 by chance, 4 if whole."""


def text(directory: Path, found: Mapping[str, Any]) -> str:
    """The analysis in short: a table for each network, what holds of its curve, and warnings."""
    parts = [
        _table(name, levels, found["overlaps"].get(name, ()))
        for name, levels in found["levels"].items()
    ]
    parts.append(LEGEND)
    parts.append("\n".join([*_curves(found["curves"]), *_across(found["overlaps"])]))
    if found["lines"]:
        lines = [f"  {name}: {_barrier(line)}" for name, line in found["lines"].items()]
        head = "Error on the line between two trainings in two orders of the images:"
        parts.append("\n".join([head, *lines]))
    warnings = [f"WARNING: layer collapse: {line}" for line in found["warnings"]]
    parts.append("\n".join(warnings) or "No layer collapsed.")
    parts.append(f"Pictures and all numbers: {directory / 'analysis'}")
    return "\n\n".join(parts)


def _table(
    name: str, levels: Sequence[Mapping[str, Any]], overlaps: Sequence[Mapping[str, Any]]
) -> str:
    """Densities, paths, components of quaternions against chance, overlap beyond chance."""
    quaternions = sum(levels[0]["components"]) > 0
    lines = [f"{name}:" if "-" not in name else f"{name}, a control:"]
    lines.append("level  % left on a path  overlap" + (COMPONENTS if quaternions else ""))
    for i, level in enumerate(levels):
        shared = overlaps[i]["corrected"] if i < len(overlaps) else None
        line = f"{level['level']:5d} {100 * level['density']:7.2f} "
        line += f"{_share(level['effective'], level['weights_left']):>9} {_number(shared):>8}"
        lines.append(line + (_components(level) if quaternions else ""))
    return "\n".join(lines)


COMPONENTS = " |   1, i, j, k in %   |  whole chance |   dead chance | together"


def _components(level: Mapping[str, Any]) -> str:
    """The quaternions of one level: their components, how many are whole and dead, co-survival."""
    total = sum(level["components"]) or 1
    line = " | " + " ".join(f"{100 * n / total:4.1f}" for n in level["components"])
    for k in (4, 0):
        counts = [level["quaternions"][which] for which in ("found", "chance")]
        line += " | " + " ".join(f"{_share(c[k], sum(c)):>6}" for c in counts)
    return f"{line} | {_number(level['togetherness']):>8}"


def _curves(curves: Mapping[str, Any]) -> list[str]:
    """Area and sparsest matching level of each network."""
    tolerance, width = next(iter(curves.values()))["tolerance"], max(map(len, curves))
    lines = [
        f"Sparsest level no more than {100 * tolerance:.3g} points below the dense network, "
        "and mean accuracy over log(weights):"
    ]
    for name, curve in curves.items():
        best, (low, high) = curve["sparsest"], curve["limits"]
        gap = f"{100 * best['difference']:+.1f}"
        gap += f" +- {100 * best['interval']:.1f}" if best["interval"] is not None else ""
        line = f"  {name:{width}}  level {best['level']}, {best['weights_left']:,} weights ({gap})"
        if curve["area"] is not None:
            line += f"; {curve['area']:.1%} from {high:,} to {low:,}"
        lines.append(line)
    return lines


def _across(overlaps: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rows = overlaps.get("real and quaternion", ())
    known = [r for r in rows if r["corrected"] is not None]
    found = ", ".join(f"{r['corrected']:.2f}" for r in known)
    head = "Overlap of real and quaternion tickets beyond chance, level"
    return [f"{head} {known[0]['level']} on: {found}"] if known else []


def _barrier(line: Mapping[str, Any]) -> str:
    return (
        f"barrier {line['barrier']:.1%} (ends {line['errors'][0]:.1%} and "
        f"{line['errors'][-1]:.1%}, highest {max(line['errors']):.1%})"
    )


def _share(part: float | None, whole: float) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
