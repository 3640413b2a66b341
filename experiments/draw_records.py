"""Draw pictures of experiments/results anew, from the numbers beside them: nothing is trained.

    python experiments/draw_records.py                    every picture that it knows
    python experiments/draw_records.py tuned deploy       those of these folders

Numbers stay as they are. Not drawn are digits.png, which `make lth` draws, other benchmarks, of
which `bench.py --record` does, and beyond.png of the MNIST networks: its multiply-adds are in no
record.
"""

import argparse
import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import bench_inference
import beyond_draw
import rate_and_init
import tuned_record

from quatgrad import models
from quatgrad.lth.results import offers, plot
from quatgrad.lth.results.compare import LevelMean
from quatgrad.lth.results.offers import Offer
from quatgrad.lth.results.run import seeds
from quatgrad.lth.tune import plots
from quatgrad.lth.tune.tune import StudyRecord
from quatgrad.paper import experiments, figures
from quatgrad.paper.curves import Curve, Point
from quatgrad.paper.published import published

RESULTS = Path(__file__).parent / "results"

#: What the runs of the tables in deploy/ trained on, as their config.json says.
DEPLOYED = {
    "digits": "width 16, 1,437 training images, 12 epochs a level",
    "mnist-lenet-300-100": "width 300, 60,000 training images, 10 epochs a level",
    "mnist-lenet-12": "width 12, 60,000 training images, 10 epochs a level",
    "cifar100-resnet8": "width 16, 10,000 training images, 10 epochs a level",
}

#: Of runs whose comparison.csv is on record: task, accuracy of a guess, setting, trials.
RUNS = {
    "cifar100-resnet18": (
        *("resnet18 on cifar100", 0.01),
        *("width 64, 50,000 training images, 20 epochs a level", 1),
    ),
    "cifar100-resnet8-width16": (
        *("resnet8 on cifar100", 0.01),
        *("width 16, 10,000 training images, 6 epochs a level", 3),
    ),
    "digits-tickets": (
        *("lenet-300-100 on digits", 0.1),
        *("width 60, 1,437 training images, 12 epochs a level", 5),
    ),
}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reproduced(folder: Path) -> None:
    """accuracy.png of a network of the predecessor, beside the published points."""
    curves = curves_of(folder)
    known = [published()[curve.key] for curve in curves]
    plot.save(figures.figure([*known, *curves]), folder / "accuracy.png")


def curves_of(folder: Path) -> list[Curve]:
    """Both networks of comparison.csv; sizes are published, and counts of biases."""
    model = folder.name.removeprefix("mnist-")
    known = [curve for key, curve in published().items() if key[:2] == ("mnist", model)]
    record = json.loads((folder / "record.json").read_text())
    trials = int(re.findall(r"--trials (\d+)", record["command"])[0])
    epochs, width = record["config"]["options"]["epochs"], models.MODELS[model][0]
    images = experiments.IMAGES["mnist"]
    setting = f"width {width}, {images:,} training images, {epochs} epochs a level"
    dense = known[0].dense
    ours = list[Curve]()
    for theirs in known:
        biases = theirs.dense.parameters - theirs.dense.weights
        points = tuple(
            point(row, theirs.algebra, biases, dense.parameters, trials)
            for row in rows(folder / "comparison.csv")
            if row[f"{theirs.algebra}_accuracy"]
        )
        ours.append(Curve(*theirs.key, "ours", "", points, setting=setting))
    return ours


def point(row: dict[str, str], algebra: str, biases: int, whole: int, trials: int) -> Point:
    """A level of comparison.csv; `whole`: parameters of the dense real network."""
    left, accuracy, half = (row[f"{algebra}_{k}"] for k in ("weights_left", "accuracy", "interval"))
    share, mean = float(row[f"{algebra}_percent_left"]) / 100, 100 * float(accuracy)
    width = 100 * float(half) if half else None
    return Point(
        level=int(row["level"]),
        fraction=share,
        x=100 * (int(left) + biases) / whole,
        accuracy=mean,
        low=None if width is None else mean - width,
        high=None if width is None else mean + width,
        trials=trials,
        weights=int(left),
        parameters=int(left) + biases,
    )


