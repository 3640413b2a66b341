"""Everything a run says, proved again from its files alone; no network is made, nothing trained.

What cannot be proved is named: a picture of another version, an analysis, whatever others left.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.errors import InvariantError, OptionError, QuatgradError, RunError
from quatgrad.lth.experiment import derived
from quatgrad.lth.experiment.experiment import mask_trial, options_on_record
from quatgrad.lth.experiment.options import NETWORKS
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.results.compare import Curves
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.search import ControlOf, Search
from quatgrad.lth.search.start import protocol_of, start_of
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.lth.store.stage import Stage, read_done, read_end, read_record, read_records
from quatgrad.lth.ticket.checks import check_pruning
from quatgrad.lth.ticket.controls import CONTROLS, FROM_ANOTHER_SEED
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.tensor_file import digest

NAME = "config.json is not that of a run of this name"


@dataclass
class Found:
    """How often each thing was found right; lines for what is wrong, in training, and unproved."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def verify(run: Run) -> dict[str, Any]:
    """Check the run: how often each thing was found right, and a line for everything else."""
    run, found = Run(run.path.resolve()), Found()
    _config(run, found)
    searches = [] if run.of_search else run.path.glob("trial*/*/")
    folders = sorted({link.parent for link in run.links}.union(searches))
    for folder in folders:
        _links(run, folder, found)
    for stage in sorted({p.resolve() for p in run.links}):
        if stage.is_dir():  # one that is gone is wrong already
            _finished_stage(stage, found)
    for folder in folders:
        _tables(run, folder, found)
    _comparison(run, found)
    found.unseen += _others(run)
    return {
        "run": run.path.name,
        "right": dict(sorted(found.right.items())),
        "wrong": found.wrong,
        "unfinished": found.unfinished,
        "not looked at": found.unseen,
    }


def _config(run: Run, found: Found) -> None:
    """The name of a run of the command follows from its options."""
    try:
        if not run.of_search and not run.path.name.endswith(
            files.content_key(run.config.options)[:8]
        ):
            found.wrong.append(f"{run.path}/{NAME}")
    except RunError as error:
        found.wrong.append(f"{error}: it is not that of a run of this name")


def _links(run: Run, folder: Path, found: Found) -> None:
    """Each level of a search is a link to the stage that follows from the options of the run."""
    where = str(folder.relative_to(run.path))
    numbers = {int(p.name[6:]): p for p in folder.glob("level_*") if p.name[6:].isdecimal()}
    if not numbers:
        return
    planned = []
    try:
        if not run.of_search:  # whose stages are of a network and images that only Python knows
            planned = _planned(run, folder, max(numbers))
    except (RunError, OptionError) as error:
        found.unseen.append(f"whether the stages of {where} are those of these options: {error}")
    for number in range(max(numbers) + 1):
        path = numbers.get(number, files.level_path(folder, number))
        name, level = path.resolve().name, f"{where}/{path.name}"
        if number not in numbers:
            found.wrong.append(f"{level} is missing")
        elif not path.is_symlink():
            found.wrong.append(f"{level} is no link to a stage")
        elif not path.is_dir():
            found.wrong.append(f"{level} leads to the stage {name}, which is not there")
        elif planned and name != planned[number]:
            found.wrong.append(f"{level} leads to {name}; {planned[number]} is that of the options")
        elif not _follows(path, folder):
            found.wrong.append(f"{level} leads to {name}, which is not made from the levels before")
        else:
            kind = "that the options need" if planned else "that are made from one another"
            found.right[f"links to stages {kind}"] += 1


def _follows(path: Path, folder: Path) -> bool:
    """Is the stage that a link leads to made from the dense one, and that of the level before?"""
    try:
        stage = Stage.load(path.resolve())
    except RunError:
        return True  # what is wrong with it is said of the stage
    before, number = {}, int(path.name[6:])
    if number:
        levels = {"dense": 0, "before": number - 1}
        before = {k: files.level_path(folder, n).resolve().name for k, n in levels.items()}
    own = {k: v for k, v in stage.parents.items() if k != "masks"}
    return (stage.level, own) == (number, before)


@dataclass(frozen=True)
class _Images:
    """A dataset that is nothing but its fingerprint."""

    data: str

    def fingerprint(self) -> str:
        """As it is on record."""
        return self.data


