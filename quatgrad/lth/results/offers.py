"""What can be deployed: levels of networks by accuracy, size and time, and which nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from quatgrad.lth.results.compare import table
from quatgrad.lth.results.drawing import Percent, legend_below
from quatgrad.lth.results.plot import style

Cost = Literal["kilobytes", "milliseconds"]
COLUMNS = ("level", "accuracy", "weights", "kB", "int8", "ms", "mult.-adds", "unbeaten")

#: So far below the best one reaches the picture: nobody takes what is worse.
POINTS = 20


@dataclass(frozen=True)
class Offer:
    """A level of a network, ready to be exported.

    accuracy, interval   of the test images: mean of the trials, and half its 95 % interval, if any
    judged               what chooses: the same of the validation images, where there are any
    kilobytes            1000 bytes of the .ticket in float32; `int8_kilobytes` in int8
    milliseconds         of one image in one thread by its plan; None where no plan can be made
    """

    run: str
    network: str
    level: int
    accuracy: float
    interval: float | None
    judged: float
    weights: int
    multiply_adds: int
    kilobytes: float
    int8_kilobytes: float
    milliseconds: float | None

    @property
    def name(self) -> str:
        """Which network of which run."""
        return f"{self.run} {self.network}".lstrip()


def is_unbeaten(offer: Offer, offers: Sequence[Offer], cost: Cost) -> bool:
    """Is no other one at least as accurate, and as cheap, and better in one of both?"""
    mine = getattr(offer, cost)
    if mine is None:
        return False
    others = [(o.judged, getattr(o, cost)) for o in offers if getattr(o, cost) is not None]
    return not any(
        a >= offer.judged and c <= mine and (a, c) != (offer.judged, mine) for a, c in others
    )


def plain(offers: Sequence[Offer]) -> list[dict[str, Any]]:
    """As JSON has them."""
    return [
        asdict(o)
        | {
            "unbeaten_in_kilobytes": is_unbeaten(o, offers, "kilobytes"),
            "unbeaten_in_milliseconds": is_unbeaten(o, offers, "milliseconds"),
        }
        for o in offers
    ]


def best(
    offers: Sequence[Offer], kilobytes: float | None, milliseconds: float | None
) -> tuple[Offer, str] | None:
    """The most accurate one within these bounds, and its weights: "float32", or "int8" if it must.

    Of equals, the smaller one.
    """
    found = []
    for o in offers:
        if milliseconds is not None and (o.milliseconds is None or o.milliseconds > milliseconds):
            continue
        for weights, size in (("float32", o.kilobytes), ("int8", o.int8_kilobytes)):
            if kilobytes is None or size <= kilobytes:
                found.append((o.judged, weights == "float32", -size, o, weights))
    return max(found, key=lambda f: f[:3])[3:] if found else None


def text(offers: Sequence[Offer]) -> str:
    """A table for each network."""
    parts = []
    for name in dict.fromkeys(o.name for o in offers):
        rows = [_row(o, offers) for o in offers if o.name == name]
        lines = table([COLUMNS, *rows], str.rjust)
        parts.append("\n".join([name, *(line.replace(" | ", "  ") for line in lines)]))
    return "\n\n".join(parts)


def _row(o: Offer, offers: Sequence[Offer]) -> tuple[str, ...]:
    half = "" if o.interval is None else f" +-{o.interval:.2%}"
    words = {"kB": "kilobytes", "ms": "milliseconds"}
    unbeaten = [word for word, cost in words.items() if is_unbeaten(o, offers, cost)]  # type: ignore[arg-type]
    time = "-" if o.milliseconds is None else f"{o.milliseconds:.3g}"
    sizes = (f"{size:.1f}" for size in (o.kilobytes, o.int8_kilobytes))
    accuracy = f"{o.accuracy:.2%}{half}"
    work = o.multiply_adds
    work_text = f"{work:,}" if work < 10**6 else f"{work / 10**6:.1f} M"
    counts = f"{o.weights:,}", *sizes, time, work_text
    return (str(o.level), accuracy, *counts, ", ".join(unbeaten))


@context("quatgrad.style")
def figure(offers: Sequence[Offer], title: str = "") -> Figure:
    """Accuracy against kilobytes and milliseconds, down to `POINTS`; grey: what nothing beats."""
    fig = Figure(figsize=(9.5, 4 + 0.2 * title.count("\n")), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(o.name for o in offers))
    runs = list(dict.fromkeys(o.run for o in offers))
    costs: tuple[Cost, Cost] = ("kilobytes", "milliseconds")
    for ax, cost in zip(axes, costs, strict=True):
        for name in names:
            own = [o for o in offers if o.name == name and getattr(o, cost) is not None]
            for look in [style(o.network) | {"label": name} for o in own[:1]]:
                if number := runs.index(own[0].run):
                    dashes = ("--", ":", "-.")[(number - 1) % 3]
                    look |= {"linestyle": dashes, "markerfacecolor": "white"}
                x, y = [getattr(o, cost) for o in own], [o.accuracy for o in own]
                half = [o.interval or 0 for o in own]
                below, above = np.minimum(half, y), np.minimum(half, 1 - np.array(y))
                ax.errorbar(x, y, (below, above), elinewidth=0.7, **look)
        front = [o for o in offers if is_unbeaten(o, offers, cost)]
        points = sorted((getattr(o, cost), o.accuracy) for o in front)
        x, y = ([p[i] for p in points] for i in (0, 1))
        ax.step(x, y, where="post", color="0.8", linewidth=6, zorder=0, label="unbeaten")
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ticks = (
            LogLocator(subs=(1, 2, 5)) if high > 8 * low else MaxNLocator(4, steps=(1, 2, 5, 10))
        )
        ax.xaxis.set_major_locator(ticks)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes[0].yaxis.set_major_formatter(Percent())
    low, high = (f(o.accuracy for o in offers) for f in (min, max))
    low = max(low, high - POINTS / 100)
    margin = 0.05 * (high - low) + 0.01
    axes[0].set_ylim(low - margin, high + margin)
    axes[0].set_ylabel("test accuracy")
    axes[0].set_xlabel("kB of the ticket, float32")
    axes[1].set_xlabel("ms for one image, one thread")
    fig.suptitle(title, x=0.01, ha="left", fontsize="small")
    legend_below(fig, [*axes[0].containers, *axes[0].lines[-1:]], columns=2)
    return fig