def lottery(folder: Path) -> None:
    """accuracy.png of a run, from its comparison.csv."""
    task, chance, setting, trials = RUNS[folder.name]
    table = rows(folder / "comparison.csv")
    names = [head.removesuffix("_accuracy") for head in table[0] if head.endswith("_accuracy")]
    curves = {name: levels(table, name, trials) for name in names}
    caption = f"{setting}; {seeds(curves)}"
    picture = plot.figure(curves, f"{task}: lottery tickets", chance, caption)
    plot.save(picture, folder / "accuracy.png")


def levels(table: list[dict[str, str]], name: str, trials: int) -> list[LevelMean]:
    """The levels of one network; `trials` of each."""
    own = [row for row in table if row[f"{name}_accuracy"]]
    whole = int(own[0][f"{name}_weights_left"])
    return [
        LevelMean(
            int(row["level"]),
            int(row[f"{name}_weights_left"]),
            whole,
            float(row[f"{name}_accuracy"]),
            float(half) if (half := row.get(f"{name}_interval")) else None,
            trials,
        )
        for row in own
    ]


def deployed(folder: Path) -> None:
    """The pictures of the tables of `quatgrad-lth deploy`."""
    for name, setting in DEPLOYED.items():
        text = (folder / f"{name}.txt").read_text()
        runs = re.findall(r"^\d: .*$", text, re.M)
        seeds = "3 seeds, bars: 95 % interval of the mean" if "+-" in text else "1 seed"
        title = "\n".join([*runs, f"{setting}; {seeds}"])
        plot.save(offers.figure(table(text), title), folder / f"{name}.png")


def table(text: str) -> list[Offer]:
    """The levels in such a table."""
    found = []
    for line in text.splitlines():
        head = re.fullmatch(r"(\d) (\w+)", line)
        if head:
            run, network = head.groups()
        level = re.fullmatch(
            r"\s+(\d+)\s+([\d.]+)%(?: \+-([\d.]+)%)?((?:\s+[\d.,]+)+)( M)?.*", line
        )
        if level:
            number, accuracy, half, costs, millions = level.groups()
            weights, size, small, ms, work = (float(c.replace(",", "")) for c in costs.split())
            found.append(
                Offer(
                    run=run,
                    network=network,
                    level=int(number),
                    accuracy=float(accuracy) / 100,
                    interval=float(half) / 100 if half else None,
                    judged=float(accuracy) / 100,
                    weights=int(weights),
                    multiply_adds=int(work * (10**6 if millions else 1)),
                    kilobytes=size,
                    int8_kilobytes=small,
                    milliseconds=ms,
                )
            )
    return found


def tuned(folder: Path) -> None:
    """The curves over rates, and what so many trials are worth."""
    for study in sorted(folder.glob("rate-*")):
        record = json.loads((study / "record.json").read_text())
        found = [numbers(row) for row in rows(study / "rates.csv")]
        title = f"{study.name}, {found[0]['seeds']:.0f} seeds; bands: 95 % interval of the mean"
        plot.save(rate_and_init.figure(found, title, record["what"]), study / "rates.png")
    for path in sorted(folder.glob("*/study.json")):
        study, told = StudyRecord.read(path), json.loads((path.parent / "result.json").read_text())
        in_order = {network: told[network] for network in study.networks}
        plot.save(plots.best(in_order, study.about), path.parent / "best.png")
        tuned_record.draw(path.parent)


def numbers(row: dict[str, str]) -> dict[str, str | float]:
    """A row of rates.csv as `rate_and_init.table` made it."""
    return {k: v if k in ("network", "init") or not v else float(v) for k, v in row.items()}


def inference(path: Path) -> None:
    """bench-inference.png."""
    record = json.loads(path.with_suffix(".json").read_text())
    bench_inference.draw(record, path.with_suffix(".png"))


DRAWN: dict[str, Callable[[Path], None]] = {
    "bench-inference": inference,
    **dict.fromkeys(RUNS, lottery),
    "mnist-lenet-12": reproduced,
    "mnist-lenet-300-100": reproduced,
    "deploy": deployed,
    "tuned": tuned,
    "beyond": beyond_draw.draw,
}


def main() -> None:
    """Draw what was asked for."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(DRAWN))
    for name in p.parse_args().folders or DRAWN:
        if name not in DRAWN:
            p.error(f"no pictures are drawn for {name}; there are {', '.join(DRAWN)}")
        DRAWN[name](RESULTS / name)


if __name__ == "__main__":
    main()
