"""Every network, real and quaternion, its size beside the published one: quatgrad-models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quatgrad import models
from quatgrad.costs import costs
from quatgrad.errors import OptionError
from quatgrad.lth.command.arguments import Parser
from quatgrad.lth.command.run_command import run_command
from quatgrad.paper.published import DATASETS, model_name, rows

ALGEBRAS = ("real", "quaternion")

#: A row of the table, in the order of its JSON.
KEYS = (
    *("dataset", "model", "algebra", "classes", "image", "weights", "parameters", "published"),
    *("multiply_adds", "activation_bytes", "bytes"),
)

#: A line of the table as text, and of its head.
ROW = (
    "{dataset:10} {model:13} {algebra:10} {image:>8} {classes:>7} {weights:>10} {parameters:>10} "
    "{published:>9} {multiply_adds:>14} {activation_bytes:>8} {bytes:>9}"
)

DESCRIPTION = """\
The networks of both papers, each on its data set, beside the published number of parameters; then
the others, on CIFAR-100. Costs are those of one image, and of float32. A quaternion network does
as many multiply-adds as its real twin, and keeps as much for backward, with a quarter of its
weights."""


@dataclass(frozen=True)
class Network:
    """A network on a data set; `published`: its number of parameters, as a paper prints it."""

    dataset: str
    model: str
    algebra: str
    classes: int
    image: tuple[int, int, int]
    published: str = ""
    real_head: bool = False


def published_networks() -> list[Network]:
    """The twenty ResNets of the paper; the predecessor's LeNets and conv nets."""
    networks = []
    for r in rows("param_counts"):
        classes = int(r["num_classes"])
        dataset, size = ("cifar100", 32) if classes == 100 else ("imagenet64", 64)
        image, published = (size, size, 4), f"{r['published_millions']}M"
        model = model_name(r["model"])
        networks.append(Network(dataset, model, r["algebra"], classes, image, published))
    for r in rows("predecessor_models"):
        dataset, model = DATASETS[r["dataset"]], model_name(r["model"])
        for algebra in ALGEBRAS:
            colour = (32, 32, 3 if algebra == "real" else 4)
            image, classes = (28, 28, 1) if dataset == "mnist" else colour, int(r["outputs"])
            # Table 1 has the counts for ten classes.
            published = r[f"paper_table1_all_{algebra[:4]}"] if classes == 10 else ""
            about = dataset, model, algebra, classes, image, published
            networks.append(Network(*about, real_head=True))
    return networks


def networks(
    names: Sequence[str] = (), classes: int | None = None, image_size: int | None = None
) -> list[Network]:
    """The networks with these names, or all.

    With `classes` or `image_size` they are for images of 4 channels; the other one is as for
    CIFAR-100. Raises `OptionError` for an unknown name or a size below 1.
    """
    for name in names:
        models.check_name(name)
    if image_size is not None and image_size < 1:
        raise OptionError(f"`image_size` is at least 1 pixel; got {image_size}")
    known = published_networks() if classes is None and image_size is None else []
    size = 32 if image_size is None else image_size
    dataset, classes = "cifar100" if known else "", 100 if classes is None else classes
    others = [
        Network(dataset, name, algebra, classes, (size, size, 4))
        for name in models.MODELS
        if name not in {n.model for n in known}
        for algebra in ALGEBRAS
    ]
    return [n for n in known + others if not names or n.model in names]


def measure(network: Network) -> dict[str, Any]:
    """A row of the table: the network, built, and its `Costs`."""
    H, W, C = network.image
    how: dict[str, Any] = {"image_size": (H, W), "real_head": network.real_head, "init": "xavier"}
    net = models.create(network.model, network.algebra, network.classes, C, **how)
    found = vars(network) | vars(costs(net, network.image))
    return {key: found[key] for key in KEYS}


def text(table: Iterator[dict[str, Any]]) -> Iterator[str]:
    """The table as lines, each as soon as its network has been measured."""
    names = {"dataset": "data", "multiply_adds": "10^6 mult-adds", "activation_bytes": "kB kept"}
    yield ROW.format(**{key: key for key in KEYS} | names | {"bytes": "MB stored"})
    for r in table:
        costs = {
            "multiply_adds": f"{r['multiply_adds'] / 1e6:.3f}",
            "activation_bytes": f"{r['activation_bytes'] / 1e3:.1f}",
            "bytes": f"{r['bytes'] / 1e6:.3f}",
        }
        yield ROW.format(**r | costs | {"image": "x".join(map(str, r["image"]))})


def parser() -> Parser:
    """The options."""
    p = Parser(prog="quatgrad-models", description=DESCRIPTION)
    names = f"only these: {', '.join(models.MODELS)}"
    p.add_argument("--model", nargs="+", default=(), metavar="NAME", help=names)
    p.add_argument("--classes", type=int, metavar="N", help="for N classes, not as published")
    p.add_argument("--image-size", type=int, metavar="N", help="for images of N x N x 4")
    p.add_argument("--json", action="store_true", help="all numbers as JSON, bytes as bytes")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit code of `run_command`."""
    return run_command("quatgrad-models", command, argv)


def command(arguments: list[str]) -> int:
    """Print the table."""
    given = parser().parse_args(arguments)
    table = map(measure, networks(given.model, given.classes, given.image_size))
    lines = [json.dumps(list(table), indent=1)] if given.json else text(table)
    for line in lines:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
