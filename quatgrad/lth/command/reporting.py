"""quatgrad-lth report RUN: one HTML file that says everything of a run, and needs no network.

Text and tables are plain HTML, so a reader without JavaScript has all numbers and a still picture.
Curves to hover over are Bokeh's, which embeds itself in the file.
"""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quatgrad.errors import OptionError, RunError
from quatgrad.lth.analysis.analysis import read
from quatgrad.lth.analysis.mask_stats import densities
from quatgrad.lth.experiment.deploy import offers
from quatgrad.lth.experiment.runs import summary, when_text
from quatgrad.lth.results import plot
from quatgrad.lth.results.curve import matching, sparsest
from quatgrad.lth.results.plot import style
from quatgrad.lth.results.run import Run, seeds
from quatgrad.lth.store.files import write_file

Row = Mapping[str, Any]

LOOK = """
body {font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 68rem; padding: 0 1rem 4rem;
  color: #222; background: #fff}
h1 {font-size: 1.6rem; overflow-wrap: anywhere} h2 {margin-top: 2.5rem}
.wide {overflow-x: auto} img {max-width: 100%; height: auto}
table {border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0}
caption {text-align: left; padding: .3rem 0; color: #444}
th, td {padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap}
th:first-child, td:first-child {text-align: left}
th button {font: inherit; font-weight: 600; border: 0; background: none; padding: 0}
figure {margin: 0} figcaption {color: #444}
th button:focus-visible, a:focus-visible, .wide:focus-visible {outline: 2px solid #0072b2}
#about td, #about th {text-align: left}
td.long {white-space: normal; overflow-wrap: anywhere}
"""

#: A column's head becomes a button that sorts: numbers by value, from the cell's data-value.
SORT = """
for (const head of document.querySelectorAll("table.sorts th")) {
  const button = document.createElement("button");
  button.type = "button"; button.textContent = head.textContent; head.replaceChildren(button);
  button.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], n = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => row.cells[n].dataset.value ?? row.cells[n].textContent;
    const order = (x, y) => x - y || (isNaN(x - y)
      ? x.localeCompare(y, undefined, {numeric: true}) : 0);
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
  });
}
"""


def write(run: Run, path: Path, build: str | None = None) -> Path:
    """The report of a run as `path`; `build` makes the network, where it is the user's own.

    Raises `RunError` if no level is finished, `OptionError` without Bokeh.
    """
    if not run.curves:
        raise RunError(f"{run.path}: no level is finished, nothing to report")
    rows, note = level_rows(run, build)
    epochs, masks = epoch_rows(run), mask_rows(run)
    script, curves, training = interactive(run, rows, epochs)
    title = html.escape(f"{run.config.task}: lottery tickets")
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{html.escape(answer(run))}</p>",
        "<h2>Accuracy and cost</h2>",
        drawn("Accuracy against weights remaining", "levels", curves + still(run)),
        table("levels", f"Levels of every network; test {run.config.examples}. {note}", rows),
        "<h2>Training</h2>",
        drawn("Training loss of every level, first trial", "epochs", training),
        folded("Every epoch in numbers", table("epochs", "One row for each epoch.", epochs)),
        "<h2>Masks by layer</h2>",
        folded("Every layer", table("masks", "Weights alive in each layer, first trial.", masks)),
        "<h2>What was run</h2>",
        table("about", "Options that the numbers depend on, and where they were made.", about(run)),
    ]
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{LOOK}</style></head><body><main>{''.join(parts)}</main>"
        f"{script}<script>{SORT}</script></body></html>\n"
    )
    write_file(path, text.encode())
    return path


def answer(run: Run) -> str:
    """What came out, in two sentences."""
    found = []
    for name, levels in run.curves.items():
        trials = [t[name] for t in run.trials.values() if name in t]
        best = sparsest(matching(trials))
        share = 100 * best.weights_left / levels[0].weights_total
        found.append(
            f"{name}: {100 * levels[0].accuracy:.2f} % dense; as good, to 1 point, with "
            f"{best.weights_left:,} weights ({share:.3g} %)"
        )
    return f"{run.setting}; {seeds(run.curves)}. {'. '.join(found)}."


