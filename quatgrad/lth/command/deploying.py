"""The verb deploy: what to take to a device."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quatgrad.backend import set_backend
from quatgrad.errors import OptionError
from quatgrad.lth.command.arguments import Parser
from quatgrad.lth.experiment import runs
from quatgrad.lth.experiment.deploy import offers
from quatgrad.lth.results import offers as results
from quatgrad.lth.results import plot
from quatgrad.lth.results.offers import Offer
from quatgrad.lth.results.run import seeds


def add_arguments(p: Parser) -> None:
    """What deploy takes beside its runs."""
    p.add_argument("--kb", type=float, metavar="X", help="at most so many kB: what is best?")
    p.add_argument("--ms", type=float, metavar="X", help="at most so many ms for an image, here")
    p.add_argument("--trial", type=int, metavar="T", help="size and time of this trial (default 0)")
    p.add_argument("--model", metavar="FILE.py:NAME", help="what makes it, where it is your own")
    p.add_argument("--plot", metavar="FILE", help="draw accuracy against both (.png or .svg)")


def deploy(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The levels of runs with what they cost, and what is best within bounds: JSON, text."""
    for name in ("kb", "ms"):
        if not given.get(name, 1) > 0:
            raise OptionError(f"`{name}` is a number above 0; got {given[name]:g}")
    if "plot" in given:
        plot.check_path(Path(given["plot"]))
    set_backend("numba")
    there = [runs.find(run, given["out"]) for run in given["runs"]]
    datasets = {str(run.config.options.get("dataset")): run.path.name for run in there}
    if len(datasets) > 1:
        (a, first), (b, second), *_ = datasets.items()
        raise OptionError(
            f"deploy compares networks for one task: {first} is of {a}, {second} of {b}; give "
            "runs of one dataset"
        )
    found = offers(there, given.get("trial", 0), given.get("model"))
    names = runs.numbered(there) if len(there) > 1 else []
    if "plot" in given:
        about = f"{there[0].setting}; {seeds(there[0].curves, 'bars')}"
        title = "\n".join([*(names or [there[0].path.name]), about])
        plot.save(results.figure(found, title), Path(given["plot"]))
    lines = [*names, *([""] if names else []), results.text(found), "", NOTE]
    told: dict[str, Any] = {"levels": results.plain(found)}
    if "kb" in given or "ms" in given:
        told["best"], line = answer(found, given, [str(run.path) for run in there])
        lines.append(line)
    return told, "\n".join(lines)


NOTE = (
    "kB: the .ticket in float32, and in int8. ms: one image, one thread, here, again and again.\n"
    "Unbeaten: none of these is as accurate and as cheap, and better in one of both."
)


def answer(
    found: Sequence[Offer], given: dict[str, Any], paths: Sequence[str]
) -> tuple[dict[str, Any] | None, str]:
    """What to deploy within the bounds, and how to get it: JSON, a line."""
    bounds = {"kB": given.get("kb"), "ms": given.get("ms")}
    words = " and ".join(f"{x:g} {unit}" for unit, x in bounds.items() if x is not None)
    chosen = results.best(found, *bounds.values())
    if chosen is None:
        least = min(min(o.kilobytes, o.int8_kilobytes) for o in found)
        times = [o.milliseconds for o in found if o.milliseconds is not None]
        fastest = f", the fastest takes {min(times):.3g} ms" if times else ""
        return None, (
            f"With {words}: none of these. The smallest has {least:.1f} kB{fastest}: allow "
            "more, or prune further."
        )
    o, weights = chosen
    size = o.kilobytes if weights == "float32" else o.int8_kilobytes
    run = paths[int(o.run or 1) - 1]
    how = ["--network", o.network, "--level", str(o.level), "--weights", weights, "--to", "ticket"]
    how += ["--trial", str(given["trial"])] if given.get("trial") else []
    how += ["--model", given["model"]] if "model" in given else []
    command = shlex.join(["quatgrad-lth", "export", run, *how])
    takes = "" if o.milliseconds is None else f", {o.milliseconds:.3g} ms"
    more = " What int8 costs, export measures." if weights == "int8" else ""
    line = (
        f"With {words}: {o.name}, level {o.level}, {weights}: {o.accuracy:.2%}, {size:.1f} kB"
        f"{takes}.{more}\n  {command}"
    )
    told = {"run": run, "network": o.network, "level": o.level, "weights": weights}
    return told | {"command": command}, line