def _planned(run: Run, folder: Path, levels: int) -> list[str]:
    """The names of the stages of a search, from the options on record alone."""
    options = options_on_record(run)
    trial, name, *rest = folder.relative_to(run.path).parts
    network, _, kind = name.partition("-")
    if network not in NETWORKS or not trial[5:].isdecimal():
        raise RunError("they have no network and trial of that name")

    def search(number: int) -> Any:
        model: Any = None  # neither network nor images are needed for a plan
        images: Any = _Images(str(run.config.options["data"]))
        plan, seed = replace(options.protocol, levels=levels), options.run.seed + number
        args = model, images, options.recipe, folder, plan, seed
        own = options.run.own_seeds
        return Search(*args, what=options.what(network), stages=folder, seeds=own)

    own = search(int(trial[5:]))
    if kind:
        late = kind in FROM_ANOTHER_SEED
        source = search(mask_trial(int(trial[5:]))) if late else own
        own = replace(own, control=ControlOf(source, name=kind))
    own = own.first_pass if rest else own
    return [stage.name for stage in own.plan(options.run.precision)]


def _finished_stage(folder: Path, found: Found) -> None:
    """A stage, if it is finished."""
    try:
        if files.is_final(folder):
            _stage(folder, found.right)
            names = {p.name for p in folder.iterdir()} - read_done(folder).keys()
            foreign = {n for n in names if not n.startswith((".", "epoch_"))}
            found.unseen += [f"{folder.name}/{n}" for n in sorted(foreign - {files.DONE})]
        else:
            found.unfinished.append(folder.name)
    except QuatgradError as error:
        found.wrong.append(f"{folder.name}: {error}")
    except (KeyError, TypeError, ValueError) as error:
        found.wrong.append(f"{folder.name}: something is missing or of another kind: {error!r}")


def _in_training(links: list[Path]) -> bool:
    return not all(files.is_final(p) for p in links)


def _tables(run: Run, folder: Path, found: Found) -> None:
    """The tables of a search say what its records say."""
    where = str(folder.relative_to(run.path))
    partial = _in_training([p for p in run.links if p.parent == folder])
    _compare(found, where, lambda: derived.check_levels(folder, read_records(folder), partial))


def _comparison(run: Run, found: Found) -> None:
    """comparison.csv and the pictures say what the records say."""
    curves: Curves = {}

    def compared() -> set[str]:
        nonlocal curves
        curves, unseen = derived.check_comparison(run, _in_training(run.links))
        return unseen

    if files.exists(run.path / "comparison.csv"):
        _compare(found, "comparison.csv", compared)
    pictures = [k for k in ("png", "svg") if files.exists(run.path / f"accuracy.{k}")]
    undrawn = derived.undrawn(run, curves) if curves else [f"accuracy.{k}" for k in pictures]
    if right := len(pictures) - len(undrawn):
        found.right["pictures that are drawn of the records"] += right
    found.unseen += [
        f"{n}, which this version draws otherwise: `plot` draws it anew" for n in undrawn
    ]


def _compare(found: Found, where: str, check: Callable[[], set[str]]) -> None:
    """Count a comparison, or say what differs; or what kept it from being made."""
    try:
        unseen = check()
        found.right["tables that say what the records say"] += 1
        found.unseen += [f"{where}: {what}" for what in sorted(unseen)]
    except derived.TableError as error:
        found.wrong.append(str(error))
    except RunError as error:
        found.unseen.append(f"{where}: {error}")


def _others(run: Run) -> list[str]:
    """What else lies in the directory of a run, folder by folder."""
    searched = {link.parent for link in run.links}
    others: list[str] = []
    for folder, inner, names in os.walk(run.path):
        path, known = Path(folder), set[str]()
        if "stage.json" in names:  # a search may have its own stages inside
            inner.clear()
            continue
        if path == run.path:
            known |= {"config.json", "comparison.csv", "accuracy.png", "accuracy.svg"}
        if path in searched:
            known |= {"levels.csv", "ended.json"}
        inner[:] = [name for name in inner if not name.startswith((".", "level_"))]
        if count := len([n for n in names if n not in known and not n.startswith((".", "level_"))]):
            where = "" if path == run.path else f" in {path.relative_to(run.path)}"
            others.append(f"{count} other file{'s' * (count > 1)}{where}")
    return others


