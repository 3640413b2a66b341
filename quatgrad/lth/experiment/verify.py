"""Everything a run says, proved again from its files alone; no network is made, nothing trained."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.errors import InvariantError, QuatgradError, RunError
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.start import protocol_of, start_of
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Record
from quatgrad.lth.store.stage import Stage, read_done, read_end, read_record
from quatgrad.lth.ticket.checks import check_pruning
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.tensor_file import digest


def verify(run: Run) -> dict[str, Any]:
    """Check the run: how often each thing was found right, and a line for everything wrong."""
    right: Counter[str] = Counter()
    wrong: list[str] = []
    try:
        if not run.of_search and not run.path.name.endswith(
            files.content_key(run.config.options)[:8]
        ):
            wrong.append(f"{run.path / 'config.json'} is not that of a run of this name")
    except RunError as error:
        wrong.append(f"{error}: it is not that of a run of this name")
    unfinished = []
    for folder in sorted({p.resolve() for p in run.links}):
        if not files.is_final(folder):
            unfinished.append(folder.name)
            continue
        try:
            _stage(folder, right)
        except QuatgradError as error:
            wrong.append(f"{folder.name}: {error}")
        except (KeyError, TypeError, ValueError) as error:
            wrong.append(f"{folder.name}: something is missing or of another kind: {error!r}")
    return {
        "run": run.path.name,
        "right": dict(sorted(right.items())),
        "wrong": wrong,
        "unfinished": unfinished,
    }


def _stage(folder: Path, right: Counter[str]) -> None:
    """Raise for what is wrong with one stage; count what is right."""
    stage = Stage.load(folder)
    right["keys that follow from content and parents"] += 1
    checksums = read_done(folder)
    for name in sorted({*checksums, "stage.json", "record.json", "checks.json", "end.npz"}):
        files.read_final(folder / name, checksums)
        right["files with the checksum they were finished with"] += 1
    record, end = read_record(folder), read_end(folder)
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

    Those of a control may lie elsewhere; as many are left.
    """
    if not stage.parents:
        if not all(m.all() for m in masks.values()):
            raise InvariantError("a weight of the dense network is masked")
    elif "masks" in stage.parents:
        source = read_end(stage.parent("masks"))
        if record.weights_left != source.weights_left:
            raise InvariantError("it has not as many weights as the masks that it took")
        if stage.kind == "level" and digest(masks) != digest(source.masks):
            raise InvariantError("its masks are not those that it took")
    else:
        components = read_record(stage.parent("dense")).components or {}
        protocol, level = protocol_of(stage), stage.level
        old, times = protocol.prunings(read_end(stage.parent("before")).masks, level)
        check_pruning(old, masks, components, protocol.rule, times)
    right["masks that only shrink, by the rule's count"] += 1


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
    end = f"{len(found['wrong'])} wrong" if found["wrong"] else "all of it as it says"
    return "\n".join([f"{found['run']}: {end}", *lines])
