"""What the papers published, as curves. The CSVs beside this file say where each value is from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from quatgrad.lth.results.compare import t_interval
from quatgrad.paper.curves import Curve, Curves, Point, by_key

Row = dict[str, str]

#: Accuracy of a guess, in %.
CHANCE = {"digits": 10.0, "mnist": 10.0, "cifar10": 10.0, "cifar100": 1.0, "imagenet64": 0.1}

#: Trials of the predecessor, whose figures show mean and standard deviation.
TRIALS = 5

#: A dataset in the CSVs -> its name in quatgrad.
DATASETS = {
    "MNIST": "mnist",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "ImageNet64x64": "imagenet64",
}


def rows(name: str) -> list[Row]:
    """The rows of published/`name`.csv."""
    text = files("quatgrad.paper").joinpath("published", f"{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def published() -> Curves:
    """Every published curve: 20 of ResNets, one run each; 16 of the predecessor, five trials."""
    resnets = [r for name in ("cifar100", "imagenet64") for r in rows(f"{name}_results")]
    return by_key(_grouped(resnets, _resnet_point) + _grouped(predecessor_rows(), _older_point))


def predecessor_rows() -> list[Row]:
    """The predecessor's points; its early-stopping figure is a model of its own."""
    early = {"model": "conv_2_early_stopping"}
    return [r | early if "early" in r["figure"] else r for r in rows("predecessor_results")]


@cache
def tensors(model: str, algebra: str) -> int | None:
    """Prunable weight tensors (four for a quaternion layer) of a ResNet; None for others."""
    for r in rows("param_counts"):
        if (model_name(r["model"]), r["algebra"]) == (model, algebra):
            return int(r["n_prunable_tensors"])
    return None


@cache
def published_millions(dataset: str, model: str, algebra: str) -> str | None:
    """Parameters as the paper prints them, "11.68", in millions; None where it does not."""
    classes = {"cifar100": "100", "imagenet64": "1000"}.get(dataset)
    for r in rows("param_counts"):
        if (model_name(r["model"]), r["algebra"], r["num_classes"]) == (model, algebra, classes):
            return r["published_millions"]
    return None


@cache
def digitisation_error(dataset: str, model: str) -> float:
    """± points by which a value read off a raster figure may be wrong; 0 for exact values."""
    for r in predecessor_rows():
        if (DATASETS[r["dataset"]], model_name(r["model"])) == (dataset, model):
            return float(r["y_uncertainty_points"])
    return 0.0


def _grouped(table: list[Row], point: Callable[[Row, Row], Point]) -> list[Curve]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for r in table:
        key = DATASETS[r["dataset"]], model_name(r["model"]), r["algebra"]
        groups.setdefault(key, []).append(r)
    curves = []
    for key, group in groups.items():
        points = tuple(point(r, group[0]) for r in group)
        curves.append(Curve(*key, "published", group[0].get("figure", ""), points))
    return curves


def model_name(name: str) -> str:
    """A model of the CSVs by its name in quatgrad: "lenet-300-100" for lenet_300_100."""
    return name.lower().replace("_", "-")


def _resnet_point(r: Row, dense: Row) -> Point:
    return Point(
        level=int(r["prune_iteration"]),
        fraction=float(r["weights_remaining_fraction"]),
        x=float(r["x_percent_of_real_weights"]),
        accuracy=float(r["top1_accuracy"]),
        low=None,
        high=None,
        trials=1,
        weights=int(r["weights_remaining_count_exact"]),
        parameters=int(r["params_remaining_exact_incl_bn_bias"]),
    )


def _older_point(r: Row, dense: Row) -> Point:
    mean, half = float(r["accuracy_mean_of_5"]), t_interval(float(r["approx_std"]), TRIALS)
    total, own = int(r["params_remaining_exact"]), float(r["weights_remaining_fraction_own"])
    return Point(
        level=int(r["prune_level"]),
        fraction=own,
        x=float(r["x_percent_as_plotted"]),
        accuracy=mean,
        low=mean - half,
        high=mean + half,
        trials=TRIALS,
        weights=total - _biases(dense),
        parameters=total,
    )


def _biases(dense: Row) -> int:
    model = dense["model"].removesuffix("_early_stopping")
    for r in rows("predecessor_models"):
        if (r["model"], r["dataset"]) == (model, dense["dataset"]):
            return int(r[f"{dense['algebra'][:4]}_biases"])
    raise KeyError(model)
