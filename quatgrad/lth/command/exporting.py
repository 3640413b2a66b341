"""The verb export: a network of a run as a file for a device, and what its few bits cost."""

from __future__ import annotations

import os
import re
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad import data, sparse
from quatgrad.backend import notice
from quatgrad.boxes import mean_average_precision
from quatgrad.data.encode import ENCODERS
from quatgrad.errors import OptionError, QuatgradError, RunError, line
from quatgrad.lth.command.arguments import Parser, with_flags
from quatgrad.lth.command.prediction import SUFFIX, TICKET, title
from quatgrad.lth.experiment import runs
from quatgrad.lth.experiment.experiment import load, options_of
from quatgrad.lth.results.confusion import confusion
from quatgrad.network import Network, finds_boxes
from quatgrad.option_fields import replaced
from quatgrad.sparse.predict import Planned, image_shape
from quatgrad.sparse.rounding import WEIGHTS
from quatgrad.task import Classes, Detection, Task

#: Forms -> what they are called, and the ending of the file.
FORMS = {"ticket": TICKET, "c": ".c", "onnx": ".onnx"}
#: So many points may be lost without a warning.
POINTS = 0.5


def add_arguments(p: Parser) -> None:
    """What export takes beside a network."""
    forms = "a ticket, for quatgrad-predict (default); C99, for small devices; ONNX, for others"
    p.add_argument("--to", choices=tuple(FORMS), default="ticket", help=forms)
    bits = "how weights are written (default: float32)"
    p.add_argument("--weights", choices=WEIGHTS, default="float32", help=bits)
    p.add_argument("--file", metavar="FILE", help="what to write (default: named as the run, here)")
    p.add_argument("--data-dir", metavar="DIR", help="where the data lie now")


