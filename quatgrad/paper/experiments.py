"""Every figure and table of both papers by name, and how each is run at three scales.

tiny: a minute on a CPU, with synthetic images and narrow networks; shows that everything works.
small: one or two hours on two CPU cores, with the real images (ImageNet64: several hours); shows
       the shape of the curves.
full: as published. All but MNIST need a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from quatgrad.errors import OptionError, unknown
from quatgrad.lth.experiment.options import Options, resolve
from quatgrad.paper.ours import published_preset
from quatgrad.paper.published import TRIALS

SCALES = ("tiny", "small", "full")

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

#: Training images, for `reproduce.py list`.
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000, "imagenet64": 1_281_167}

#: At small scale: model -> width, training images. Deeper networks cost more for each image.
SMALL = {
    **{"resnet18": (16, 10_000), "resnet34": (16, 5_000), "resnet50": (8, 8_000)},
    **{"resnet101": (8, 5_000), "resnet152": (8, 4_000)},
    **{"conv-2": (32, 5_000), "conv-4": (16, 5_000), "conv-6": (16, 5_000)},
}

#: At tiny scale: how many synthetic images for training and for testing, and of how many classes.
TINY_IMAGES = {
    "mnist": (400, 100),
    "cifar10": (200, 100),
    "cifar100": (200, 100),
    "imagenet64": (80, 40),
}
TINY_CLASSES = 4


@dataclass(frozen=True)
class Experiment:
    """A figure or table: what it shows, and the (dataset, model) of each of its panels."""

    name: str
    shows: str
    panels: tuple[tuple[str, str], ...]


def _experiments() -> dict[str, Experiment]:
    found = []
    for dataset in ("cifar100", "imagenet64"):
        panels = tuple((dataset, model) for model in RESNETS)
        found.append(Experiment(dataset, "main figure: the five ResNets", panels))
        found += [Experiment("-".join(p), "one of its panels", (p,)) for p in panels]
    older = {
        ("mnist", "lenet-300-100"): "4a",
        ("mnist", "lenet-12"): "5b",
        ("cifar10", "conv-2"): "4b",
        ("cifar10", "conv-4"): "4c",
        ("cifar10", "conv-6"): "4d",
        ("cifar100", "conv-4"): "4e",
        ("cifar100", "conv-6"): "4f",
    }
    found.append(Experiment("predecessor", "figures 4 and 5b of the predecessor", tuple(older)))
    for p, figure in older.items():
        found.append(Experiment("-".join(p), f"figure {figure} of the predecessor", (p,)))
    return {e.name: e for e in found}


EXPERIMENTS = _experiments()

#: In the papers, but not to be run, and why.
OTHERS = {
    "parameters": "both tables of parameters: reproduce.py table",
    "conv-2-early-stopping": "figure 6 of the predecessor: its code was not published; "
    "its points are judged by reproduce.py verify",
}

#: Presets of tasks that are in no paper of ours: what is learned, by which network.
BEYOND = {
    "shakespeare": "the next character of a text: gpt",
    "sst2": "good and bad reviews of films: transformer",
    "trec": "what a question asks for: transformer",
    "spoken-digits": "digits of speakers apart: gru",
    "natops": "gestures, joints in space: fcn",
    "cora": "papers of a citation graph: gcn",
    "bccd": "blood cells and where they are: detector",
    "broad": "the attitude of a sensor in motion: attitude",
}


def experiment(name: str) -> Experiment:
    """An experiment by name; `OptionError` for an unknown one."""
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    if name in OTHERS:
        raise OptionError(f"{name} is not run: {OTHERS[name]}")
    raise OptionError(unknown("experiment", name, EXPERIMENTS))


def options(dataset: str, model: str, scale: str, given: dict[str, Any]) -> Options:
    """The options of quatgrad-lth for a panel at a scale; `given` replaces some of them."""
    plan = {"tiny": _tiny, "small": _small, "full": _full}[scale](dataset, model)
    preset = {"preset": published_preset(dataset, model), "dataset": dataset, "model": model}
    return resolve(preset | plan | given)


def cost(dataset: str, model: str, scale: str) -> str:
    """What a panel takes: "2 networks x 21 levels x 100 epochs x 50,000 images: 210,000,000"."""
    o = options(dataset, model, scale, {})
    factors = {
        "trials": o.run.trials,
        "networks": len(o.model.networks),
        "passes": 2 if o.protocol.mask_source == "finetuned" else 1,
        "levels": o.protocol.levels + 1,
        "epochs": o.recipe.epochs,
        "images": TINY_IMAGES[dataset][0] if scale == "tiny" else o.data.subset or IMAGES[dataset],
    }
    product = " x ".join(f"{n:,} {name}" for name, n in factors.items() if n > 1)
    width = f"width {o.model.width}, " if o.model.width else ""
    return f"{width}{product}: {math.prod(factors.values()):,}"


def listing() -> list[str]:
    """Every name with what it shows, and what it takes at each scale."""
    lines = ["Training images that pass through a network, at each scale:"]
    for e in EXPERIMENTS.values():
        lines.append(f"{e.name:24}{e.shows}")
        if len(e.panels) == 1:
            lines += [f"    {scale:6}{cost(*e.panels[0], scale)}" for scale in SCALES]
    lines += [f"{name:24}{why}" for name, why in OTHERS.items()]
    lines.append("Beyond images, of no paper: quatgrad-lth --algebra all --preset")
    return lines + [f"    {name:20}{what}" for name, what in BEYOND.items()]


def _full(dataset: str, model: str) -> dict[str, Any]:
    return {} if model in RESNETS else {"trials": TRIALS}


def _small(dataset: str, model: str) -> dict[str, Any]:
    if dataset == "mnist":
        return {"trials": 3 if model == "lenet-12" else 1}
    width, images = SMALL[model]
    plan: dict[str, Any] = {"width": width, "subset": images}
    if model not in RESNETS:
        return plan | {"levels": 10, "epochs": 6}
    # A short training wants a learning rate that ends at 0. Fewer, larger prunings span the axis.
    plan["preset"] = f"corrected-{dataset}"
    if dataset == "imagenet64":  # its 50,000 test images cost more than the training
        short = {"width": 8, "levels": 4, "keep": 0.25, "epochs": 1, "schedule": "cosine"}
        return plan | short
    return plan | {"levels": 8, "keep": 0.5, "epochs": 5, "warmup": 1.0}


def _tiny(dataset: str, model: str) -> dict[str, Any]:
    width = {} if model.startswith("lenet") else {"width": 8}
    levels = 1 if dataset == "imagenet64" else 2
    return width | {"levels": levels, "epochs": 1, "batch_size": 20, "stop_accuracy": 0.0}
