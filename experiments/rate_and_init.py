"""Accuracy and loss against the learning rate, for each initialiser, real beside quaternion.

    for s in 0 1 2; do quatgrad-lth tune experiments/tune/rate-digits.toml --seed $s; done
    python experiments/rate_and_init.py runs/tune/rate-digits-* --to DIR

The studies are one grid with several seeds. Written are rates.csv, rates.png and shifts.json: by
how many octaves of the rate two curves of the training loss are apart, at losses from where both
begin to the middle of their fall, where the rate is still too small. Each seed gives one number.
And accuracies.json: how far apart two curves of the accuracy are, in points, paired by seed: at
each rate, and where each has its best mean.
"""

import argparse
import csv
import itertools
import json
import math
import statistics
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import ScalarFormatter

from quatgrad.lth.results.compare import t_interval
from quatgrad.lth.results.drawing import Percent, band, legend_below
from quatgrad.lth.results.plot import save, style
from quatgrad.lth.store import files

NETWORKS = ("real", "quaternion")
#: What is compared: the curve of (network, init) with that of the other.
PAIRS = [(("quaternion", init), ("real", init)) for init in ("he", "polar-he", "xavier")] + [
    ((network, "xavier"), (network, "he")) for network in NETWORKS
]


def read(study):
    """(network, init, rate) -> (validation accuracy, training loss) of one seed."""
    found = {}
    for row in csv.DictReader((study / "trials.csv").open(newline="")):
        loss = math.inf
        if row.get("run"):  # the others diverged
            levels = study.parent.parent / row["run"] / "trial0" / row["network"] / "levels.csv"
            loss = float(next(csv.DictReader(levels.open(newline="")))["train_loss"])
        key = row["network"], row["init"], float(row["lr"])
        found[key] = float(row["validation_accuracy"]), loss
    return found


def curve(seed, network, init):
    """log2 of the rates, and the training losses, while these fall."""
    points = sorted(
        (rate, loss) for (n, i, rate), (_, loss) in seed.items() if (n, i) == (network, init)
    )
    rates, losses = np.log2([p[0] for p in points]), np.array([p[1] for p in points])
    end = 1 + next(
        (k for k in range(len(losses) - 1) if losses[k + 1] >= losses[k]), len(losses) - 1
    )
    return rates[:end], losses[:end]


def shift(seed, one, other):
    """Octaves by which the rate of `one` must be higher for the losses of `other`: their mean."""
    (x, a), (y, b) = curve(seed, *one), curve(seed, *other)
    top, bottom = min(a[0], b[0]), max(a[-1], b[-1])
    if top <= bottom:
        return None
    losses = np.exp(np.linspace(np.log(top), (np.log(top) + np.log(bottom)) / 2, 9))
    return float(np.mean(np.interp(-losses, -a, x) - np.interp(-losses, -b, y)))


def mean(values):
    """Mean and half the 95 % interval; no interval of one value."""
    n = len(values)
    return statistics.fmean(values), t_interval(statistics.stdev(values), n) if n > 1 else None


def table(seeds):
    """Rows of rates.csv."""
    rows = []
    for network, init, rate in sorted(seeds[0]):
        accuracy, half = mean([seed[network, init, rate][0] for seed in seeds])
        losses = [seed[network, init, rate][1] for seed in seeds]
        finite = all(map(math.isfinite, losses))
        rows.append({"network": network, "init": init, "rate": rate, "seeds": len(seeds),
                     "validation_accuracy": accuracy, "interval": half,
                     "train_loss": statistics.fmean(losses) if finite else ""})  # fmt: skip
    return rows