def level_rows(run: Run, build: str | None) -> tuple[list[Row], str]:
    """A row for each level, with kB and ms where a plan can be made; a note where none can."""
    costs, note = {}, "kB: the .ticket in float32; ms: one image, one thread, this machine, now."
    try:
        costs = {(o.network, o.level): o for o in offers([run], 0, build)}
    except (RunError, OptionError) as error:
        note = f"Without kB and ms: {error}"
    rows: list[Row] = []
    for name, levels in run.curves.items():
        for x in levels:
            offer = costs.get((name, x.level))
            rows.append(
                {
                    "network": name,
                    "level": x.level,
                    "weights": x.weights_left,
                    "% left": x.percent_left,
                    "accuracy %": 100 * x.accuracy,
                    "+- (95 %)": None if x.interval is None else 100 * x.interval,
                    "seeds": x.trials,
                    "kB": offer and offer.kilobytes,
                    "ms": offer and offer.milliseconds,
                }
            )
    return rows, note


def epoch_rows(run: Run) -> list[Row]:
    """A row for each epoch of every level of the first trial."""
    first = next(iter(run.trials.values()))
    return [
        {
            "network": name,
            "level": r.level,
            "epoch": n,
            "training loss": e.train_loss,
            "training accuracy %": 100 * e.train_accuracy,
            "validation accuracy %": _percent(e.validation_accuracy),
            "test accuracy %": _percent(e.test_accuracy),
            "seconds": e.seconds,
        }
        for name, records in first.items()
        for r in records
        for n, e in enumerate(r.epochs, 1)
    ]


def mask_rows(run: Run) -> list[Row]:
    """A row for each layer of every level of the first trial."""
    return [
        {
            "network": name,
            "level": record.level,
            "layer": layer,
            "alive %": 100 * sum(shares) / len(shares),
        }
        for name, levels in read(run)[0].items()
        for record, masks in levels
        for layer, shares in densities(masks).items()
    ]


def about(run: Run) -> list[Row]:
    """Options, version, date, backend."""
    first = run.config.first_run
    told = {"run": run.path.name, "finished": ", ".join(when_text(summary(run)))}
    if first:
        changed = {k: v for k, v in first.overrides.items() if k not in ("out", "quiet", "plot")}
        told["preset"] = first.preset
        told["given beside it"] = ", ".join(f"{k} {v}" for k, v in changed.items()) or "nothing"
    told["computed by"] = ", ".join(sorted({f"{r.backend}, {r.precision}" for r in run.measured}))
    rows = {**told, **{k: str(v) for k, v in run.config.options.items()}}
    return [{"what": k, "value": v} for k, v in rows.items()]


