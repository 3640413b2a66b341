"""The verbs that use what a run has trained: predict, evaluate, save."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from quatgrad import data, sparse
from quatgrad.backend import BACKENDS, notice, set_backend
from quatgrad.data.dataset import Dataset, Split, as_it_is
from quatgrad.data.own import split_off
from quatgrad.data.own_files import to_judge
from quatgrad.data.pictures import read_picture
from quatgrad.errors import DataError, OptionError, QuatgradError
from quatgrad.lth.experiment import runs
from quatgrad.lth.experiment.trained import describe, trained
from quatgrad.lth.results import plot
from quatgrad.lth.results.confusion import Confusion, confusion
from quatgrad.network import Network, finds_boxes, load, writes_text
from quatgrad.sparse.predict import image_shape
from quatgrad.task import CLASSES

SUFFIX, TICKET = ".safetensors", ".ticket"
DRAWN: dict[str, Any] = {"length": 200, "temperature": 1.0, "seed": 0}  # of a text
SHOWN = 3  # classes of an image in the text
SURE = 0.3  # the least score of a box that is told
FAR = 12.0  # deviations from the mean of the training images that a pixel hardly ever has


def add_network(p: argparse.ArgumentParser) -> None:
    """The arguments that name a network: a file, or a level of a run."""
    of_run = f"a run, as for show; or a network in a {SUFFIX} or {TICKET} file"
    level = "this level (default: the last that is at most a point below the dense network)"
    p.add_argument("run", metavar="RUN", help=of_run)
    p.add_argument("--network", metavar="NAME", help="real, quaternion (default), ...")
    p.add_argument("--level", type=int, metavar="L", help=level)
    p.add_argument("--trial", type=int, metavar="T", help="of this trial (default: 0)")
    p.add_argument("--model", metavar="FILE.py:NAME", help="what makes it, where it is your own")
    p.add_argument("--backend", choices=BACKENDS, help="what computes (default: numba)")


def add_input(p: argparse.ArgumentParser) -> None:
    """What is predicted: of pictures their classes, of a text what comes after it."""
    picture, drawn = "a picture: PNG, JPEG, ...", "they are drawn from softmax(logits / T)"
    p.add_argument("images", metavar="IMAGE", nargs="*", default=[], help=picture)
    p.add_argument("--text", help="of a GPT: a text that it continues")
    p.add_argument("--length", type=int, metavar="N", help="by so many characters (default: 200)")
    p.add_argument("--temperature", type=float, metavar="T", help=f"{drawn} (default: 1)")
    p.add_argument("--seed", type=int, metavar="S", help="of these draws (default: 0)")


def is_of_text(net: Network, given: dict[str, Any]) -> bool:
    """Is a text to be continued? `OptionError` where the arguments do not fit the network."""
    asked = [name for name in ("text", *DRAWN) if name in given]
    if writes_text(net.model):
        if "text" not in given or given["images"]:
            raise OptionError('a GPT continues a text: give --text "...", and no pictures')
        return True
    if asked:
        raise OptionError(f"--{asked[0]} is for a GPT, and this network sees pictures: name some")
    if not given["images"]:
        raise OptionError("name the pictures whose classes are to be told")
    return False


def write(net: Network, given: dict[str, Any]) -> str:
    """The text of the arguments, continued."""
    return net.write(given["text"], **(DRAWN | {k: given[k] for k in DRAWN if k in given}))


def network_of(given: dict[str, Any]) -> Network:
    """The network that the arguments name."""
    set_backend(given.get("backend", "numba"))
    which = {name: given[name] for name in ("network", "level", "trial") if name in given}
    build = given.get("model")
    path = Path(given["run"])
    if path.suffix in (SUFFIX, TICKET):
        if which:
            raise OptionError(f"{path} holds one network: leave out `{next(iter(which))}`")
        return load(path, build) if path.suffix == SUFFIX else sparse.load(path, build)
    return trained(runs.find(given["run"], given["out"]), **which, build=build)


def title(net: Network, given: dict[str, Any]) -> str:
    """What the network is, in a line."""
    with suppress(LookupError, TypeError, ValueError, ArithmeticError):  # a file may say anything
        return describe(net.said)
    return str(given["run"])


def predict(net: Network, paths: list[str]) -> list[dict[str, Any]]:
    """For each picture its class and the probability of every one, most probable first.

    Of a detector the boxes that it finds: class, score, corners in pixels of the picture.
    """
    read = [_image(net, Path(path)) for path in paths]
    images = np.stack([pixels for pixels, _ in read])  # (N, H, W, C)
    for path, image in zip(paths, images, strict=True):
        _notice_units(net, path, image)
    if finds_boxes(net.model):
        H, W = images.shape[1:3]
        return [
            {"image": path, "boxes": _boxes(net, found, (h / H, w / W))}
            for path, found, (_, (h, w)) in zip(paths, net.find(images), read, strict=True)
        ]
    probabilities = net.predict(images)
    K = probabilities.shape[1]
    names = net.classes or tuple(map(str, range(K)))
    if len(set(names)) != K:
        raise DataError(f"the network tells {K} classes apart, and has {len(set(names))} names")
    told = []
    for path, p in zip(paths, probabilities, strict=True):
        order = np.argsort(-p, kind="stable")
        known = {names[k]: float(p[k]) for k in order}
        told.append({"image": path, "class": next(iter(known)), "probabilities": known})
    return told


def _boxes(net: Network, found: np.ndarray, was: tuple[float, float]) -> list[dict[str, Any]]:
    """The boxes of a picture with a score of at least `SURE`, the best first.

    It was so many times as high and as wide before it was resized.
    """
    y, x = was
    sure = found[found[:, 1] >= SURE] * (1, 1, x, y, x, y)
    return [
        {
            "class": net.classes[int(kind)],
            "score": float(score),
            "box": [round(float(x), 1) for x in box],
        }
        for kind, score, *box in sure
    ]


def predict_text(found: list[dict[str, Any]]) -> str:
    """A line for each picture, or for each box in it."""
    return "\n".join(map(_told, found))


def _told(of: dict[str, Any]) -> str:
    if "boxes" not in of:
        best = [*of["probabilities"].items()][:SHOWN]
        return f"{of['image']}: " + ", ".join(f"{name} {p:.1%}" for name, p in best)
    lines = [f"{of['image']}: {len(of['boxes'])} found (x0 y0 x1 y1 in pixels)"]
    for box in of["boxes"]:
        corners = " ".join(f"{x:5.1f}" for x in box["box"])
        lines.append(f"  {box['class']:12} {box['score']:6.1%}  {corners}")
    return "\n".join(lines)


def _image(net: Network, path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture as the network's images are, and its (h, w); another size is said, and resized."""
    if path.suffix == ".npy":
        pixels = _array(net, path)
        return pixels, (pixels.shape[0], pixels.shape[1])
    H, W, C = _image_shape(net)
    found = read_picture(path, C)
    if found.transparent:
        notice(f"{path}: what is transparent lies over white")
    h, w = found.pixels.shape[:2]
    if (h, w) != (H, W):
        notice(f"{path}: resized from {h} x {w} to {H} x {W} pixels (height x width)")
        found = read_picture(path, C, (H, W))
    return found.pixels, (h, w)