def export(net: Network, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Write the file, and say its size and what it costs: JSON, text."""
    image_shape(net)  # raises for a network of texts or graphs, before anything is written
    path, weights = _path(net, given), given["weights"]
    judge = _judge(net, given)
    lines = [title(net, given)]
    found: dict[str, Any] = {"network": dict(net.said), "to": given["to"], "weights": weights}
    small, sizes, text = {"ticket": _ticket, "c": _c, "onnx": _onnx}[given["to"]](
        net, path, weights, judge, lines[0]
    )
    lines.append(text)
    if judge is not None:
        scores = judge.accuracy(net), judge.accuracy(small)
        cost = Cost(judge.name, len(judge.labels), *scores, judge.score, judge.dataset.task.what)
        found["accuracy"] = asdict(cost)
        lines.append(cost.text(weights))
        if cost.points > POINTS:
            notice(f"{weights} loses {cost.points:.2f} points: more bits would lose less")
    return found | sizes, "\n".join(lines)


# ----------------------------------------------------------------------------- three forms


def _ticket(net: Network, path: Path, weights: str, *_: Any) -> tuple[Network, dict, str]:
    written = sparse.without_dead(net)
    sparse.save(path, written, weights)
    size = path.stat().st_size
    count, left = (sum(int(mask.sum()) for mask in n.masks.values()) for n in (net, written))
    dead = f" but {count - left:,} that compute nothing" if left < count else ""
    text = f"{path}: {size:,} bytes, all included; {count:,} weights in {weights}{dead}"
    small = sparse.load(path, deepcopy(net.model))
    return small, {"files": [str(path)], "bytes": size, "weights_left": count}, text


def _c(
    net: Network, path: Path, weights: str, judge: Judge | None, about: str
) -> tuple[Network, dict, str]:
    plan = sparse.prepare(net.model, image_shape(net), net.masks)
    images = None if judge is None else judge.encoded(slice(2))
    made = sparse.export_c(plan, path, weights, images, "\n".join([about, *_input_of(net)]))
    text = (
        f"{made.source}, {made.header}: {made.flash:,} bytes of flash, and 1 to 2 kB of code; "
        f"{made.ram:,} bytes of RAM, beside image, logits and stack"
    )
    small = replace(net, model=Planned(sparse.rounded(plan, weights), net.model))
    files = [str(made.source), str(made.header)]
    return small, {"files": files, "flash": made.flash, "ram": made.ram}, text


def _onnx(
    net: Network, path: Path, weights: str, judge: Judge | None, about: str
) -> tuple[Network, dict, str]:
    plan = sparse.prepare(net.model, image_shape(net), net.masks)
    made = sparse.export_onnx(plan, path, weights, "\n".join([about, *_input_of(net)]))
    size = made.stat().st_size
    text = f"{made}: {size:,} bytes, the zeros too, in {weights}"
    small = replace(net, model=Planned(sparse.rounded(plan, weights), net.model))
    return small, {"files": [str(made)], "bytes": size}, text


def _input_of(net: Network) -> list[str]:
    """What the numbers that come in and go out are."""
    lines = [f"Classes: {', '.join(net.classes)}."] if net.classes else []
    if finds_boxes(net.model):
        lines.append("Gives a map of cells: models/detector.py; quatgrad.boxes.decode reads it.")
    if net.encoding is None:
        return lines
    e, (H, W, C) = net.encoding, net.encoding.image_shape
    mean, std = (", ".join(f"{x:.7g}" for x in numbers) for numbers in (e.mean, e.std))
    said = (ENCODERS[e.encoder].__doc__ or "").splitlines()[0]
    return [
        *lines,
        f"Image: x = (pixel - mean) / std of pixels ({H}, {W}, {C}), mean {mean}, std {std};",
        f"then {e.encoder}, {said}",
    ]


def _path(net: Network, given: dict[str, Any]) -> Path:
    """What is written; its ending says the form."""
    path = _named(net, given)
    if path.resolve() == Path(given["run"]).resolve():
        raise OptionError(f"{path} is the network that is exported: name another file by `file`")
    return path


def _named(net: Network, given: dict[str, Any]) -> Path:
    to, ending = given["to"], FORMS[given["to"]]
    if "file" in given:
        path = Path(given["file"])
        if path.name in ("", "..") or given["file"].endswith(("/", os.sep)) or path.is_dir():
            raise OptionError(f"`file` is a folder: name a file in it; got {given['file']!r}")
        if path.suffix not in ("", ending):
            raise OptionError(f"`file` for {to} ends with {ending}; got {given['file']!r}")
        return path if path.suffix else path.with_name(path.name + ending)
    said = net.said
    name = Path(given["run"]).stem
    if {"run", "network", "level"} <= said.keys():  # of a file: it names no other folder
        name = Path(f"{said['run']}-{said['network']}-level{said['level']}").name
    return Path((re.sub(r"\W", "_", name, flags=re.ASCII) if to == "c" else name) + ending)


# ---------------------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class Cost:
    """The accuracy of a network on held-out data, as it was trained and as it was written."""

    images: str
    count: int
    trained: float
    written: float
    score: str = "right"
    what: str = Task.what

    @property
    def points(self) -> float:
        """What is lost, in points."""
        return 100 * (self.trained - self.written)

    def text(self, weights: str) -> str:
        """A line."""
        line = f"{self.count:,} {self.images} {self.what}: {self.trained:.2%} {self.score}"
        if weights == "float32":
            return line
        less = f"{abs(self.points):.2f} points {'less' if self.points >= 0 else 'more'}"
        return f"{line} as trained, {self.written:.2%} in {weights}: {less}"


@dataclass(frozen=True)
class Judge:
    """Images that were held out, and how the network sees them; `name`: test or validation."""

    name: str
    dataset: data.Dataset

    @property
    def labels(self) -> np.ndarray:
        """Of each image its class."""
        return self.dataset.eval_split[1].labels

    def encoded(self, part: slice) -> np.ndarray:
        """Some images as the first layer sees them."""
        return self.dataset.encode(self.dataset.eval_split[1].images[part])

    @property
    def score(self) -> str:
        """What is measured."""
        return "mAP" if isinstance(self.dataset.task, Detection) else "right"

    def accuracy(self, net: Network) -> float:
        """The share of the images that a network puts into the right class; mAP of a detector."""
        _, held = self.dataset.eval_split
        images: Any = held.images if net.encoding else self.encoded(slice(None))
        if isinstance(self.dataset.task, Detection):
            boxes = sparse.faster(net).find(images)
            return mean_average_precision(boxes, held.labels, len(net.classes))
        found = confusion(sparse.faster(net), images, held.labels, self.dataset.class_names)
        return found.accuracy


def _judge(net: Network, given: dict[str, Any]) -> Judge | None:
    """The validation images of the run, else its test images; None, said, if there are none."""
    if Path(given["run"]).suffix in (SUFFIX, TICKET):
        return None
    try:
        run = runs.find(given["run"], given["out"])
        where = {"data_dir": given["data_dir"]} if "data_dir" in given else {}
        options = replaced(options_of(run), **where)
        dataset = load(options, net.said["network"].partition("-")[0])
        if dataset.fingerprint() != run.config.options["data"]:
            raise RunError(f"the data that were found are not those of {run.path}")
    except QuatgradError as error:
        why = with_flags(line(error))[:300]
        notice(f"what {given['weights']} costs was not measured: {why}; say where with --data-dir")
        return None
    if not isinstance(dataset.task, Classes | Detection):
        notice(
            f"what {given['weights']} costs was not measured: {dataset.name} has neither classes "
            "nor boxes to be right about; the file is written all the same"
        )
        return None
    return Judge(dataset.eval_split[0], dataset)