def accuracies(seeds):
    """By how many points the accuracy of one (network, init) is above that of the other."""
    rates = sorted({rate for _, _, rate in seeds[0]})
    best = {
        of: max(rates, key=lambda rate, of=of: sum(seed[*of, rate][0] for seed in seeds))
        for of in dict.fromkeys(itertools.chain(*PAIRS))
    }

    def points(one, other, rate=None):
        a, b = ((*of, rate or best[of]) for of in (one, other))
        middle, half = mean([100 * (seed[a][0] - seed[b][0]) for seed in seeds])
        return {"points": middle, "interval": half}

    return {
        f"{' '.join(one)} less {' '.join(other)}": {
            "best rates": [best[one], best[other]],
            "at the best": points(one, other),
            "at each rate": {f"{rate:.6g}": points(one, other, rate) for rate in rates},
        }
        for one, other in PAIRS
    }


@context("quatgrad.style")
def figure(rows, title, about):
    """A panel for each initialiser, accuracy above and loss below."""
    inits = list(dict.fromkeys(row["init"] for row in rows))
    fig = Figure(figsize=(3.2 * len(inits), 5.4), layout="constrained")
    axes = fig.subplots(2, len(inits), sharex=True, sharey="row", squeeze=False)
    for column, init in zip(axes.T, inits, strict=True):
        for network in NETWORKS:
            own = [r for r in rows if (r["network"], r["init"]) == (network, init)]
            x, y = [r["rate"] for r in own], np.array([r["validation_accuracy"] for r in own])
            half = np.array([r["interval"] or 0 for r in own])
            column[0].plot(x, y, **style(network) | {"markersize": 3})
            band(column[0], x, y, half, style(network)["color"])
            own = [r for r in own if r["train_loss"] != ""]
            losses = [r["train_loss"] for r in own]
            column[1].plot([r["rate"] for r in own], losses, **style(network) | {"markersize": 3})
        column[0].set_title(init)
        column[1].set_xlabel("learning rate")
        column[1].set_xscale("log", base=2)
        column[1].set_yscale("log")
    accuracies = [r["validation_accuracy"] for r in rows]
    low, high = statistics.median(accuracies) - 0.12, max(accuracies) + 0.05
    axes[0, 0].set_ylim(max(low, 0), min(high, 1))
    axes[0, 0].set_ylabel("validation accuracy")
    axes[0, 0].yaxis.set_major_formatter(Percent())
    axes[1, 0].set_ylabel("training loss")
    least, most = axes[1, 0].get_ylim()
    if most < 10 * least:  # no 4.2 x 10^0
        axes[1, 0].yaxis.set_minor_formatter(ScalarFormatter())
    legend_below(fig, axes[0, 0].lines)
    fig.suptitle(f"{title}\n{textwrap.fill(about, 140)}", fontsize=9)
    return fig


def main():
    """Read the studies, write the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("studies", nargs="+", type=Path, help="directories, one for each seed")
    p.add_argument("--to", type=Path, required=True, help="where the results are written")
    given = p.parse_args()
    seeds = [read(study) for study in given.studies]
    given.to.mkdir(parents=True, exist_ok=True)
    rows = table(seeds)
    files.write_csv(given.to / "rates.csv", rows)
    study = json.loads((given.studies[0] / "study.json").read_text())
    about = f"{study['training images']:,} training images, {study['epochs of a level']} epochs"
    band_is = "bands: 95 % interval of the mean"
    count = f"{len(seeds)} seeds; {band_is}" if len(seeds) > 1 else "1 seed"
    title = f"{study['name']}, {count}"
    save(figure(rows, title, about), given.to / "rates.png")
    shifts = {}
    for one, other in PAIRS:
        found = [s for seed in seeds if (s := shift(seed, one, other)) is not None]
        middle, half = mean(found)
        text = f"{' '.join(one)} against {' '.join(other)}"
        shifts[text] = {"octaves": middle, "interval": half, "seeds": found}
        print(f"{text}: {middle:+.2f} octaves" + (f" +- {half:.2f}" if half is not None else ""))
    files.write_json(given.to / "shifts.json", shifts)
    files.write_json(given.to / "accuracies.json", accuracies(seeds))


if __name__ == "__main__":
    main()