def _notice_units(net: Network, path: str, image: np.ndarray) -> None:
    """Say so if an image cannot be in the units of the training images, as 0 to 255 for 0 to 16."""
    if net.encoding is None:
        return
    mean, std = np.asarray(net.encoding.mean), np.asarray(net.encoding.std)
    if (abs(image - mean) > FAR * std).any():
        notice(
            f"{path}: pixels up to {image.max():g}; those of the training images are "
            f"{mean.max():.3g} on average, give or take {std.max():.2g}: has it the same units?"
        )


def _array(net: Network, path: Path) -> np.ndarray:
    """An image in an .npy file: as the pixels of a picture, or without an encoding as encoded."""
    try:
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except (
        ValueError,
        TypeError,
        EOFError,
        SyntaxError,
        TokenError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise DataError(f"{path} holds no array ({str(error)[:100]}): write it again") from error
    shape = net.encoding.image_shape if net.encoding else image_shape(net)
    if found.dtype.kind not in "buif" or not np.isfinite(found).all():
        raise DataError(f"{path} holds {found.dtype}: an image is finite real numbers")
    if found.shape not in (shape, shape[:2] if shape[2:] == (1,) else shape):
        raise DataError(f"{path} has an array of shape {found.shape}; the network takes {shape}")
    return found.reshape(shape).astype(found.dtype if net.encoding else np.float32)


def evaluate(net: Network, dataset: str, data_dir: str | None) -> Confusion:
    """The network on the test images of a dataset, encoded as it was trained.

    Of a path without test images all are judged; of the data that it was trained on, those that it
    was not trained on. Raises `DataError` for the path of its training if something else is there
    now: which of it was trained on, nobody knows.
    """
    shape = _image_shape(net)
    if data.is_like_path(dataset):
        test, classes, what = _judged(net, dataset, None if shape[:2] == (1, 1) else shape[:2])
    else:
        found = data.load(dataset, data_dir)
        test, classes, what = found.test, found.class_names, found.task.what
    if test.images.shape[1:] != shape:
        raise DataError(
            f"the network takes images of {shape} (height, width, channels); "
            f"those of {dataset} are {test.images.shape[1:]}"
        )
    judged = confusion(sparse.faster(net), test.images, test.labels, classes)
    return replace(judged, what=what)


def _judged(
    net: Network, path: str, size: tuple[int, int] | None
) -> tuple[Split, tuple[str, ...], str]:
    """Images of a path, the names of their classes, and what they are called.

    Pictures become of this size; rows of a table have none.
    """
    found, classes, apart = to_judge(path, size)
    own = None if apart else _own(net, path, found, classes)
    if not apart and own is None and _same_path(path, net.said.get("dataset")):
        raise DataError(
            f"{path} does not hold what the network was trained on, or not in the same parts, and "
            "it may have seen any of it: put what is to judge it into another folder"
        )
    return own or found, classes, CLASSES.what


def _own(net: Network, path: str, found: Split, classes: tuple[str, ...]) -> Split | None:
    """The test images of what the network was trained on, if these are all of it."""
    said = net.said
    share, seed = said.get("validation"), said.get("seed", 0)
    try:
        is_test = split_off(found.labels, said.get("test_share"))
        train, test = (found.take(np.flatnonzero(rows)) for rows in (~is_test, is_test))
        whole = Dataset(path, train, test, classes, as_it_is)
        known = whole.subset(said["subset"], seed) if said.get("subset") else whole
        known = known.split_validation(share, seed) if share else known
    except (QuatgradError, TypeError, ValueError):  # a file may say anything
        return None
    if "data" not in said:  # earlier versions did not say
        return whole.test if _same_path(path, said.get("dataset")) else None
    return whole.test if known.fingerprint() == said["data"] else None


def _image_shape(net: Network) -> tuple[int, int, int]:
    if net.encoding is None:
        raise OptionError("this network does not say how images are encoded: use it from Python")
    return net.encoding.image_shape


def _same_path(a: str, b: Any) -> bool:
    return isinstance(b, str) and Path(a).resolve() == Path(b).resolve()


def draw(found: Confusion, net: Network, path: str) -> None:
    """The picture of the confusion matrix."""
    said = net.said
    known = {"run", "network", "level"} <= said.keys()
    name = f"{said['run']}\n{said['network']}, level {said['level']}: " if known else ""
    plot.save(found.figure(name), Path(path))


def save(net: Network, file: str) -> Path:
    """The network in a file of its own."""
    path = Path(file)
    if path.suffix != SUFFIX:
        raise OptionError(f"a network is saved as a {SUFFIX} file; got {file!r}")
    net.save(path)
    return path