def _stage(folder: Path, right: Counter[str]) -> None:
    """Raise for what is wrong with one stage; count what is right."""
    stage = Stage.load(folder)
    right["keys that follow from content and parents"] += 1
    checksums = read_done(folder)
    for name in sorted({*checksums, "stage.json", "record.json", "checks.json", "end.npz"}):
        files.read_final(folder / name, checksums)
        right["files with the checksum they were finished with"] += 1
    record, end = read_record(folder), read_end(folder)
    if record.level != stage.level:
        raise RunError(f"record.json is of level {record.level}")
    if record.made_from != stage.made_from():
        raise RunError("its parents ended otherwise when it was made")
    found = (end.digest(), digest(end.state), end.weights_left, end.weights_total)
    if found != (record.end, record.trained, record.weights_left, record.weights_total):
        raise RunError("end.npz is not what record.json was written of")
    right["records that agree with what was trained"] += 1
    _zeros(end)
    right["networks whose pruned weights are 0"] += 1
    _masks(stage, record, end.masks, right)
    _start(stage, record, end.masks, right)


def _zeros(end: Ticket) -> None:
    """What is pruned is 0 in the trained state."""
    for name, mask in end.masks.items():
        if np.any(end.state[name][~mask]):
            raise InvariantError(f"{name}: a pruned entry has a value that is not 0")


def _masks(stage: Stage, record: Record, masks: Masks, right: Counter[str]) -> None:
    """Masks of a dense level are full, of a pruned one follow the rule, others equal their source.

    Those of a control that shuffles lie elsewhere; as many are left of each component tensor.
    """
    if not stage.parents:
        if not all(m.all() for m in masks.values()):
            raise InvariantError("a weight of the dense network is masked")
    elif "masks" in stage.parents:
        source = read_end(stage.parent("masks"))
        if record.weights_left != source.weights_left:
            raise InvariantError("it has not as many weights as the masks that it took")
        components = read_record(stage.parent("dense")).components or {}
        if not _taken(stage, masks, source.masks, components):
            raise InvariantError("its masks are not those that it took")
    else:
        components = read_record(stage.parent("dense")).components or {}
        protocol, level = protocol_of(stage), stage.level
        old, times = protocol.prunings(read_end(stage.parent("before")).masks, level)
        check_pruning(old, masks, components, protocol.rule, times)
    right["masks that only shrink, by the rule's count"] += 1


def _taken(stage: Stage, masks: Masks, source: Masks, components: Mapping[str, int]) -> bool:
    """Are these the masks of the source, or, of a control that shuffles, as many of each kind?

    A control of the user's may change them.
    """
    control = stage.parameters.get("control")
    if control in ("shuffled", "shuffled-whole"):
        whole = control == "shuffled-whole"
        counts = (
            tuple(_counts(m, components.get(name, 1), whole) for m in (mask, source[name]))
            for name, mask in masks.items()
        )
        return all(np.array_equal(here, there) for here, there in counts)
    return (stage.kind != "level" and control not in CONTROLS) or digest(masks) == digest(source)


def _counts(mask: np.ndarray, components: int, whole: bool) -> np.ndarray:
    """How many are alive of each component tensor; or how many columns have each pattern."""
    rows = mask.reshape(components, -1)
    return np.bincount(2 ** np.arange(components) @ rows) if whole else rows.sum(axis=1)


def _start(stage: Stage, record: Record, masks: Masks, right: Counter[str]) -> None:
    """The ticket on record is mask x rewind state, of the states on record.

    The start of a control is not: its other weights are nowhere on record.
    """
    if stage.kind == "control":
        return
    if start_of(stage, masks).digest() != record.ticket:
        raise InvariantError("it did not start from mask x rewind state")
    right["starts that are mask x rewind state, bit for bit"] += 1


def text(found: dict[str, Any]) -> str:
    """What was found, as lines."""
    lines = [f"  {count:5} {what}" for what, count in found["right"].items()]
    lines += [f"  WRONG  {line}" for line in found["wrong"]]
    lines += [f"  not finished: {name}" for name in found["unfinished"]]
    lines += [f"  not looked at: {what}" for what in found["not looked at"]]
    end = "all of it as it says"
    if found["unfinished"] or found["not looked at"]:
        end = "what was looked at is as it says"
    end = f"{len(found['wrong'])} wrong" if found["wrong"] else end
    end = end if found["right"] or found["wrong"] else "there is nothing to prove"
    return "\n".join([f"{found['run']}: {end}", *lines])