def table(name: str, caption: str, rows: Sequence[Row]) -> str:
    """A table that sorts, and a link that saves it as CSV."""
    heads = [k for k in rows[0] if any(row[k] is not None for row in rows)]
    body = "".join(f"<tr>{''.join(_cell(row[k]) for k in heads)}</tr>" for row in rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, heads, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    data = base64.b64encode(stream.getvalue().encode()).decode()
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{name}: a table">'
        f'<table class="sorts" id="{name}"><caption>{html.escape(caption)} '
        f'<a download="{name}.csv" href="data:text/csv;base64,{data}">{name}.csv</a></caption>'
        f"<thead><tr>{''.join(f'<th scope=col>{html.escape(k)}</th>' for k in heads)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        long = ' class="long"' * (len(value) > 30)
        return f"<td{long}>{html.escape(value)}</td>"
    if value is None:
        return '<td data-value="-1">-</td>'
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return f'<td data-value="{value!r}">{shown}</td>'


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def drawn(what: str, numbers: str, inside: str) -> str:
    """A picture with its name, and a link to the table of its numbers, for who cannot see it."""
    link = f'<a href="#{numbers}">its numbers</a>'
    return f"<figure>{inside}<figcaption>{html.escape(what)}; {link}</figcaption></figure>"


def folded(title: str, inside: str) -> str:
    """Shown when its title is clicked; that needs no JavaScript."""
    return f"<details><summary>{html.escape(title)}</summary>{inside}</details>"


def still(run: Run) -> str:
    """The picture of the run, for readers whom no script draws one."""
    data = base64.b64encode(plot.render(run.picture(run.curves), Path("a.png"))).decode()
    alt = "accuracy against weights remaining; the table below has the numbers"
    return f'<noscript><img alt="{alt}" src="data:image/png;base64,{data}"></noscript>'


def interactive(run: Run, rows: Sequence[Row], epochs: Sequence[Row]) -> tuple[str, str, str]:
    """Bokeh's scripts, and the places of two pictures: levels, and training."""
    try:
        from bokeh.embed import components
        from bokeh.resources import Resources
    except ImportError as error:
        raise OptionError(
            'a report draws its curves with Bokeh: pip install "quatgrad[report]"'
        ) from error
    keys = [k for k in rows[0] if any(row[k] is not None for row in rows)]
    levels = _figure("weights remaining", f"test {run.config.measure}, %", log=True)
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        _curve(levels, own, keys, ("weights", "accuracy %"), name)
    chance = 100 * run.config.chance
    levels.line(
        [min(r["weights"] for r in rows), max(r["weights"] for r in rows)],
        chance,
        color="#999999",
        line_dash="dotted",
        legend_label="chance",
    )
    training = _figure("epoch", "training loss", log=False)
    for name, level in dict.fromkeys((row["network"], row["level"]) for row in epochs):
        own = [row for row in epochs if (row["network"], row["level"]) == (name, level)]
        _curve(training, own, list(own[0]), ("epoch", "training loss"), name, 1 - 0.06 * level)
    for figure in (levels, training):
        figure.legend.click_policy = "hide"
        figure.add_layout(figure.legend[0], "below")
        figure.legend.ncols = 2
    script, (first, second) = components((levels, training))
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    return library + script, first, second


def _figure(x: str, y: str, log: bool) -> Any:
    from bokeh.models import BasicTicker, DataRange1d, LogTicker, NumeralTickFormatter
    from bokeh.plotting import figure

    made = figure(
        height=420,
        sizing_mode="stretch_width",
        x_range=DataRange1d(flipped=log),  # fewer weights to the right
        x_axis_type="log" if log else "linear",
        x_axis_label=x,
        y_axis_label=y,
        tools="pan,box_zoom,reset,save",
    )
    whole = BasicTicker(mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0)
    made.xaxis.ticker = LogTicker(mantissas=[1, 2, 5], num_minor_ticks=0) if log else whole
    made.xaxis.formatter = NumeralTickFormatter(format="0,0")
    made.toolbar.logo = None
    return made


def _curve(
    figure: Any,
    rows: Sequence[Row],
    keys: Iterable[str],
    axes: tuple[str, str],
    name: str,
    alpha: float = 1.0,
) -> None:
    """A line with its band, its points, and what is said of a point under the mouse."""
    from bokeh.models import ColumnDataSource, HoverTool

    look, keys = style(name), list(keys)
    data = {k: [row[k] for row in rows] for k in keys}
    half, y = [row.get("+- (95 %)") or 0 for row in rows], data[axes[1]]
    data["low"], data["high"] = (
        [min(max(a + s * h, 0), 100) for a, h in zip(y, half, strict=True)] for s in (-1, 1)
    )
    source = ColumnDataSource(data)
    colour, alpha = look["color"], max(alpha, 0.2)
    dash = "dashed" if "-" in name else "solid"
    if any(half):
        figure.varea(
            axes[0],
            "low",
            "high",
            source=source,
            color=colour,
            alpha=0.15,
            legend_label=look["label"],
        )
    figure.line(
        *axes,
        source=source,
        color=colour,
        alpha=alpha,
        line_width=2,
        line_dash=dash,
        legend_label=look["label"],
    )
    points = figure.scatter(
        *axes, source=source, color=colour, alpha=alpha, size=7, legend_label=look["label"]
    )
    tips = [(k, f"@{{{k}}}") for k in keys]
    figure.add_tools(HoverTool(renderers=[points], tooltips=tips, visible=False))
